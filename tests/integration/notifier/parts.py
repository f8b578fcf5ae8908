"""The notifier as a process, a client's stream, and what writes to the topics."""

import asyncio
import json
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import jwt
from aiokafka import AIOKafkaConsumer, TopicPartition
from media_contracts import (
    MEDIA_PROCESSED,
    MEDIA_STATUS,
    AssetProgressed,
    AssetStatus,
    AssetStatusChanged,
    ErrorInfo,
    MediaProcessed,
    Stage,
    new_event,
)
from media_runtime.kafka.producer import OutgoingRecord, Producer, event_record
from media_runtime.settings import KafkaSettings

from support.eventually import eventually
from support.http_clients import web

JWT_SECRET = "only-for-tests-" + "x" * 32
EVENT_ID_SECRET = "only-for-tests-" + "y" * 32


def token(company: UUID, *, seconds: float = 600, permissions=("media:read",)) -> str:
    claims = {
        "sub": "tester",
        "company_id": str(company),
        "permissions": list(permissions),
        "exp": time.time() + seconds,
        "aud": "media-pipeline",
        "iss": "media-pipeline",
    }
    return jwt.encode(claims, JWT_SECRET, "HS256")


@dataclass(frozen=True)
class Heard:
    """One event of a stream, as a browser would see it."""

    kind: str
    id: str
    data: str

    @property
    def event(self) -> dict:
        return json.loads(self.data)

    @property
    def number(self) -> int:
        return self.event["data"]["attempt"] - 1


@dataclass
class Listening:
    """An open stream and what came of it so far."""

    status: int
    headers: httpx.Headers
    heard: list[Heard] = field(default_factory=list)
    comments: int = 0
    last_id: str = ""
    ids: list[str] = field(default_factory=list)
    ended: bool = False
    broken: bool = False

    def of(self, *kinds: str) -> list[Heard]:
        return [one for one in self.heard if one.kind in kinds]

    @property
    def numbers(self) -> list[int]:
        return [one.number for one in self.of("media_status")]

    async def read(self, answer: httpx.Response) -> None:
        fields: dict[str, str] = {}
        try:
            async for line in answer.aiter_lines():
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                else:
                    self._dispatch(fields)
                    fields = {}
        except httpx.TransportError:
            self.broken = True
        self.ended = True

    def _dispatch(self, fields: dict[str, str]) -> None:
        self.last_id = fields.get("id", self.last_id)
        self.ids += [fields["id"]] if "id" in fields else []
        if "data" in fields:
            self.heard.append(Heard(fields.get("event", ""), self.last_id, fields["data"]))


@dataclass
class Notifier:
    """``python -m notifier`` on a port of its own."""

    environment: dict[str, str]
    log_path: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['HTTP_PORT']}"

    async def start(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, "-m", "notifier"], env=self.environment, stdout=log, stderr=log
            )
        await eventually(self.is_ready, timeout=90)

    async def is_ready(self) -> bool:
        assert self.process.poll() is None, "the notifier died"
        try:
            return (await self.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def get(self, path: str, **more) -> httpx.Response:
        async with web(base_url=self.url) as client:
            return await client.get(path, **more)

    async def metric(self, name: str) -> float:
        lines = (await self.get("/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    @staticmethod
    def bearer(company: UUID, **more) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(company, **more)}"}

    async def ticket(self, company: UUID, **more) -> str:
        async with web(base_url=self.url) as client:
            answer = await client.post(
                "/api/media/events/ticket", headers=self.bearer(company, **more)
            )
        assert answer.status_code == 201, answer.text
        return answer.json()["ticket"]

    @asynccontextmanager
    async def listening(self, company: UUID | None, *, seconds=600, last_id=None, **params):
        """Open a stream with a token for *company*, or without one, and read it."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        if company is not None:
            headers |= self.bearer(company, seconds=seconds)
        async with (
            web(base_url=self.url, timeout=30) as client,
            client.stream("GET", "/api/media/events", headers=headers, params=params) as answer,
        ):
            stream = Listening(answer.status_code, answer.headers)
            reading = asyncio.create_task(stream.read(answer))
            try:
                await eventually(lambda: stream.of("media_hello") or stream.ended)
                yield stream
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """Ask it to stop and return how many seconds that took."""
        started = time.monotonic()
        self.process.terminate()
        self.process.wait(timeout=30)
        return time.monotonic() - started


class Wire:
    """What stands on the other side of the topics."""

    def __init__(self, producer: Producer, prefix: str) -> None:
        self._producer = producer
        self.prefix = prefix

    async def progress(self, company: UUID, numbers, *, asset: UUID | None = None) -> None:
        """Send one numbered event for each of *numbers*, in order."""
        records = [
            event_record(
                MEDIA_STATUS,
                self._event(
                    AssetProgressed(attempt=number + 1, stage=Stage.TRANSCODING),
                    company,
                    asset or company,
                ),
            )
            for number in numbers
        ]
        await self._producer.send_all(records)

    async def status(self, company: UUID, asset: UUID, status: AssetStatus) -> OutgoingRecord:
        changed = AssetStatusChanged(attempt=1, status=status)
        return await self._send(MEDIA_STATUS, self._event(changed, company, asset))

    async def failed(self, company: UUID, *, message: str) -> None:
        error = ErrorInfo(code="unsupported_media", message=message)
        changed = AssetStatusChanged(attempt=1, status=AssetStatus.FAILED, error=error)
        await self._send(MEDIA_STATUS, self._event(changed, company, company))

    async def processed(self, company: UUID, asset: UUID) -> OutgoingRecord:
        now = datetime.now(UTC)
        outcome = MediaProcessed(
            attempt=1,
            outcome="ready",
            file_name="a.jpg",
            content_type="image/jpeg",
            size=1,
            kind="image",
            created_at=now,
            processed_at=now,
        )
        return await self._send(MEDIA_PROCESSED, self._event(outcome, company, asset))

    async def send_bytes(self, value: bytes, *, key: str = "key") -> None:
        await self._producer.send(OutgoingRecord(MEDIA_STATUS.name, key, value))

    async def dead_letters(self, topic: str) -> list:
        place = TopicPartition(f"{self.prefix}{topic}_dlq", 0)
        consumer = AIOKafkaConsumer(**KafkaSettings().client_arguments())
        await consumer.start()
        try:
            consumer.assign([place])
            await consumer.seek_to_beginning(place)
            end = (await consumer.end_offsets([place]))[place]
            return [await consumer.getone() for _ in range(end)]
        finally:
            await consumer.stop()

    async def _send(self, topic, event) -> OutgoingRecord:
        record = event_record(topic, event)
        await self._producer.send(record)
        return record

    @staticmethod
    def _event(payload, company: UUID, asset: UUID):
        return new_event(
            payload,
            source="/media/ingest",
            asset_id=asset,
            company_id=company,
            time=datetime.now(UTC),
        )
