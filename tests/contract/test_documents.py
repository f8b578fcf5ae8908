"""Documents name what there is: links lead somewhere, and commands can be typed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from mediactl.cli import app
from mediactl.commands import development
from typer.core import TyperGroup

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "libs/**/*.md", "services/**/*.md")
    for path in ROOT.glob(pattern)
    if "node_modules" not in path.parts
)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"\./mediactl ([a-z]+)(?: ([a-z]+))?")


def prose(path: Path) -> str:
    return FENCED.sub("", (ROOT / path).read_text())


def anchors(path: Path) -> set[str]:
    """Return what can follow # in a link to *path*, as code hosts make it of headings."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(path: Path) -> Iterator[str]:
    for link in LINK.findall(prose(path)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / path.parent / name).resolve() if name else ROOT / path
        if not target.exists() or (anchor and anchor not in anchors(target.relative_to(ROOT))):
            yield link


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_between_documents_lead_somewhere(path):
    assert list(broken_links(path)) == []


def test_every_page_of_the_docs_is_linked_from_another():
    linked = {
        (path.parent / link.partition("#")[0]).as_posix()
        for path in DOCUMENTS
        for link in LINK.findall(prose(path))
    }
    pages = {(ROOT / link).resolve() for link in linked}
    alone = {path for path in DOCUMENTS if path.parts[0] == "docs" and ROOT / path not in pages}
    assert {path for path in alone if ROOT / path.parent not in pages} == set()


@pytest.fixture(scope="module")
def mediactl():
    return typer.main.get_command(app)


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_commands_in_documents_exist(path, mediactl):
    for words in COMMAND.findall((ROOT / path).read_text()):
        command = mediactl
        for word in filter(None, words):
            if isinstance(command, TyperGroup):
                found = command.get_command(typer.Context(command), word)
                assert found is not None, words
                command = found


def test_the_readme_is_read_in_a_few_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) < 250


def test_the_hooks_before_a_commit_are_checks_of_the_test_command():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    run = {hook["entry"].removeprefix(".mediactl/venv/bin/") for hook in hooks}
    checked = {" ".join(check).removesuffix(" .") for check in development._CHECKS}
    assert run == checked - {"mediactl audit"}
