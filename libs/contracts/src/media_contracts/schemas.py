"""JSON Schemas of the messages, and what makes a change of one a breaking change."""

from __future__ import annotations

from typing import Any

from media_contracts.envelope import CloudEvent, Payload
from media_contracts.topics import TOPICS
from pydantic import BaseModel

_PROSE = frozenset({"title", "description", "examples", "default"})


def messages() -> dict[str, type[Payload]]:
    """Return every message by its event type."""
    return {message.event_type: message for topic in TOPICS for message in topic.messages}


def event_schema(message: type[Payload]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the whole event that carries *message*."""
    envelope: type[BaseModel] = CloudEvent[message]  # type: ignore[valid-type]
    schema = envelope.model_json_schema(mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = message.event_type
    schema["properties"]["type"] = {"const": message.event_type, "type": "string"}
    opened: dict[str, Any] = _open(schema)
    return opened


def _open(node: Any) -> Any:
    # Consumers ignore fields they do not know, so the published schema does not forbid them.
    if isinstance(node, dict):
        return {key: _open(value) for key, value in node.items() if key != "additionalProperties"}
    if isinstance(node, list):
        return [_open(value) for value in node]
    return node


def breaking_changes(published: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """
    Return what in *current* would break somebody who holds *published*; empty when compatible.

    Allowed within a major version: new optional properties, and changes of prose. A consumer of
    the old schema must accept new messages, and a new consumer must accept old ones, so types,
    limits, enums and required properties stay as they are.
    """
    return _compare(_resolved(published, published), _resolved(current, current), "$")


def _resolved(node: Any, root: dict[str, Any]) -> Any:
    if isinstance(node, dict):
        if "$ref" in node:
            name = node["$ref"].rsplit("/", 1)[-1]
            rest = {key: value for key, value in node.items() if key != "$ref"}
            return _resolved({**root["$defs"][name], **rest}, root)
        # Names under "properties" are fields of the message, whatever they are called.
        return {
            key: (
                {name: _resolved(field, root) for name, field in value.items()}
                if key == "properties"
                else _resolved(value, root)
            )
            for key, value in node.items()
            if key == "properties" or (key not in _PROSE and key != "$defs")
        }
    if isinstance(node, list):
        return [_resolved(value, root) for value in node]
    return node


def _compare(old: Any, new: Any, path: str) -> list[str]:
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [problem for n, (a, b) in pairs for problem in _compare(a, b, f"{path}[{n}]")]
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [f"{path}: {old!r} became {new!r}"]
    problems: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        if key == "properties":
            problems += _compare_properties(old.get(key, {}), new.get(key, {}), path)
        elif key == "required":
            if set(old.get(key, [])) != set(new.get(key, [])):
                problems.append(f"{path}: required properties changed")
        elif key not in old or key not in new:
            problems.append(f"{path}.{key}: was {'added' if key in new else 'removed'}")
        else:
            problems += _compare(old[key], new[key], f"{path}.{key}")
    return problems


def _compare_properties(old: dict[str, Any], new: dict[str, Any], path: str) -> list[str]:
    problems = [f"{path}.{name}: was removed" for name in sorted(old.keys() - new.keys())]
    for name in sorted(old.keys() & new.keys()):
        problems += _compare(old[name], new[name], f"{path}.{name}")
    return problems
