"""
Pictures of a ready asset, made anew: of a moment, or cropped round a point, that somebody chose.

Invariant: one edition of an asset's pictures is made at a time, and each has keys of its own: what
is served is there until the next one is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from media_contracts import About, AssetStatus, Crop, Fit, Focus, MediaKind
from media_contracts.formats import kind_of
from media_records import tasks
from media_records.actions import AssetNotFoundError, OriginalGoneError
from media_records.editions import AT_SECONDS, Made, cropped, of_moment
from media_records.files import Files, files_of, original_of
from media_records.lifecycle import about, lock_asset
from media_records.tables import Asset
from media_records.tasks import Pool
from media_records.work import Tx

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
    params = of_moment(made.params, {AT_SECONDS: at_seconds})
    await _make(tx, asset, made, cropped(params, about(asset)), Pool.PICTURES)
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
    params = cropped({**made.params, "pictures": crops}, about(asset))
    await _make(tx, asset, made, params, Pool.PICTURES_LATER)
    return asset, files


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


async def _made(tx: Tx, asset: Asset) -> Made:
    made = await Made.of(tx, asset)
    if made is None:
        raise NoPicturesError
    return made


async def _make(tx: Tx, asset: Asset, made: Made, params: Mapping[str, Any], pool: Pool) -> None:
    if made.is_last(params):
        return
    if made.is_open:
        raise PosterUnderWayError
    await tasks.add(tx, asset, [tasks.of_edition(made.next(params), pool)])
