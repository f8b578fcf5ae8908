"""The short form of the fuzzer: the same files each time, each with an answer."""

from __future__ import annotations

import pytest

from fuzz.run import fuzz
from support.tiers import FULL, HOUR

FILES = 600 if FULL else 30


@pytest.mark.timeout(HOUR if FULL else 300)
async def test_every_changed_file_gets_an_answer(tmp_path):
    report = await fuzz(tmp_path, seed=1, most_files=FILES, seconds=2 * FILES)

    assert not report.surprises, report.text()
    assert len(report.answers) > 3
    assert report.answers["ready"]
