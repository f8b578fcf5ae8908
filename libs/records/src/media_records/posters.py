"""
Pictures of a ready video, made anew of a moment that somebody chose.

Invariant: one edition of an asset's pictures is made at a time, and each has keys of its own: what
is served is there until the next one is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from media_contracts import AssetStatus, MediaKind
from media_contracts.formats import kind_of
from media_records import tasks
from media_records.actions import AssetNotFoundError, OriginalGoneError
from media_records.files import Files, files_of, original_of
from media_records.lifecycle import lock_asset
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
    FROM tasks WHERE asset_id = $1 AND attempt = $2 AND pool = ANY($3) ORDER BY id
"""


class NotReadyError(Exception):
    """Only the pictures of an asset that is ready can be made anew."""


class NotAVideoError(Exception):
    """Only a video has moments."""


class NoPicturesError(Exception):
    """The profile of this asset wants no pictures of it."""


class PosterUnderWayError(Exception):
    """Other pictures of this asset are being made."""


async def choose(tx: Tx, asset_id: UUID, at_seconds: float | None) -> tuple[Asset, Files]:
    """
    Have all pictures of a ready video made of the moment *at_seconds*, or of one that shows much.

    Returns the asset with the files that it has until then. Asking for what was asked for last
    changes nothing, unless that could not be made. Raises AssetNotFoundError, NotAVideoError,
    NotReadyError, OriginalGoneError, NoPicturesError and PosterUnderWayError.
    """
    asset = await lock_asset(tx, asset_id)
    files = await files_of(tx, asset_id)
    # Of one that its age deleted, a picture may be kept.
    if asset is None or (asset.status == AssetStatus.DELETED and not files):
        raise AssetNotFoundError
    if kind_of(asset.content_type) is not MediaKind.VIDEO:
        raise NotAVideoError
    if asset.status not in {AssetStatus.READY, AssetStatus.DELETED}:
        raise NotReadyError
    if original_of(files) is None:
        raise OriginalGoneError
    made = await tx.fetch(_OF_PICTURES, asset.id, asset.attempt, _POOLS)
    if not made:
        raise NoPicturesError
    last, params = made[-1], json.loads(made[-1]["params"])
    is_same = EDITION in params and params[AT_SECONDS] == at_seconds
    if is_same and (last["is_open"] or last["state"] == "done"):
        return asset, files
    if any(one["is_open"] for one in made):
        raise PosterUnderWayError
    edition = len(made) + 1
    again = NewTask(
        # No output has a name like that.
        f"{made[0]['name']}@{edition}",
        last["kind"],
        Pool.PICTURES,
        of_moment(params, at_seconds) | {EDITION: edition},
        required=False,
        priority=last["priority"],
        cost_seconds=last["cost_seconds"],
    )
    await tasks.add(tx, asset, [again])
    return asset, files


async def chosen(tx: Tx, asset: Asset) -> Mapping[str, Any]:
    """Return AT_SECONDS as it was chosen last for an asset's pictures, if it was; see of_moment."""
    made = await tx.fetch(_OF_PICTURES, asset.id, asset.attempt, _POOLS)
    params = json.loads(made[-1]["params"]) if made else {}
    return {AT_SECONDS: params[AT_SECONDS]} if AT_SECONDS in params else {}


def of_moment(params: Mapping[str, Any], at_seconds: float | None) -> dict[str, Any]:
    """Return the parameters of a task that makes pictures, for those of another moment."""
    pictures = [{**one, AT_SECONDS: at_seconds} for one in params["pictures"]]
    return {**params, "pictures": pictures, AT_SECONDS: at_seconds}
