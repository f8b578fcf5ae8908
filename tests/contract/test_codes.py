"""The README's table of codes has those that the source can answer, and no others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("services/*/src", "libs/runtime/src", "libs/records/src")
    for path in ROOT.glob(f"{folder}/**/*.py")
    if "migrations" not in path.parts
]
# What the edge answers: a name, a status, a code and a sentence in each line.
PROBLEMS = ROOT / "deploy" / "edge" / "problems"
CODE = re.compile(r"[a-z]+(_[a-z]+)*")
# What makes an error of a code, and the place of the code among its arguments.
MAKERS = {"ApiError": 1, "_answer": 1, "_problem": 1, "_refused": 0, "__init__": 0}
TABLES = {"FIELD_CODES", "_CODES"}
# It goes with a record to its dead letters, and to no client.
INTERNAL = {"malformed_notification"}


def codes_in(tree: ast.AST) -> Iterator[str]:
    """Yield the codes that a module names: where errors are made, and beside a sentence."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else _name(node.func)
            place = MAKERS.get(name, 0 if name.endswith("Error") else None)
            if place is not None:
                yield from _constants(node.args[place : place + 1])
            yield from _constants(one.value for one in node.keywords if one.arg == "code")
        elif isinstance(node, ast.Tuple):
            for one, after in zip(node.elts, node.elts[1:], strict=False):
                if _is_sentence(after):
                    yield from _constants([one])
        elif isinstance(node, ast.Assign) and _name(node.targets[0]) in TABLES:
            assert isinstance(node.value, ast.Dict)
            yield from _constants(node.value.values)


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _constants(nodes) -> Iterator[str]:
    for node in nodes:
        values = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
        for value in values:
            if isinstance(value, ast.Constant) and CODE.fullmatch(str(value.value)):
                yield value.value


def _is_sentence(node: ast.AST) -> bool:
    last = node.values[-1] if isinstance(node, ast.JoinedStr) and node.values else node
    return isinstance(last, ast.Constant) and str(last.value).endswith(".")


def documented() -> set[str]:
    table = (ROOT / "README.md").read_text().split("| code | when |")[1].split("\n\n")[0]
    firsts = [line.split("|")[1] for line in table.splitlines()[2:]]
    return {code for first in firsts for code in re.findall(r"`([a-z_]+)`", first)}


def test_every_code_is_in_the_table_and_the_table_has_no_other():
    found = {code for path in SOURCES for code in codes_in(ast.parse(path.read_text()))}
    found |= {line.split()[2] for line in PROBLEMS.read_text().splitlines() if line.strip()}
    assert found - INTERNAL == documented()


@pytest.mark.parametrize(
    "source",
    [
        'raise ApiError(400, "new_code", detail)',
        'raise UnreadableMediaError("new_code", "It cannot be read.")',
        'super().__init__("new_code", f"{name} is gone.")',
        '_UNREADABLE = ("new_code", "The file is not a video.")',
        'FIELD_CODES = {"field": "new_code"}',
        'raise PermanentError("new_code" if late else "new_code", text)',
        'ErrorInfo(code="new_code", message=text)',
    ],
)
def test_a_new_code_is_found_wherever_it_is_made(source):
    assert set(codes_in(ast.parse(source))) == {"new_code"}
