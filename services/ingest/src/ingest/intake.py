"""
From bucket notifications to attempts' first tasks, in milliseconds.

Invariant: an asset's first stored version is the one that counts. A notification that comes
twice, late, or for a newer version of the same key changes nothing. One that is sent for an
attempt that has no task yet begins it. Companies take turns: nobody waits for a flood of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog
from ingest.ask import Asked, AskForPictures
from ingest.metrics import NOTIFICATIONS, count_outcome
from media_contracts import MEDIA_STATUS, AssetProgressed, AssetStatus, Stage
from media_records import tasks
from media_records.files import Files, add_originals, files_of_each, original_of
from media_records.lifecycle import asset_event, asset_span, lock_assets, mark_uploaded, sweep
from media_records.tables import Asset
from media_records.tasks import Pool
from media_records.work import Tx, Work
from media_runtime.kafka.turns import Record, Turns
from media_runtime.storage.store import StoredObject, parse_notification, upload_key
from media_runtime.telemetry import tracing

log = structlog.get_logger(__name__)

_OPEN = frozenset({AssetStatus.PENDING, AssetStatus.PROCESSING, AssetStatus.EXPIRED})

MOST = 100
"""Notifications that are best taken in at once: who comes later waits for that many of others."""

Announced = Mapping[UUID, StoredObject]


def bucket_of(record: Record) -> bytes:
    """Return whose bucket a notification is of; those that the watcher sends have one line."""
    bucket, slash, _ = (record.key or b"").partition(b"/")
    return bucket if slash else b""


TURNS = Turns(bucket_of, ahead=10_000, at_once=MOST // 2)
"""Whoever comes behind 10,000 notifications of another company waits for the next few alone."""


class Intake:
    """
    Turns notifications into tasks.

    With *ask* a picture is asked for in the unit of work that brings an image, and needs no other
    unit, and no other turn of the relay, before it leaves. Whose it is goes by turns all the same.
    """

    def __init__(self, work: Work, ask: AskForPictures | None = None) -> None:
        self._work = work
        self._ask = ask

    async def __call__(self, notifications: Sequence[bytes]) -> None:
        """Queue a task for each stored object; raises MalformedNotificationError."""
        stored = [one for each in notifications for one in parse_notification(each)]
        told: dict[tuple[str, str, str | None], StoredObject] = {}
        for one in stored:
            if one.owner is None:
                _count(one, "foreign_key")
            elif told.setdefault((one.bucket, one.key, one.version_id), one) is not one:
                _count(one, "duplicate")
        for company_id, announced in by_company(told.values()):
            async with self._work.begin() as tx:
                effects = await _take(tx, company_id, announced)
                queued = Pool.PICTURES in tx.queues
                asked = await self._ask_in(tx) if queued else None
            count_outcome(asked.outcome if asked else None)
            for asset_id, effect in effects.items():
                _count(announced[asset_id], effect)

    async def _ask_in(self, tx: Tx) -> Asked | None:
        """Ask for whatever is next. Whose it is, and that it fails, is no matter of this upload."""
        if self._ask is None:
            return None
        try:
            async with tx.part():
                return await self._ask.ask(tx)
        except Exception:
            log.exception("not_asked")
            return None


def by_company(stored: Iterable[StoredObject]) -> Iterator[tuple[UUID, Announced]]:
    """Yield what was stored, by company; what is told of one asset in order and one at a time."""
    found: dict[UUID, list[dict[UUID, StoredObject]]] = {}
    for one in stored:
        if one.owner is not None:
            company_id, asset_id = one.owner
            of_company = found.setdefault(company_id, [{}])
            if asset_id in of_company[-1]:
                of_company.append({})
            of_company[-1][asset_id] = one
    for company_id, of_company in found.items():
        for announced in of_company:
            yield company_id, announced


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
        await add_originals(tx, {asset_id: announced[asset_id] for asset_id in new})
    queued = await tasks.add_each(
        tx, [(asset, tasks.first_task(asset)) for asset in wanted.values()]
    )
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
