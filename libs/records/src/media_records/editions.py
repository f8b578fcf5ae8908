"""
Editions: an asset's pictures made anew, as somebody chose after they were made first.

Invariant: what was chosen last holds for every attempt that comes after, whenever it was chosen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from media_contracts import About, Fit
from media_records.lifecycle import about
from media_records.tables import Asset
from media_records.work import Reader

EDITION = "edition"
"""The parameter of a task that makes pictures anew: its number, from 2 on."""
AT_SECONDS = "at_seconds"
"""The parameter of a task whose pictures are of a chosen moment; null is one that shows much."""
_OF_PICTURES = """
    SELECT name, kind, params, priority, cost_seconds, state,
        state IN ('blocked', 'queued', 'running') AS is_open
    FROM tasks WHERE asset_id = $1 AND attempt = $2
        AND pool IN ('pictures', 'pictures_later') AND kind <> 'inspect'
    ORDER BY id
"""


@dataclass(frozen=True)
class Edition:
    """A task that makes pictures anew: what a NewTask of them says."""

    name: str
    kind: str
    params: Mapping[str, Any]
    needs: tuple[str, ...]
    priority: int
    cost_seconds: float


class Made:
    """The tasks that made an attempt's pictures, the first first, and those of editions last."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = rows
        self._last = rows[-1]
        self._last_params: Mapping[str, Any] = json.loads(self._last["params"])
        planned = [json.loads(row["params"]) for row in rows]
        planned = [one for one in planned if EDITION not in one]
        pictures = [one for params in planned for one in params["pictures"]]
        self.params: dict[str, Any] = {**planned[0], "pictures": pictures}
        """Those of one task that makes all pictures, of the moment that was chosen last."""
        self.params = of_moment(self.params, self.chosen)

    @classmethod
    async def of(cls, reader: Reader, asset: Asset) -> Self | None:
        """Return those of an asset's attempt, None where it has no pictures."""
        rows = await reader.fetch(_OF_PICTURES, asset.id, asset.attempt)
        return cls(rows) if rows else None

    @property
    def chosen(self) -> Mapping[str, Any]:
        """AT_SECONDS as it was chosen last, if it was; see of_moment()."""
        params = self._last_params
        return {AT_SECONDS: params[AT_SECONDS]} if AT_SECONDS in params else {}

    @property
    def is_open(self) -> bool:
        """Whether some are being made."""
        return any(one["is_open"] for one in self._rows)

    def is_last(self, params: Mapping[str, Any]) -> bool:
        """Return whether the last edition was made, or is being made, with the same parameters."""
        is_good = self._last["is_open"] or self._last["state"] == "done"
        return is_good and self._last_params == {**params, EDITION: len(self._rows)}

    def next(self, params: Mapping[str, Any]) -> Edition:
        """Return the next edition, made with *params* once nothing else is."""
        number, first = len(self._rows) + 1, [row for row in self._rows if "@" not in row["name"]]
        return Edition(
            # No output has a name like that.
            name=f"{self._rows[0]['name']}@{number}",
            kind=self._last["kind"],
            params={**params, EDITION: number},
            needs=tuple(row["name"] for row in self._rows if row["is_open"]),
            priority=self._last["priority"],
            cost_seconds=sum(row["cost_seconds"] for row in first),
        )


async def caught_up(reader: Reader, asset: Asset, by: Asset) -> Edition | None:
    """
    Return the edition that *by*, an attempt beside a locked asset's own, needs to replace that.

    It was planned by what had been chosen then. None where nothing else was chosen since.
    """
    own, new = await Made.of(reader, asset), await Made.of(reader, by)
    if new is None:
        return None
    params = of_moment(new.params, own.chosen if own else {})
    params = cropped(params, about(asset))
    pictures = [
        after
        for before, after in zip(new.params["pictures"], params["pictures"], strict=True)
        if after != before
        and (after.get("fit") == Fit.COVER or after.get(AT_SECONDS) != before.get(AT_SECONDS))
    ]
    return new.next({**params, "pictures": pictures}) if pictures else None


def of_moment(params: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a task that makes pictures, for a moment where one is *chosen*."""
    return {**params, "pictures": [{**one, **chosen} for one in params["pictures"]], **chosen}


def cropped(params: Mapping[str, Any], said: About | None) -> dict[str, Any]:
    """Return the parameters for pictures that are cropped as was *said*, if anything was."""
    kept: dict[str, Any]
    if said and said.focus:
        kept = {"focus": said.focus.model_dump()}
    elif said and said.crop:
        kept = {"focus": None, "crop": said.crop}
    else:
        return dict(params)
    return {**params, "pictures": [{**one, **kept} for one in params["pictures"]]}
