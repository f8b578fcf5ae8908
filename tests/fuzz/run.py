"""Changed files, one after another, and what was answered to them."""

from __future__ import annotations

import random
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from ingest.outputs.transcode import Progress
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.sandbox import Sandbox

from fuzz.answers import INCONCLUSIVE, Pipeline
from fuzz.mutate import mutated
from fuzz.seeds import Seed, honest_files

_SLOW_SECONDS = 60.0


@dataclass
class Report:
    """How often each answer was given, and the files that got none, by their numbers."""

    seed: int
    files: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")

    def text(self) -> str:
        """Return the report for people."""
        counts = [f"  {count:6} {answer}" for answer, count in self.answers.most_common()]
        slow = f"slowest: {self.slowest[0]:.1f} s, {self.slowest[1]}"
        found = [f"SURPRISE {one}" for one in self.surprises] or ["no surprise"]
        return "\n".join([f"seed {self.seed}: {self.files} files", *counts, slow, *found])


async def fuzz(
    folder: Path,
    *,
    seed: int,
    most_files: int,
    seconds: float,
    only: int | None = None,
    kind: str = "",
    tell: Callable[[Report], None] = lambda _: None,
) -> Report:
    """
    Change honest files until *most_files* or *seconds* are reached.

    The same *seed* gives the same files. What surprises is kept in *folder*. With *only* it is
    the file of that number alone, with a *kind* one whose type begins so.
    """
    honest = folder / "honest"
    honest.mkdir(parents=True, exist_ok=True)
    seeds = [one for one in honest_files(honest) if one.content_type.startswith(kind)]
    report, ends = Report(seed), time.monotonic() + seconds
    deaf = mock.patch.object(Progress, "report", _nobody_hears)
    async with PicturePool(Sandbox("bubblewrap"), workers=1) as pool:
        pipeline = Pipeline(pool, Ffmpeg(Sandbox("bubblewrap")), folder)
        for number in [only] if only is not None else range(most_files):
            if time.monotonic() > ends:
                break
            with deaf:
                await _one(pipeline, folder, seeds, number, report)
            tell(report)
    return report


async def _one(
    pipeline: Pipeline, folder: Path, seeds: list[Seed], number: int, report: Report
) -> None:
    rng = random.Random(f"{report.seed}/{number}")
    base = rng.choice(seeds)
    kind = base.content_type.partition("/")[0]
    other = rng.choice([one for one in seeds if one.content_type.startswith(kind)])
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    source = work / base.name
    source.write_bytes(mutated(base.data, other.data, rng))
    about, began = f"{number} of {base.name}", time.monotonic()
    try:
        answer = await pipeline.answer(source, base.content_type, work)
    except Exception:  # noqa: BLE001 - that is what is looked for
        answer = "NONE"
        report.surprises.append(f"{about}: {traceback.format_exc()}")
    took = time.monotonic() - began
    if took > _SLOW_SECONDS or answer == INCONCLUSIVE:
        report.surprises.append(f"{about}: {answer} after {took:.1f} s")
    if report.surprises and report.surprises[-1].startswith(f"{about}:"):
        shutil.copy(source, folder / f"{report.seed}-{number}-{base.name}")
    report.slowest = max(report.slowest, (took, about))
    report.answers[answer] += 1
    report.files += 1


async def _nobody_hears(*_: object) -> None:
    return
