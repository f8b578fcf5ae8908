"""
Records that can be read and change nothing, and members of a group that come to no good.

Invariant: nothing here may become a dead letter or a transition; what does is a finding.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from media_contracts import (
    MEDIA_INGEST,
    MEDIA_THUMBNAILED,
    ErrorInfo,
    ImageChecked,
    Picture,
    ThumbnailFailed,
    Topic,
    new_event,
)
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import StoredObject, build_notification, upload_key

from chaos.replay import GROUPS
from chaos.target import Target

_SOURCE = "/media/stranger"
HEADERS: dict[str, list[tuple[str, bytes | None]]] = {
    "none": [],
    "null": [("traceparent", None), ("content-type", None)],
    "not UTF-8": [("traceparent", b"\xff\xfe"), ("content-type", b"\xc3")],
    "another's dead letter": [("dlq-reason", b"malformed"), ("dlq-topic", b"x")],
}
"""Headers that say nothing of the record they are on."""


@dataclass(frozen=True)
class Known:
    """An asset that is there, whose upload has been announced."""

    company_id: UUID
    asset_id: UUID
    attempt: int
    bucket: str


def strange_notifications(known: Known, stranger: UUID) -> dict[str, bytes]:
    """Return notifications that can be read and are about no upload of ours."""
    company, asset = known.company_id, known.asset_id
    return {
        "an unknown asset": _notification(known.bucket, upload_key(company, uuid4())),
        "another company's bucket": _notification(
            known.bucket.replace(str(company), str(stranger)), upload_key(company, asset)
        ),
        "another company's key": _notification(known.bucket, upload_key(stranger, asset)),
        "an output": _notification(known.bucket, output_key(company, asset, 1, "video.mp4")),
        "a key that is none of ours": _notification(known.bucket, "../../etc/passwd"),
        "no record at all": b'{"EventName": "s3:ObjectCreated:Put", "Records": []}',
    }


def strange_answers(known: Known, stranger: UUID | None = None) -> dict[str, bytes]:
    """Return answers of the thumbnailer that nobody of ours waits for; some are *stranger*'s."""
    found = {
        "an unknown asset": _made(known, asset_id=uuid4()),
        "an attempt to come": _made(known, attempt=known.attempt + 1),
        "a failure of an attempt to come": _failed(known, attempt=known.attempt + 1),
    }
    if stranger is not None:
        found["another company"] = _made(known, company_id=stranger)
        found["a failure of another company"] = _failed(known, company_id=stranger)
    return found


async def send_strangers(
    target: Target, known: Sequence[Known], stranger: UUID, *, across: bool = False
) -> int:
    """
    Send each strange record about each asset with each kind of headers; return how many.

    *stranger* is a company that has none of the assets. *across* adds events that name it and
    another's asset; the judge of a run takes them, rightly, for a broken promise.
    """
    if stranger in {one.company_id for one in known}:
        raise ValueError(f"{stranger} is no stranger: give a company that has none of the assets.")
    producer = AIOKafkaProducer(**target.kafka.client_arguments())
    await producer.start()
    sent = 0
    try:
        for one in known:
            for topic, records in (
                (MEDIA_INGEST, strange_notifications(one, stranger)),
                (MEDIA_THUMBNAILED, strange_answers(one, stranger if across else None)),
            ):
                for value in records.values():
                    for headers in HEADERS.values():
                        await producer.send_and_wait(
                            target.topic_prefix + topic.name,
                            value,
                            key=str(one.asset_id).encode(),
                            headers=headers,
                        )
                        sent += 1
    finally:
        await producer.stop()
    return sent


@asynccontextmanager
async def ghosts(
    target: Target, group: str, chance: random.Random, *, seconds: float = 2.0
) -> AsyncIterator[list[int]]:
    """
    Have members of *group* come and go for the block, who hold partitions and read nothing.

    Each stays up to *seconds*, as long again passes until the next one. Gives how many
    joined, and how many partitions they held in all.
    """
    counts = [0, 0]
    task = asyncio.create_task(_haunt(target, group, chance, seconds, counts))
    try:
        yield counts
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _haunt(
    target: Target, group: str, chance: random.Random, seconds: float, counts: list[int]
) -> None:
    while True:
        # A broker that is away, or a rebalance that does not end, is not this fault's matter.
        with suppress(KafkaError, TimeoutError):
            await _join(target, group, GROUPS[group], chance.uniform(0.2, seconds), counts)
        await asyncio.sleep(chance.uniform(0.2, seconds))


async def _join(
    target: Target, group: str, topic: Topic, seconds: float, counts: list[int]
) -> None:
    # It never commits, so whoever gets its partitions begins where the last one of ours ended.
    ghost = AIOKafkaConsumer(
        target.topic_prefix + topic.name,
        **target.kafka.client_arguments(),
        group_id=target.topic_prefix + group,
        enable_auto_commit=False,
        session_timeout_ms=10_000,
    )
    try:
        await ghost.start()
        async with asyncio.timeout(15):
            while not ghost.assignment():  # noqa: ASYNC110 - the library tells nobody
                await asyncio.sleep(0.05)
        counts[0] += 1
        counts[1] += len(ghost.assignment())
        await asyncio.sleep(seconds)
    finally:
        await ghost.stop()


def _notification(bucket: str, key: str) -> bytes:
    stored = StoredObject(bucket=bucket, key=key, version_id=str(uuid4()), size=7, etag="0" * 32)
    return build_notification(stored, source=_SOURCE, at=datetime.now(UTC))


def _made(
    known: Known,
    *,
    asset_id: UUID | None = None,
    company_id: UUID | None = None,
    attempt: int | None = None,
) -> bytes:
    pictures = [
        Picture(
            name=name,
            bucket=known.bucket,
            key=output_key(known.company_id, known.asset_id, known.attempt, f"strange-{name}"),
            content_type="image/jpeg",
            width=1,
            height=1,
            size=1,
        )
        for name in ("thumbnail", "display")
    ]
    checked = ImageChecked(
        attempt=attempt or known.attempt, task="inspect", sha256="0" * 64,
        content_type="image/jpeg", format="JPEG", width=1, height=1, frames=1, scans=1,
        hdr=False, pictures=pictures, seconds=0,
    )  # fmt: skip
    return new_event(
        checked,
        source=_SOURCE,
        asset_id=asset_id or known.asset_id,
        company_id=company_id or known.company_id,
        time=datetime.now(UTC),
    ).to_bytes()


def _failed(known: Known, *, company_id: UUID | None = None, attempt: int | None = None) -> bytes:
    error = ErrorInfo(code="strange", message="Nobody asked.")
    return new_event(
        ThumbnailFailed(attempt=attempt or known.attempt, task="inspect", error=error),
        source=_SOURCE,
        asset_id=known.asset_id,
        company_id=company_id or known.company_id,
        time=datetime.now(UTC),
    ).to_bytes()
