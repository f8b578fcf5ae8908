"""
Writes the published form of the contracts: ``python -m media_contracts FOLDER``.

Refuses, and writes nothing, where a published schema would change in a breaking way.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from media_contracts.asyncapi import document
from media_contracts.errors import table
from media_contracts.schemas import breaking_changes, event_schema, messages


def publish(folder: Path) -> list[str]:
    """Write all published files; return the breaking changes that forbid it."""
    current = {
        folder / "schemas" / f"{name}.json": event_schema(message)
        for name, message in messages().items()
    }
    problems = [
        f"{path.stem}: {problem}"
        for path, schema in current.items()
        if path.exists()
        for problem in breaking_changes(json.loads(path.read_text()), schema)
    ]
    if not problems:
        for path, schema in {**current, folder / "asyncapi.json": document()}.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render(schema))
        (folder / "errors.md").write_text(table())
    return problems


def render(content: dict[str, Any]) -> str:
    """Return *content* as the JSON text that is kept under version control."""
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    found = publish(Path(sys.argv[1]))
    for line in found:
        sys.stderr.write(f"breaking change: {line}\n")
    sys.exit(1 if found else 0)
