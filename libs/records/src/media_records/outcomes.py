"""
The outcome of an attempt: how its asset ends, and what everybody hears of it.

Invariant: it is decided once, in the unit of work that ends the attempt's last task and holds
the asset.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from media_contracts import (
    MEDIA_PROCESSED,
    AssetStatus,
    Command,
    ErrorInfo,
    FileKind,
    MediaProcessed,
    Picture,
    ProfileRef,
    Receipt,
    Rendition,
    Stream,
    played_or_shown,
)
from media_contracts.formats import kind_of
from media_records import attempts
from media_records.files import (
    files_of,
    forget_attempt,
    forget_outputs,
    media_of,
    original_of,
    outputs_of,
    streams_of,
    thumbnail_of,
    told,
)
from media_records.lifecycle import (
    about,
    change,
    give_up_attempt,
    probe_of,
    replace_attempt,
    tell,
    warnings_of,
)
from media_records.tables import Asset, AssetFile
from media_records.work import Tx
from prometheus_client import Counter

log = structlog.get_logger(__name__)

RERUNS = Counter(
    "reruns_total", "Attempts beside those that ready assets are served by, ended.", ["outcome"]
)

# A task that was claimed more than once, or cancelled, may have left objects that no row names.
_CLAIMS = """
    SELECT max(fence + (state = 'cancelled')::int) FROM tasks WHERE asset_id = $1 AND attempt = $2
"""
_RAN = """
    SELECT name, coalesce(params::json ->> 'stream', name) AS output, cpu_seconds, commands
    FROM tasks WHERE asset_id = $1 AND attempt = $2 AND state = 'done' AND cpu_seconds IS NOT NULL
    ORDER BY id
"""
# The thumbnailer may still answer a request of the attempt that has just ended.
SWEEP_AFTER = timedelta(minutes=1)
"""After how long what an asset no longer refers to is removed."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: its asset as it is now, and when."""

    asset: Asset
    at: datetime


async def ready(tx: Tx, asset: Asset) -> Outcome | None:
    """End the attempt of a locked asset with the files that it has."""
    now = datetime.now(UTC)
    claims = await tx.fetchval(_CLAIMS, asset.id, asset.attempt)
    once = asset.attempt == 1 and (claims or 0) <= 1
    # A sweep that is due already, say of a grant that was used again, stays due.
    sweep_at = asset.sweep_at if once else now + SWEEP_AFTER
    facts = {"processed_at": now, "sweep_at": sweep_at}
    ended = await change(tx, asset, AssetStatus.READY, at=now, facts=facts)
    if ended is None:
        return None
    return await _told_ready(tx, ended, now)


async def failed(tx: Tx, asset: Asset, error: ErrorInfo) -> Outcome | None:
    """End the attempt of a locked asset with *error*; what it made becomes garbage."""
    now = datetime.now(UTC)
    facts = {
        "error_code": error.code,
        "error_message": error.message,
        "processed_at": now,
        "sweep_at": now + SWEEP_AFTER,
    }
    ended = await change(tx, asset, AssetStatus.FAILED, at=now, facts=facts)
    if ended is None:
        return None
    await forget_outputs(tx, asset.id)
    original = original_of(await files_of(tx, asset.id))
    return await _told(tx, ended, now, original=original, error=error)


async def replaced(tx: Tx, asset: Asset, by: Asset) -> None:
    """
    Serve a locked, ready *asset* *by* an attempt beside its own that is complete.

    What it was served by is swept later. Everybody hears of the new attempt as of any.
    """
    now = datetime.now(UTC)
    if not await attempts.end(tx, by):
        return
    changed = await replace_attempt(tx, asset, by, at=now)
    if changed is None:
        return
    RERUNS.labels("done").inc()
    await _told_ready(tx, changed, now)


async def not_replaced(tx: Tx, asset: Asset, by: Asset, error: ErrorInfo) -> None:
    """Let a locked, ready *asset* be as it is: *by*, an attempt beside its own, has failed."""
    if await attempts.end(tx, by, error):
        await forget_attempt(tx, asset.id, by.attempt)
        await give_up_attempt(tx, asset, by.attempt, at=datetime.now(UTC))
        RERUNS.labels("failed").inc()
        log.warning("rerun_failed", asset_id=str(asset.id), attempt=by.attempt, code=error.code)


async def _told_ready(tx: Tx, asset: Asset, now: datetime) -> Outcome:
    # Of a stream there are too many to tell, and their names are its manifests' own.
    stored = await files_of(tx, asset.id)
    files = [one for one in outputs_of(stored).values() if one.kind != FileKind.SEGMENT]
    return await _told(
        tx, asset, now,
        original=original_of(stored), files=files, streams=await streams_of(tx, asset),
    )  # fmt: skip


async def _told(
    tx: Tx,
    asset: Asset,
    now: datetime,
    *,
    original: AssetFile | None,
    files: Sequence[AssetFile] = (),
    streams: Sequence[Stream] = (),
    error: ErrorInfo | None = None,
) -> Outcome:
    outcome = MediaProcessed(
        attempt=asset.attempt,
        outcome="failed" if error else "ready",
        file_name=asset.file_name,
        content_type=asset.content_type,
        size=asset.size,
        sha256=original.sha256 if original else None,
        kind=played_or_shown(kind_of(asset.content_type)),
        profile=ProfileRef(name=asset.profile, version=asset.profile_version),
        rendition=_rendition(asset, files),
        thumbnail=_picture(asset, files),
        files=[told(file) for file in files] or None,
        streams=list(streams) or None,
        probe=probe_of(asset),
        warnings=warnings_of(asset) or None,
        receipt=None if error else await _receipt(tx, asset),
        about=about(asset),
        error=error,
        created_at=asset.created_at,
        processed_at=now,
    )
    await tell(tx, asset, outcome, at=now, topic=MEDIA_PROCESSED)
    log.info("outcome", asset_id=str(asset.id), outcome=outcome.outcome, error=error)
    return Outcome(asset, now)


async def _receipt(tx: Tx, asset: Asset) -> Receipt | None:
    """Return how an attempt was made, as far as ffmpeg has made it."""
    taken, commands = defaultdict[str, float](float), list[Command]()
    for row in await tx.fetch(_RAN, asset.id, asset.attempt):
        taken[row["output"]] += row["cpu_seconds"]
        commands += (Command(task=row["name"], **one) for one in json.loads(row["commands"]))
    seconds = {name: round(value, 2) for name, value in taken.items()}
    return Receipt(cpu_seconds=seconds, commands=commands) if commands else None


def _rendition(asset: Asset, files: Sequence[AssetFile]) -> Rendition | None:
    file = media_of(files)
    # One of sound alone has no width and height, which a Rendition has.
    return Rendition(bucket=asset.bucket, **_described(file)) if file and file.width else None


def _picture(asset: Asset, files: Sequence[AssetFile]) -> Picture | None:
    file = thumbnail_of(files)
    if file is None:
        return None
    facts = _described(file)
    del facts["duration_seconds"]
    return Picture(name=file.name, bucket=asset.bucket, sha256=file.sha256, **facts)


def _described(file: AssetFile) -> dict[str, Any]:
    return file.model_dump(
        include={"key", "content_type", "width", "height", "size", "duration_seconds"}
    )
