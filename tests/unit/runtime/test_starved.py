"""A program that gets no time is told from one that does nothing with it."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from media_runtime.media import starved
from media_runtime.media.ffmpeg import Ffmpeg, FfmpegError, FfmpegTimeoutError
from media_runtime.media.sandbox import Sandbox
from media_runtime.media.starved import family_of, is_starved, seen

from support.eventually import eventually

FFMPEG = Ffmpeg(Sandbox("bubblewrap"))
# One picture takes minutes.
SLOW = ["-f", "lavfi", "-i", "testsrc2=s=1920x1080,nlmeans=s=30:p=15:r=99"]
# The second picture comes after a quarter of an hour.
ASLEEP = ["-re", "-f", "lavfi", "-i", "testsrc2=s=64x64:r=1/1000"]
HERE = Path(__file__)
# The first thread waits, and another one works.
BUSY = """
import threading, time
threading.Thread(target=exec, args=["while True: pass"]).start()
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Look as often as ever, within a second."""
    monkeypatch.setattr(starved, "_PAUSE_SECONDS", 0.1)


def test_a_program_is_what_it_began_and_what_that_began():
    stats = {7: "7 (a ) b) S 1 1", 8: "8 (c) S 7 1", 9: "9 (d) R 8 1", 10: "10 (e) R 1 1"}
    assert family_of(7, stats) == {7, 8, 9}
    assert family_of(8, stats) == {8, 9}
    assert family_of(99, stats) == set()


async def test_one_that_waits_is_not_starved():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as waiting:  # noqa: ASYNC220
        await eventually(lambda: not seen(waiting.pid).wants_more)
        assert not await is_starved(waiting.pid)
        waiting.kill()


async def test_one_that_gets_less_than_it_wants_is_starved(monkeypatch):
    words = (
        "import threading, time\nthreading.Thread(target=exec, args=['while True: pass']).start()"
    )
    with subprocess.Popen([sys.executable, "-c", f"{words}\ntime.sleep(600)"]) as busy:  # noqa: ASYNC220
        monkeypatch.setattr(starved, "_LEAST_SHARE", 2.0)
        assert await is_starved(busy.pid)
        monkeypatch.setattr(starved, "_LEAST_SHARE", 0.001)
        assert not await is_starved(busy.pid)
        busy.kill()


@pytest.mark.parametrize("source", [ASLEEP, SLOW], ids=["asleep", "slow"])
async def test_a_file_that_stands_still_by_itself_is_at_fault(tmp_path, monkeypatch, source):
    monkeypatch.setattr(starved, "_LEAST_SHARE", 0.001)
    with pytest.raises(FfmpegError) as stalled:
        await FFMPEG.run(
            [*source, "-f", "null", "-"], reads=HERE, writes=tmp_path, timeout_seconds=120,
            stall_seconds=1,
        )  # fmt: skip
    assert stalled.value.code == "transcode_stalled"


async def test_a_file_for_which_there_is_no_time_is_worth_another_try(tmp_path, monkeypatch):
    monkeypatch.setattr(starved, "_LEAST_SHARE", 1000.0)
    with pytest.raises(FfmpegTimeoutError):
        await FFMPEG.run(
            [*SLOW, "-f", "null", "-"], reads=HERE, writes=tmp_path, timeout_seconds=120,
            stall_seconds=1,
        )  # fmt: skip


async def test_a_service_that_stood_still_itself_blames_no_file(tmp_path):
    """As one that was paused, or swapped out: by its own clock nothing went on."""
    asyncio.get_running_loop().call_later(1, lambda: time.sleep(3))
    film = ["-re", "-f", "lavfi", "-i", "testsrc2=s=64x64:d=6"]
    await FFMPEG.run(
        [*film, "-f", "null", "-"], reads=HERE, writes=tmp_path, timeout_seconds=120,
        stall_seconds=2,
    )  # fmt: skip
