"""Runbooks say what can be typed, and name what there is."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest
import typer
import yaml
from ingest.settings import IngestSettings
from mediactl.cli import app
from mediactl.devstack.native.infrastructure import MONITORS
from mediactl.devstack.services import SERVICES
from mediactl.devstack.settings import ALERTMANAGER_SETTINGS
from notifier.settings import NotifierSettings
from sign_api.settings import SignApiSettings
from thumbnailer.settings import ThumbnailerSettings
from typer.core import TyperGroup
from watcher.settings import WatcherSettings

from support.runbooks import PROGRAM, Runbook, commands, filled, placeholders, runbooks

ROOT = Path(__file__).parents[2]
ALL = runbooks()
PARTS = {*SERVICES, *MONITORS, "edge", "kafka", "postgres", "minio"}
OF_PARTS = {"start", "stop", "restart", "logs", "scale"}
BESIDE = {"grep"}
VALUES = {
    "COMPANY": str(uuid4()), "ASSET": str(uuid4()), "NAME": "ingest", "CODE": "processing_failed",
    "ID": "media_thumbnail:0:0", "BYTES": "1000000000", "N": "2",
}  # fmt: skip
# Of mediactl, of MinIO, and of the log.
NO_SETTINGS = {"PROMETHEUS_URL", "RUNBOOK_BASE_URL", "ALERT", "ESCALATE"}
SETTINGS = {
    name.upper()
    for settings in (
        SignApiSettings, IngestSettings, ThumbnailerSettings, NotifierSettings, WatcherSettings
    )
    for name in settings.model_fields
}  # fmt: skip


def called(one: Runbook) -> str:
    return one.name


def parse(words: list[str]) -> None:
    """Have the command line parsed as it is when somebody types it; nothing is done."""
    command = typer.main.get_command(app)
    rest = [VALUES.get(word, word) for word in words]
    while isinstance(command, TyperGroup):
        name = rest.pop(0)
        found = command.get_command(typer.Context(command), name)
        assert found is not None, f"there is no command {name}"
        command = found
    command.make_context(command.name, rest)


def source() -> str:
    """Return all of our code and rules."""
    found = [*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("libs/*/src/**/*.py")]
    rules = ROOT.glob("deploy/prometheus/rules/*.yml")
    return "\n".join(path.read_text() for path in (*found, *rules))


@pytest.mark.parametrize("one", ALL, ids=called)
def test_every_line_of_a_runbook_can_be_typed(one: Runbook):
    for line in one.typed():
        for words in commands(line):
            if words[0] != PROGRAM:
                assert words[0] in BESIDE, line
                continue
            assert placeholders(words) <= VALUES.keys(), line
            try:
                parse(words[1:])
            except typer.TyperException as error:
                pytest.fail(f"{one.name}: {line}: {error}")
            if words[1] in OF_PARTS and words[2:] and not words[2].startswith("-"):
                assert words[2] in PARTS | {"NAME"}, line


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("./mediactl dlq discrad ID", "discrad"),
        ("./mediactl failed --sinse 1h", "--sinse"),
        ("./mediactl quota --company COMPANY --set", "--set"),
        ("./mediactl failed --ids | xargs -r ./mediactl retri", "retri"),
        ("./mediactl asset ACME", "UUID"),
    ],
)
def test_a_line_that_cannot_be_typed_would_be_noticed(line, why):
    with pytest.raises(BaseException, match=why):  # noqa: PT012 - either of its commands
        for words in commands(line):
            parse(words[1:])


@pytest.mark.parametrize("one", ALL, ids=called)
def test_a_runbook_has_a_look_a_cure_and_an_end(one: Runbook):
    if one.name == "README.md":
        return
    titles = re.findall(r"^## (.+)$", one.text, re.MULTILINE)
    assert titles == ["Look", "Cure", "Cured when"]
    assert one.look


@pytest.mark.parametrize("one", ALL, ids=called)
def test_settings_of_a_runbook_are_settings(one: Runbook):
    words = {
        word
        for name in one.named()
        if not name.startswith("SELECT")
        for word in re.findall(r"\b[A-Z][A-Z0-9_]{3,}\b", name)
    }
    prefix = re.compile(f"^({'|'.join(SERVICES).upper()})_")
    known = {*SETTINGS, *ALERTMANAGER_SETTINGS, *VALUES, *NO_SETTINGS}
    assert {word for word in words if not {word, prefix.sub("", word)} & known} == set()


@pytest.mark.parametrize("one", ALL, ids=called)
def test_metrics_events_and_codes_of_a_runbook_are_in_the_code(one: Runbook):
    code = source()
    names = {
        found
        for name in one.named()
        if not name.startswith((PROGRAM, "SELECT", "docker", "python"))
        for found in re.findall(r"[a-z]+(?:_[a-z0-9]+)+", name)
    }
    assert {name for name in names if name not in code} == set()


def test_alerts_named_in_runbooks_are_alerts():
    known = {
        rule["alert"]
        for path in ROOT.glob("deploy/prometheus/rules/*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    named = {word for one in ALL for word in one.named() if re.fullmatch(r"Media[A-Za-z]+", word)}
    assert named
    assert named <= known


def test_a_placeholder_without_a_value_is_no_line_to_type():
    line = "./mediactl restart NAME  # the part"
    assert filled(line, VALUES) == "./mediactl restart ingest"
    with pytest.raises(KeyError):
        filled(line, {})
