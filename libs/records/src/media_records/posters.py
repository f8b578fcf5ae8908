"""
Pictures of a ready asset, made anew: of a moment, or cropped round a point, that somebody chose.

Invariant: one edition of an asset's pictures is made at a time, and each has keys of its own: what
is served is there until the next one is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from media_contracts import About, AssetStatus, Crop, Fit, Focus, MediaKind
from media_contracts.formats import kind_of
from media_records import tasks
from media_records.actions import AssetNotFoundError, OriginalGoneError
from media_records.files import Files, files_of, original_of
from media_records.lifecycle import about, lock_asset
from media_records.tables import Asset
from media_records.tasks import NewTask, Pool
from media_records.work import Tx

_POOLS = [Pool.PICTURES.value, Pool.PICTURES_LATER.value]
EDITION = "edition"
"""The parameter of a task that makes pictures anew: its number, from 2 on."""
AT_SECONDS = "at_seconds"
"""The parameter of a task whose pictures are of a chosen moment; null is one that shows much."""
_OF_PICTURES = """
    SELECT name, kind, params, priority, cost_seconds, state,
        state IN ('blocked', 'queued', 'running') AS is_open
    FROM tasks WHERE asset_id = $1 AND attempt = $2 AND pool = ANY($3) AND kind <> 'inspect'
    ORDER BY id
"""
_SAY_CROP = """
    UPDATE media_assets SET about = coalesce(about, '{}') - '{focus,crop}'::text[] || $2::jsonb
    WHERE id = $1 RETURNING *
"""


class NotReadyError(Exception):
    """Only the pictures of an asset that is ready can be made anew."""


class NotAVideoError(Exception):
    """Only a video has moments."""


class NoPicturesError(Exception):
    """The profile of this asset wants no such pictures of it."""


class PosterUnderWayError(Exception):
    """Other pictures of this asset are being made."""


async def choose(tx: Tx, asset_id: UUID, at_seconds: float | None) -> tuple[Asset, Files]:
    """
    Have all pictures of a ready video made of the moment *at_seconds*, or of one that shows much.

    Returns the asset with the files that it has until then. Asking for what was asked for last
    changes nothing, unless that could not be made. Raises AssetNotFoundError, NotAVideoError,
    NotReadyError, OriginalGoneError, NoPicturesError and PosterUnderWayError.
    """
    asset, files = await _find(tx, asset_id)
    if kind_of(asset.content_type) is not MediaKind.VIDEO:
        raise NotAVideoError
    _check(asset, files)
    made = await _made(tx, asset)
    params = of_moment(made.params, at_seconds)
    await _make(tx, asset, made, _round(params, about(asset)), Pool.PICTURES)
    return asset, files


async def crop(tx: Tx, asset_id: UUID, kept: Focus | Crop) -> tuple[Asset, Files]:
    """
    Have the crops of a ready asset made with *kept* in their middle: a point, or what Crop says.

    Later attempts keep to it. Nobody waits for them: they are made once there are no uploads.
    Returns and raises as choose(), but for NotAVideoError.
    """
    asset, files = await _find(tx, asset_id)
    _check(asset, files)
    made = await _made(tx, asset)
    crops = [one for one in made.params["pictures"] if one["fit"] == Fit.COVER]
    if not crops:
        raise NoPicturesError
    said = About(crop=kept) if isinstance(kept, Crop) else About(focus=kept)
    row = await tx.fetchrow(_SAY_CROP, asset.id, said.model_dump_json(exclude_none=True))
    asset = Asset.of(row) if row else asset
    params = _round({**made.params, "pictures": crops}, about(asset))
    await _make(tx, asset, made, params, Pool.PICTURES_LATER)
    return asset, files


class _Made:
    """The tasks that made an asset's pictures, the first first, and those of editions last."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = rows
        self.last = rows[-1]
        self.last_params: Mapping[str, Any] = json.loads(self.last["params"])
        planned = [json.loads(row["params"]) for row in rows]
        planned = [one for one in planned if EDITION not in one]
        pictures = [one for params in planned for one in params["pictures"]]
        self.params: dict[str, Any] = {**planned[0], "pictures": pictures}
        """Those of one task that makes all pictures, of the moment that was chosen last."""
        if AT_SECONDS in self.last_params:
            self.params = of_moment(self.params, self.last_params[AT_SECONDS])

    def is_last(self, params: Mapping[str, Any]) -> bool:
        """Return whether the last edition was made, or is being made, with the same parameters."""
        is_good = self.last["is_open"] or self.last["state"] == "done"
        return is_good and self.last_params == {**params, EDITION: len(self.rows)}


async def _find(tx: Tx, asset_id: UUID) -> tuple[Asset, Files]:
    asset = await lock_asset(tx, asset_id)
    files = await files_of(tx, asset_id)
    # Of one that its age deleted, a picture may be kept.
    if asset is None or (asset.status == AssetStatus.DELETED and not files):
        raise AssetNotFoundError
    return asset, files


def _check(asset: Asset, files: Files) -> None:
    if asset.status not in {AssetStatus.READY, AssetStatus.DELETED}:
        raise NotReadyError
    if original_of(files) is None:
        raise OriginalGoneError


async def _made(tx: Tx, asset: Asset) -> _Made:
    rows = await tx.fetch(_OF_PICTURES, asset.id, asset.attempt, _POOLS)
    if not rows:
        raise NoPicturesError
    return _Made(rows)


async def _make(tx: Tx, asset: Asset, made: _Made, params: Mapping[str, Any], pool: Pool) -> None:
    if made.is_last(params):
        return
    if any(one["is_open"] for one in made.rows):
        raise PosterUnderWayError
    edition = len(made.rows) + 1
    again = NewTask(
        # No output has a name like that.
        f"{made.rows[0]['name']}@{edition}",
        made.last["kind"],
        pool,
        {**params, EDITION: edition},
        required=False,
        priority=made.last["priority"],
        cost_seconds=sum(one["cost_seconds"] for one in made.rows if "@" not in one["name"]),
    )
    await tasks.add(tx, asset, [again])


async def chosen(tx: Tx, asset: Asset) -> Mapping[str, Any]:
    """Return AT_SECONDS as it was chosen last for an asset's pictures, if it was; see of_moment."""
    made = await tx.fetch(_OF_PICTURES, asset.id, asset.attempt, _POOLS)
    params = json.loads(made[-1]["params"]) if made else {}
    return {AT_SECONDS: params[AT_SECONDS]} if AT_SECONDS in params else {}


def of_moment(params: Mapping[str, Any], at_seconds: float | None) -> dict[str, Any]:
    """Return the parameters of a task that makes pictures, for those of another moment."""
    pictures = [{**one, AT_SECONDS: at_seconds} for one in params["pictures"]]
    return {**params, "pictures": pictures, AT_SECONDS: at_seconds}


def _round(params: Mapping[str, Any], said: About | None) -> dict[str, Any]:
    """Return the parameters for pictures that are cropped as was *said*, if anything was."""
    kept: dict[str, Any]
    if said and said.focus:
        kept = {"focus": said.focus.model_dump()}
    elif said and said.crop:
        kept = {"focus": None, "crop": said.crop}
    else:
        return dict(params)
    return {**params, "pictures": [{**one, **kept} for one in params["pictures"]]}
