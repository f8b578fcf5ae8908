"""
The evidence of a run, indexed by asset.

Invariant: nothing is judged here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from chaos.evidence import Evidence, Found, Message
from chaos.journal import Entry, uploads

ENDED = frozenset({"ready", "failed"})
GONE = frozenset({"deleted", "cancelled"})
STATUS_CHANGED = "media.asset.status_changed.v1"
PROCESSED = "media.asset.processed.v1"


@dataclass
class Case:
    """The evidence, indexed by asset."""

    evidence: Evidence

    @cached_property
    def assets(self) -> dict[str, dict[str, Any]]:
        return {asset["id"]: asset for asset in self.evidence.assets}

    @cached_property
    def uploads(self) -> dict[str, Entry]:
        return uploads(self.evidence.journal)

    @cached_property
    def owners(self) -> dict[str, str]:
        """Company of each asset: that of the client who signed it, or that of its row."""
        rows = {asset["id"]: asset["company_id"] for asset in self.evidence.assets}
        signed = {
            entry.asset_id: entry.company
            for entry in self.evidence.journal
            if entry.asset_id and entry.company
        }
        return rows | signed

    @cached_property
    def withdrawn(self) -> set[str]:
        """Assets that their clients deleted or cancelled, or perhaps did."""
        return {
            entry.asset_id
            for entry in self.evidence.journal
            if entry.op in {"delete", "cancel"} and entry.outcome != "fail" and entry.asset_id
        }

    @cached_property
    def originals(self) -> dict[str, Found]:
        """Stored uploads, in quarantine or not, by the asset that their key names."""
        return {
            parts[2]: found
            for found in self.evidence.objects
            if len(parts := found.key.split("/")) > 2 and parts[1] in {"uploads", "quarantine"}
            if not found.deleted
        }

    @cached_property
    def outputs(self) -> list[tuple[str, Found]]:
        """Stored outputs with the asset that their key names."""
        return [
            (parts[2], found)
            for found in self.evidence.objects
            if len(parts := found.key.split("/")) > 2 and parts[1] == "outputs"
            if not found.deleted
        ]

    @cached_property
    def tasks(self) -> dict[tuple[str, int], dict[str, dict[str, Any]]]:
        """The tasks of each attempt of an asset, by name."""
        of_attempt = grouped(self.evidence.tasks, lambda task: (task["asset_id"], task["attempt"]))
        return {
            attempt: {task["name"]: task for task in tasks} for attempt, tasks in of_attempt.items()
        }

    def maker(self, file: dict[str, Any]) -> dict[str, Any] | None:
        """Return the task that made a file: one that was to make it, or the one of its name."""
        tasks = self.tasks.get((file["asset_id"], file["attempt"]), {})
        if file["kind"] in {"video", "segment"}:
            whole = f"{file.get('stream') or file['name']}-whole"
            if tasks.get(whole, {}).get("state") == "done":
                is_packages = file["kind"] == "video" or file["track"] == "tiles"
                return tasks.get(f"{whole}-package" if is_packages else whole)
        if file["kind"] == "segment":
            return next((tasks[name] for name in self._makers(file) if name in tasks), None)
        wanting = [task for task in tasks.values() if file["name"] in _pictures_of(task)]
        if wanting:
            return max(wanting, key=lambda task: task["id"])  # the last edition
        return tasks.get(file["name"].partition(".")[0], tasks.get("pictures"))

    def _makers(self, file: dict[str, Any]) -> list[str]:
        """Return the names of the tasks that may have made a segment, the likeliest first."""
        stream, track, part = file["stream"], file["track"], file["part"]
        of_stream = [one for one in self.files[file["asset_id"]] if one.get("stream") == stream]
        sizes = [int(one["track"]) for one in of_stream if one["track"].isdecimal()]
        if track in {"sound", "tiles"}:
            # Sound alone is made by the task of its name.
            return [f"{stream}-sound", stream] if track == "sound" else [stream]
        chunk = f"{stream}-{part:04}"
        # The smallest size of the beginning may have been made before the others.
        is_early = track == "early" or (not part and track == str(min(sizes)))
        return [f"{stream}-early"] if is_early else [chunk, f"{stream}-early"]

    @cached_property
    def files(self) -> dict[str, list[dict[str, Any]]]:
        """What is recorded as stored, by asset."""
        return grouped(self.evidence.files, lambda file: file["asset_id"])

    def file(self, asset_id: str, *kinds: str) -> dict[str, Any] | None:
        """Return the asset's first file of one of these kinds."""
        found = (file for file in self.files.get(asset_id, ()) if file["kind"] in kinds)
        return next(found, None)

    def recorded_outputs(self, asset_id: str) -> list[dict[str, Any]]:
        """Return the files that were made of an asset."""
        return [file for file in self.files.get(asset_id, ()) if file["kind"] != "original"]

    @cached_property
    def transitions(self) -> dict[str, list[dict[str, Any]]]:
        return grouped(self.evidence.transitions, lambda row: row["asset_id"])

    @cached_property
    def events(self) -> dict[tuple[str, str], list[Message]]:
        """Messages by asset and type of event."""
        return grouped(
            [m for m in self.evidence.messages if "id" in m.event and "data" in m.event],
            lambda message: (str(message.event.get("subject")), str(message.event.get("type"))),
        )

    def processed(self, asset_id: str, attempt: int) -> dict[str, dict[str, Any]]:
        """Return the distinct outcomes that Kafka tells of an attempt, by event id."""
        return _distinct(self.events.get((asset_id, PROCESSED), ()), attempt)

    def ended_attempts(self, asset_id: str) -> dict[int, list[str]]:
        """Return each attempt's ends, as the audit trail has them."""
        found: dict[int, list[str]] = defaultdict(list)
        for row in self.transitions.get(asset_id, ()):
            if row["to_status"] in ENDED:
                found[row["attempt"]].append(row["to_status"])
        return found

    def garbage(self) -> Iterator[tuple[str, Found]]:
        """Yield the outputs that nothing refers to."""
        referred = {
            (asset["bucket"], file["key"])
            for asset in self.evidence.assets
            for file in self.files.get(asset["id"], ())
            if asset["status"] == "ready"
        }
        for asset_id, found in self.outputs:
            if (found.bucket, found.key) not in referred:
                yield asset_id, found

    def dead_letters(self) -> list[Message]:
        """Return the dead letters; of one that a crash stored twice, the last."""
        return list({letter.origin: letter for letter in self.evidence.dead_letters}.values())


def grouped(items: Any, key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return found


def _distinct(messages: Any, attempt: int) -> dict[str, dict[str, Any]]:
    return {
        message.event["id"]: message.event["data"]
        for message in messages
        if message.event["data"].get("attempt") == attempt
    }


def _pictures_of(task: Mapping[str, Any]) -> set[str]:
    """Return the names of the pictures that the thumbnailer was to make by a task."""
    return {one["name"] for one in json.loads(task.get("params") or "{}").get("pictures", ())}
