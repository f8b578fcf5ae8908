"""Statements on the tables of media_records are in media_records, and nowhere else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCHEMA = (ROOT / "libs" / "records" / "src" / "media_records" / "schema.sql").read_text()
MODULES = sorted(
    path
    for folder in ("services", "libs/mediactl", "libs/contracts")
    for path in (ROOT / folder).rglob("*.py")
)
TABLES = re.findall(r"^CREATE TABLE (\w+)", SCHEMA, re.MULTILINE)
FUNCTIONS = re.findall(r"^CREATE FUNCTION (\w+)", SCHEMA, re.MULTILINE)
STATEMENT = re.compile(
    rf"\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+(?:ONLY\s+)?(?:public\.)?(?:{'|'.join(TABLES)})\b"
    rf"|\b(?:{'|'.join(FUNCTIONS)})\(",
    re.IGNORECASE,
)


def statements_of(source: str) -> list[str]:
    """Return the strings of a module, but for docstrings, that are SQL on a table or function."""
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if id(node) not in docstrings and STATEMENT.search(node.value)
    ]


def test_there_is_something_to_look_for_and_to_look_in():
    assert {"media_assets", "asset_files", "tasks", "companies", "outbox"} <= set(TABLES)
    assert {"sign_asset", "redeem_ticket"} <= set(FUNCTIONS)
    assert {"sign_api", "ingest", "thumbnailer", "notifier", "watcher", "mediactl"} <= {
        path.parent.name for path in MODULES
    }


@pytest.mark.parametrize(
    "statement",
    [
        '"SELECT 1 FROM companies"',
        '"DELETE FROM public.outbox WHERE id = 1"',
        '"SELECT * FROM a " "JOIN\\n tasks t ON true"',
        'f"UPDATE ONLY media_assets SET {it} = 1"',
        '"SELECT * FROM redeem_ticket($1)"',
    ],
)
def test_a_statement_is_seen(statement):
    assert statements_of(f"it = 1\nX = {statement}")


def test_what_only_sounds_like_one_is_none():
    assert not statements_of('"""Turns words into tasks."""')
    assert not statements_of('X = "from taskset", "SELECT 1", "into the outbox", "FROM needed"')


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_no_sql_on_our_tables(path):
    assert statements_of(path.read_text()) == []
