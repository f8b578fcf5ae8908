"""The short form of the fuzzer: the same files each time, each with an answer."""

from __future__ import annotations

from fuzz.run import fuzz


async def test_every_changed_file_gets_an_answer(tmp_path):
    report = await fuzz(tmp_path, seed=1, most_files=60, seconds=60)

    assert not report.surprises, report.text()
    assert len(report.answers) > 3
    assert report.answers["ready"]
