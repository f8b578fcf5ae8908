"""What is true of the rows and records of any asset, whatever happened: no model is asked."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from uuid import UUID

from media_contracts import CloudEvent
from media_runtime.storage.store import attempt_of

from integration.records.life_cycle_world import Rows, TaskKey

_MAY_FOLLOW = {
    ("pending", "processing"), ("pending", "expired"), ("pending", "deleted"),
    ("expired", "processing"), ("expired", "deleted"),
    ("processing", "ready"), ("processing", "failed"), ("processing", "deleted"),
    ("failed", "processing"), ("failed", "deleted"), ("ready", "deleted"),
}  # fmt: skip
_OUTCOMES = ("ready", "failed")
_WORKED = ("done", "failed")
_ENDED = (*_WORKED, "cancelled")


class Laws:
    """Compares each moment with those before it."""

    def __init__(self) -> None:
        self._companies: dict[UUID, UUID] = {}
        self._attempts: dict[UUID, int] = {}
        self._tasks: dict[TaskKey, Any] = {}
        self._changes: dict[UUID, list[Any]] = {}
        self._done: dict[TaskKey, set[int]] = defaultdict(set)
        self._outcomes: dict[UUID, list[CloudEvent[Any]]] = defaultdict(list)
        self._statuses: dict[UUID, list[CloudEvent[Any]]] = defaultdict(list)

    def hold(self, rows: Rows) -> None:
        """Raise AssertionError where a law is broken."""
        for event in rows.outcomes:
            self._outcomes[event.subject].append(event)
        for event in rows.statuses:
            self._statuses[event.subject].append(event)
        for key, task in rows.tasks.items():
            self._fences_rise(key, task)
        for asset_id, asset in rows.assets.items():
            changes = rows.changes[asset_id]
            self._nobody_else_owns(asset, changes)
            self._attempts_rise(asset)
            self._path_is_lawful(asset, changes)
            self._every_change_is_told(asset, changes)
            self._one_outcome_an_attempt(asset, changes)
            self._tasks_fit(asset, rows)
            if asset["status"] == "ready":
                self._served_files_are_of_this_attempt(asset)

    def _fences_rise(self, key: TaskKey, task: Any) -> None:
        before = self._tasks.get(key)
        if before is not None:
            assert task["fence"] >= before["fence"], "a fence fell"
            if before["state"] in _ENDED:
                assert task["state"] == before["state"], "what had ended goes on"
            held = before["state"] == "running" or task["fence"] > before["fence"]
            ended = task["state"] in _WORKED and task["state"] != before["state"]
            assert held or not ended, "a task ended that nobody held"
        if task["state"] == "done":
            self._done[key].add(task["fence"])
        self._tasks[key] = task

    def _tasks_fit(self, asset: Any, rows: Rows) -> None:
        now = asset["id"], asset["attempt"]
        mine = {key[2]: one for key, one in rows.tasks.items() if key[:2] == now}
        states = [one["state"] for one in mine.values()]
        required = [one["state"] for one in mine.values() if one["required"]]
        if "preview" in mine and mine["preview"]["state"] not in {"blocked", "cancelled"}:
            assert mine["video"]["state"] == "done", "a task begins before those that it needs"
        if asset["status"] == "ready":
            assert set(required) == {"done"}, "ready before its required tasks were done"
        if asset["status"] in {"ready", "processing"}:
            assert "cancelled" not in states, "what is wanted was cancelled"
        if asset["status"] == "processing":
            assert "failed" not in required, "a required task failed, and the attempt goes on"
            assert not required or set(required) != {"done"}, "all is done, and no outcome"
        if asset["status"] == "failed":
            assert set(states) <= set(_ENDED), "a sibling outlives its attempt"
            assert required.count("failed") == 1, "one task ends an attempt"

    def _nobody_else_owns(self, asset: Any, changes: list[Any]) -> None:
        company = self._companies.setdefault(asset["id"], asset["company_id"])
        events = [*self._outcomes[asset["id"]], *self._statuses[asset["id"]]]
        owners = {asset["company_id"], *(one["company_id"] for one in changes)}
        owners |= {event.companyid for event in events}
        owners |= {one["company_id"] for key, one in self._tasks.items() if key[0] == asset["id"]}
        assert owners == {company}, "an asset has two companies"

    def _attempts_rise(self, asset: Any) -> None:
        before = self._attempts.get(asset["id"], 1)
        assert asset["attempt"] in {before, before + 1}, "attempts do not go one by one"
        self._attempts[asset["id"]] = asset["attempt"]

    def _path_is_lawful(self, asset: Any, changes: list[Any]) -> None:
        assert changes[: len(self._changes.get(asset["id"], []))] == self._changes.get(
            asset["id"], []
        ), "the past was changed"
        self._changes[asset["id"]] = changes
        status, attempt = "pending", 1
        for change in changes:
            step = (change["from_status"], change["to_status"])
            assert step[0] == status, f"{step} does not go on from {status}"
            assert step in _MAY_FOLLOW, f"{step} is not allowed"
            attempt += step == ("failed", "processing")
            assert change["attempt"] == attempt, f"{step} is counted to another attempt"
            status = step[1]
        assert (asset["status"], asset["attempt"]) == (status, attempt)

    def _every_change_is_told(self, asset: Any, changes: list[Any]) -> None:
        told = [
            (event.data.attempt, event.data.previous_status, event.data.status)
            for event in self._statuses[asset["id"]]
        ]
        assert told == [(one["attempt"], one["from_status"], one["to_status"]) for one in changes]

    def _one_outcome_an_attempt(self, asset: Any, changes: list[Any]) -> None:
        ends = [(c["attempt"], c["to_status"]) for c in changes if c["to_status"] in _OUTCOMES]
        attempts = [attempt for attempt, _ in ends]
        assert len(set(attempts)) == len(attempts), "an attempt ended twice"
        outcomes = self._outcomes[asset["id"]]
        assert [(one.data.attempt, one.data.outcome) for one in outcomes] == ends
        for outcome in outcomes:
            assert (outcome.data.error is None) == (outcome.data.outcome == "ready")
        if asset["status"] == "failed":
            assert outcomes[-1].data.error.code == asset["error_code"]
        if asset["status"] == "ready":
            told = outcomes[-1].data
            assert told.rendition.key in {asset["files"].get(one) for one in ("video", "image")}
            assert told.thumbnail.key == asset["files"]["thumbnail"]
            assert {one.name: one.key for one in told.files}.items() <= asset["files"].items()

    def _served_files_are_of_this_attempt(self, asset: Any) -> None:
        attempt = asset["attempt"]
        for name, key in asset["files"].items():
            assert attempt_of(key) == attempt
            folder = key.split("/")[3]
            if name in {"video", "preview"}:
                fence = int(folder.partition("-")[2])
                done = self._done[asset["id"], attempt, name]
                assert fence in done, "a stale worker's file is served"
            else:
                assert folder == str(attempt), "pictures carry no fence"
