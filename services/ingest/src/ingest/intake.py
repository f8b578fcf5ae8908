"""
From bucket notifications to attempts' first tasks, in milliseconds.

Invariant: an asset's first stored version is the one that counts. A notification that comes
twice, late, or for a newer version of the same key changes nothing. One that is sent for an
attempt that has no task yet begins it. Companies take turns: nobody waits for a flood of another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog
from ingest.inspect import first_task
from ingest.metrics import NOTIFICATIONS
from media_contracts import MEDIA_STATUS, AssetProgressed, AssetStatus, Stage
from media_records import tasks
from media_records.files import Files, add_originals, files_of_each, original_of
from media_records.lifecycle import asset_event, asset_span, lock_assets, mark_uploaded, sweep
from media_records.tables import Asset
from media_records.work import Tx, Work
from media_runtime.storage.store import StoredObject, parse_notification, upload_key
from media_runtime.telemetry import tracing

log = structlog.get_logger(__name__)

_OPEN = frozenset({AssetStatus.PENDING, AssetStatus.PROCESSING, AssetStatus.EXPIRED})
_AT_ONCE = 50

MOST = 500
"""Notifications that are best taken in at once: who comes later waits for that many of others."""

Announced = Mapping[UUID, StoredObject]


class Intake:
    """Turns notifications into tasks."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def __call__(self, notifications: Sequence[bytes]) -> None:
        """Queue a task for each stored object; raises MalformedNotificationError."""
        stored = [one for each in notifications for one in parse_notification(each)]
        for one in stored:
            if one.owner is None:
                _count(one, "foreign_key")
        for company_id, announced in turns(stored):
            async with self._work.begin() as tx:
                effects = await _take(tx, company_id, announced)
            for asset_id, effect in effects.items():
                _count(announced[asset_id], effect)


def turns(stored: Iterable[StoredObject]) -> Iterator[tuple[UUID, Announced]]:
    """Yield what was stored, a few assets of each company in turn; those of an asset in order."""
    lines: dict[UUID, deque[tuple[UUID, StoredObject]]] = {}
    for one in stored:
        if one.owner is not None:
            company_id, asset_id = one.owner
            lines.setdefault(company_id, deque()).append((asset_id, one))
    while lines:
        for company_id, line in list(lines.items()):
            turn: dict[UUID, StoredObject] = {}
            while line and line[0][0] not in turn and len(turn) < _AT_ONCE:
                asset_id, one = line.popleft()
                turn[asset_id] = one
            yield company_id, turn
            if not line:
                del lines[company_id]


async def _take(tx: Tx, company_id: UUID, announced: Announced) -> Mapping[UUID, str]:
    """Begin the attempts of a company's uploads, and return what became of each."""
    now = datetime.now(UTC)
    found = [
        asset
        for asset in (await lock_assets(tx, announced)).values()
        if (asset.company_id, asset.bucket) == (company_id, announced[asset.id].bucket)
    ]
    files = await files_of_each(tx, [asset.id for asset in found])
    # A grant used again: what it stored takes space, and nothing refers to it.
    unwanted = [
        asset.id
        for asset in found
        if asset.uploaded_at and not _counts(files[asset.id], announced[asset.id])
    ]
    if unwanted:
        await sweep(tx, *unwanted, at=now)
    wanted = {asset.id: asset for asset in found if _is_wanted(asset, files, announced[asset.id])}
    new = [asset.id for asset in wanted.values() if asset.uploaded_at is None]
    if new:
        wanted |= {asset.id: asset for asset in await mark_uploaded(tx, new, at=now)}
        await add_originals(tx, [(wanted[asset_id], announced[asset_id]) for asset_id in new])
    queued = await tasks.add_each(tx, [(asset, first_task(asset)) for asset in wanted.values()])
    effects = dict.fromkeys(announced, "unknown_asset")
    effects |= {asset.id: "duplicate" if asset.id in wanted else "stale" for asset in found}
    effects |= dict.fromkeys(queued, "queued")
    records = []
    for asset in found:
        # A notification carries no trace; its asset's row does.
        with asset_span("intake", asset, link_current=True):
            tracing.annotate({"media.effect": effects[asset.id]})
            if asset.id in new:
                told = AssetProgressed(attempt=asset.attempt, stage=Stage.UPLOADED)
                records.append(asset_event(MEDIA_STATUS, asset, told, service=tx.service, at=now))
    await tx.send(company_id, *records)
    return effects


def _is_wanted(asset: Asset, files: Mapping[UUID, Files], stored: StoredObject) -> bool:
    original = original_of(files[asset.id])
    key = original.key if original else upload_key(asset.company_id, asset.id)
    return asset.status in _OPEN and stored.key == key


def _counts(files: Files, stored: StoredObject) -> bool:
    original = original_of(files)
    return original is not None and (original.key, original.version_id) == (
        stored.key,
        stored.version_id,
    )


def _count(stored: StoredObject, effect: str) -> None:
    NOTIFICATIONS.labels(effect).inc()
    log.info("notification", key=stored.key, size=stored.size, effect=effect)
