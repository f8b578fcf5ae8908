"""The short form of the fuzzer: the same files each time, each with an answer."""

from __future__ import annotations

import pytest

from fuzz.run import fuzz
from support.tiers import FULL, HOSTILE_FULL, HOUR

FILES = 600 if FULL else 30
IMAGES = 2500


@pytest.mark.timeout(HOUR if FULL else 300)
async def test_every_changed_file_gets_an_answer(tmp_path):
    report = await fuzz(tmp_path, seed=1, most_files=FILES, seconds=2 * FILES)

    assert not report.surprises, report.text()
    assert len(report.answers) > 3
    assert report.answers["ready"]


@pytest.mark.parametrize("kind", ["image/heic", "image/avif", "image/webp", "image/gif"])
@pytest.mark.skipif(not HOSTILE_FULL, reason="thousands of files: HOSTILE_FULL=1")
@pytest.mark.timeout(HOUR)
async def test_every_changed_image_gets_an_answer(tmp_path, kind):
    """A death of the sandbox for want of memory or time is an answer, any other one a surprise."""
    report = await fuzz(tmp_path, seed=2, most_files=IMAGES, seconds=HOUR, kind=kind)

    assert not report.surprises, report.text()
    assert report.files == IMAGES
