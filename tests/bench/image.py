"""Images: upload to media_processed one by one, and throughput when saturated."""

from __future__ import annotations

import asyncio
import io
import random
import tempfile
import time
from pathlib import Path
from typing import Self
from uuid import uuid4

from aiokafka import AIOKafkaConsumer
from media_contracts import MEDIA_PROCESSED
from media_runtime.settings import KafkaSettings
from mediactl.client import MediaClient
from PIL import Image, ImageOps

from bench.report import Row
from bench.stack import client

_ONE_BY_ONE = 100
_AT_ONCE = 200
_CONNECTIONS = 16
_SIZES = ((1280, 960), (1600, 1200), (2048, 1536))


def run(rounds: int) -> list[Row]:
    """Return latency percentiles, and our rate over that of plain loops on one core."""
    with tempfile.TemporaryDirectory() as folder:
        photos = _photos(Path(folder), 12)
        waits = sorted(asyncio.run(_latencies(photos)))
        pairs = []
        for _ in range(rounds):
            plain = _loop_rate(photos, full=False)
            whole = _loop_rate(photos, full=True)
            pairs.append((asyncio.run(_rate(photos)), plain, whole))
    ours, plain, whole = (sorted(column)[len(pairs) // 2] for column in zip(*pairs, strict=True))
    return [
        Row(
            name=f"image: upload to media_processed, n = {len(waits)}",
            ours=f"p50 {_at(waits, 0.5):.0f} ms, p99 {_at(waits, 0.99):.0f} ms",
            target="p50 under 500 ms",
        ),
        Row(
            name=f"image: saturated, {_AT_ONCE} uploads over {_CONNECTIONS} connections",
            ours=f"{ours:.1f}/s",
            other=f"{plain:.1f}/s plain loop of Pillow thumbnails",
            ratios=[one / other for one, other, _ in pairs],
        ),
        Row(
            name="image: the same",
            ours=f"{ours:.1f}/s",
            other=f"{whole:.1f}/s loop that re-encodes the picture too",
            ratios=[one / other for one, _, other in pairs],
        ),
    ]


def _photos(folder: Path, count: int) -> list[Path]:
    chance = random.Random(1)
    paths = []
    for number in range(count):
        size = _SIZES[number % len(_SIZES)]
        noise = Image.frombytes("RGB", (64, 48), chance.randbytes(64 * 48 * 3))
        path = folder / f"photo-{number}.jpg"
        noise.resize(size, Image.Resampling.BICUBIC).save(path, quality=88)
        paths.append(path)
    return paths


def _loop_rate(photos: list[Path], *, full: bool) -> float:
    started = time.perf_counter()
    for number in range(_AT_ONCE):
        with Image.open(photos[number % len(photos)]) as image:
            if full:
                ImageOps.exif_transpose(image).save(io.BytesIO(), "JPEG", quality=85)
            else:
                image.draft("RGB", (480, 360))
            upright = ImageOps.exif_transpose(image)
            ImageOps.fit(upright, (320, 240)).save(io.BytesIO(), "JPEG", quality=85)
    return _AT_ONCE / (time.perf_counter() - started)


class _Outcomes:
    """Hears of outcomes on Kafka, as another team would."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self.changed = asyncio.Event()
        self._consumer = AIOKafkaConsumer(
            MEDIA_PROCESSED.name,
            **KafkaSettings().client_arguments(),
            auto_offset_reset="latest",
        )

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await self._consumer.seek_to_end()
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await self._consumer.stop()

    async def _follow(self) -> None:
        async for record in self._consumer:
            self.seen[str(MEDIA_PROCESSED.parse(record.value).subject)] = time.perf_counter()
            self.changed.set()

    async def wait(self, asset_ids: set[str]) -> None:
        async with asyncio.timeout(300):
            while not asset_ids <= self.seen.keys():
                self.changed.clear()
                await self.changed.wait()


async def _send(media: MediaClient, photo: Path) -> str:
    grant = await media.sign(photo)
    await media.upload(grant, photo, on_bytes=lambda _: None)
    return str(grant["assetId"])


async def _latencies(photos: list[Path]) -> list[float]:
    waits = []
    async with client(uuid4()) as media, _Outcomes() as outcomes:
        await outcomes.wait({await _send(media, photos[0])})
        for number in range(_ONE_BY_ONE):
            asset_id = await _send(media, photos[number % len(photos)])
            uploaded = time.perf_counter()
            await outcomes.wait({asset_id})
            waits.append(1000 * (outcomes.seen[asset_id] - uploaded))
    return waits


async def _rate(photos: list[Path]) -> float:
    async with client(uuid4()) as media, _Outcomes() as outcomes:
        await outcomes.wait({await _send(media, photos[0])})
        limit = asyncio.Semaphore(_CONNECTIONS)

        async def one(number: int) -> str:
            async with limit:
                return await _send(media, photos[number % len(photos)])

        started = time.perf_counter()
        sent = await asyncio.gather(*(one(number) for number in range(_AT_ONCE)))
        await outcomes.wait(set(sent))
        return _AT_ONCE / (max(outcomes.seen[a] for a in sent) - started)


def _at(waits: list[float], part: float) -> float:
    return waits[min(len(waits) - 1, int(len(waits) * part))]
