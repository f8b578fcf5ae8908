"""
Images: upload to media_processed one by one, and what they take when saturated.

CPU-seconds are those of the whole machine but for this process: run it where nothing else runs.
"""

from __future__ import annotations

import asyncio
import io
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from uuid import uuid4

from aiokafka import AIOKafkaConsumer
from media_contracts import MEDIA_PROCESSED, MEDIA_STATUS
from media_runtime.settings import KafkaSettings
from mediactl.client import MediaClient
from PIL import Image, ImageOps

from bench import pictures
from bench.report import Row
from bench.stack import client, others_cpu

_ONE_BY_ONE, _LARGE_ONE_BY_ONE = 100, 20
_AT_ONCE = 200
_CONNECTIONS = 16
_SIZES = ((1280, 960), (1600, 1200), (2048, 1536))
_LARGE = ((4000, 3000), (3024, 4032))  # 12 MP, as phones make them


def run(rounds: int) -> list[Row]:
    """Return latency percentiles, and our rate over that of plain loops on one core."""
    with tempfile.TemporaryDirectory() as folder:
        photos = _photos(Path(folder), 12)
        first, whole = map(sorted, asyncio.run(_latencies(photos, _ONE_BY_ONE)))
        large = asyncio.run(_latencies(_photos(Path(folder), 4, _LARGE), _LARGE_ONE_BY_ONE))
        large_first, large_whole = map(sorted, large)
        spent, pairs = [], []
        for _ in range(rounds):
            loop_seconds, loop_cpu = _loop(photos)
            ours_seconds, ours_cpu = asyncio.run(_saturated(photos))
            spent.append((ours_cpu, loop_cpu))
            pairs.append((_AT_ONCE / ours_seconds, _AT_ONCE / loop_seconds))
    ours_cpu, loop_cpu = (
        1000 * statistics.median(one) / _AT_ONCE for one in zip(*spent, strict=True)
    )
    ours, loop = (statistics.median(one) for one in zip(*pairs, strict=True))
    return [
        Row(
            name=f"image: upload to thumbnail and placeholder told, n = {len(first)}",
            ours=f"p50 {_at(first, 0.5):.0f} ms, p99 {_at(first, 0.99):.0f} ms",
            target="p50 100 ms, p99 300 ms",
        ),
        Row(
            name=f"image: upload to all sizes told, n = {len(whole)}",
            ours=f"p50 {_at(whole, 0.5):.0f} ms, p99 {_at(whole, 0.99):.0f} ms",
        ),
        Row(
            name=f"image: of 12 MP, upload to thumbnail told, n = {len(large_first)}",
            ours=f"p50 {_at(large_first, 0.5):.0f} ms, p99 {_at(large_first, 0.99):.0f} ms",
        ),
        Row(
            name=f"image: of 12 MP, upload to all sizes told, n = {len(large_whole)}",
            ours=f"p50 {_at(large_whole, 0.5):.0f} ms, p99 {_at(large_whole, 0.99):.0f} ms",
            target="p50 1000 ms",
        ),
        Row(
            name=f"image: saturated, {_AT_ONCE} uploads over {_CONNECTIONS} connections",
            ours=f"{ours:.1f}/s",
            other=f"{loop:.1f}/s loop of Pillow on one core",
            ratios=[one / other for one, other in pairs],
        ),
        Row(
            name="image: CPU of all processes for each",
            ours=f"{ours_cpu:.0f} ms",
            other=f"{loop_cpu:.0f} ms the same loop",
            ratios=[one / other for one, other in spent],
            target="at most 1.6",
        ),
    ]


def _photos(folder: Path, count: int, sizes: Sequence[tuple[int, int]] = _SIZES) -> list[Path]:
    chance = random.Random(1)
    paths = []
    for number in range(count):
        size = sizes[number % len(sizes)]
        noise = Image.frombytes("RGB", (64, 48), chance.randbytes(64 * 48 * 3))
        path = folder / f"photo-{max(size)}-{number}.jpg"
        noise.resize(size, Image.Resampling.BICUBIC).save(path, quality=88)
        paths.append(path)
    return paths


def _loop(photos: list[Path]) -> tuple[float, float]:
    """Make the same pictures; return the seconds of the clock and of the CPU that it took."""
    began, began_cpu = time.perf_counter(), time.process_time()
    for number in range(_AT_ONCE):
        with Image.open(photos[number % len(photos)]) as image:
            upright = ImageOps.exif_transpose(image)
            upright.save(io.BytesIO(), "JPEG", quality=85)
            ImageOps.fit(upright, (320, 240)).save(io.BytesIO(), "JPEG", quality=85)
            pictures.all_sizes(upright)
    return time.perf_counter() - began, time.process_time() - began_cpu


class _Heard:
    """Hears of thumbnails and outcomes on Kafka, as another service would."""

    def __init__(self) -> None:
        self.first: dict[str, float] = {}
        self.seen: dict[str, float] = {}
        self.changed = asyncio.Event()
        self._consumer = AIOKafkaConsumer(
            MEDIA_PROCESSED.name,
            MEDIA_STATUS.name,
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
            topic = MEDIA_STATUS if record.topic == MEDIA_STATUS.name else MEDIA_PROCESSED
            event = topic.parse(record.value)
            if topic is MEDIA_PROCESSED:
                self.seen[str(event.subject)] = time.perf_counter()
            elif getattr(event.data, "placeholder", None):
                self.first[str(event.subject)] = time.perf_counter()
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


async def _latencies(photos: list[Path], count: int) -> tuple[list[float], list[float]]:
    """Return in how many milliseconds after its upload each one's first and last news came."""
    first, whole = [], []
    async with client(uuid4()) as media, _Heard() as heard:
        await heard.wait({await _send(media, photos[0])})
        for number in range(count):
            asset_id = await _send(media, photos[number % len(photos)])
            uploaded = time.perf_counter()
            await heard.wait({asset_id})
            first.append(1000 * (heard.first[asset_id] - uploaded))
            whole.append(1000 * (heard.seen[asset_id] - uploaded))
    return first, whole


async def _saturated(photos: list[Path]) -> tuple[float, float]:
    """Upload many at once; return the seconds of the clock, and of the CPU of all others."""
    async with client(uuid4()) as media, _Heard() as heard:
        await heard.wait({await _send(media, photos[0])})
        limit = asyncio.Semaphore(_CONNECTIONS)

        async def one(number: int) -> str:
            async with limit:
                return await _send(media, photos[number % len(photos)])

        began, began_cpu = time.perf_counter(), others_cpu()
        sent = await asyncio.gather(*(one(number) for number in range(_AT_ONCE)))
        await heard.wait(set(sent))
        return max(heard.seen[a] for a in sent) - began, others_cpu() - began_cpu


def _at(waits: list[float], part: float) -> float:
    return waits[min(len(waits) - 1, int(len(waits) * part))]
