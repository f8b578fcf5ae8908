"""What callers of media_runtime.media.ffmpeg may rely on, shown with the real programs."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from media_runtime.media.ffmpeg import (
    Ffmpeg,
    FfmpegError,
    FfmpegKilledError,
    FfmpegTimeoutError,
    InputLimits,
    UnreadableMediaError,
)
from media_runtime.media.info import MediaInfo
from media_runtime.media.meter import Run, metered
from media_runtime.media.sandbox import Sandbox

from support.eventually import eventually

FFMPEG = Ffmpeg(Sandbox("bubblewrap"))
INPUT_WORDS = [
    text for key, value in FFMPEG.input_options.items() for text in (f"-{key}", str(value))
]
HERE = Path(__file__)
ENDLESS = ["-re", "-f", "lavfi", "-i", "testsrc2=s=64x64", "-f", "null", "-"]


async def run_ffmpeg(arguments: list[str], **options: Any) -> None:
    """Run it with the folder of what it writes, where that is a file, and of what it reads."""
    target = Path(arguments[-1])
    folder = target.parent if target.is_absolute() else HERE.parent
    await FFMPEG.run(arguments, reads=HERE, writes=folder, **options)


async def probe(path: Path) -> MediaInfo:
    return await FFMPEG.probe(path)


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def make_video(path: Path, *options: str) -> Path:
    source = "-f", "lavfi", "-i", "testsrc2=s=320x180:d=2"
    fast = "-preset", "ultrafast", "-deadline", "realtime"
    ffmpeg(*source, *options, *fast, "-pix_fmt", "yuv420p", path)
    return path


def start_python(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program, *arguments])


def commands_with(marker: str) -> list[int]:
    """Return the ids of processes that are alive and have *marker* among their arguments."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            alive = (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            arguments = (folder / "cmdline").read_bytes().decode().split("\0")
            if alive and marker in arguments and arguments[0].endswith(("ffmpeg", "bwrap")):
                found.append(int(folder.name))
    return found


def encoder_with(marker: str) -> int | None:
    """Return the process id of ffmpeg itself, without the sandbox around it."""
    found = [
        pid
        for pid in commands_with(marker)
        if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"ffmpeg")
    ]
    return found[0] if found else None


def endless(marker: str) -> list[str]:
    return [*ENDLESS[:-3], "-metadata", marker, *ENDLESS[-3:]]


async def test_progress_is_reported_in_seconds_of_output(tmp_path):
    reports: list[float] = []

    async def on_progress(seconds: float) -> None:
        reports.append(seconds)

    source = make_video(tmp_path / "in.mp4")
    await run_ffmpeg(
        [*INPUT_WORDS, "-i", f"file:{source}", str(tmp_path / "out.mp4")],
        timeout_seconds=30,
        on_progress=on_progress,
    )

    assert reports == sorted(reports)
    assert reports[-1] == pytest.approx(2.0, abs=0.25)
    assert (await probe(tmp_path / "out.mp4")).duration_seconds == pytest.approx(2.0, abs=0.1)


async def test_time_out_kills_ffmpeg(tmp_path):
    marker = f"title={tmp_path}"
    with pytest.raises(FfmpegTimeoutError):
        await run_ffmpeg(endless(marker), timeout_seconds=0.5)
    assert commands_with(marker) == []


async def test_time_on_the_cpu_is_the_files_own(tmp_path):
    """However busy the machine is."""
    busy = ["-f", "lavfi", "-i", "mandelbrot=s=1920x1080", "-f", "null", "-"]
    with pytest.raises(FfmpegError) as caught:
        await run_ffmpeg(busy, timeout_seconds=60, cpu_seconds=1)
    assert caught.value.code == "transcode_timeout"


async def test_output_is_bounded(tmp_path):
    noise = ["-f", "lavfi", "-i", "nullsrc=s=640x480,geq=random(1)*255:128:128"]
    with pytest.raises(FfmpegError) as caught:
        await run_ffmpeg(
            [*noise, "-c:v", "rawvideo", str(tmp_path / "out.avi")],
            timeout_seconds=60,
            max_bytes=2_000_000,
        )
    assert caught.value.code == "output_too_large"
    assert (tmp_path / "out.avi").stat().st_size <= 2_000_000


async def test_a_nice_transcode_leaves_the_machine_to_others(tmp_path):
    marker = f"title={tmp_path}"
    running = asyncio.create_task(run_ffmpeg(endless(marker), timeout_seconds=60, niceness=7))
    pid = await eventually(lambda: encoder_with(marker))
    assert os.getpriority(os.PRIO_PROCESS, pid) == 7
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def matroska_that_says(words: bytes, path: Path) -> Path:
    """Make a file whose DocType, which ffmpeg quotes, is *words*, and whose media are damaged."""
    plain = make_video(path.with_name("plain.mkv")).read_bytes()
    segment = plain.index(b"\x18\x53\x80\x67")
    cluster = plain.index(b"\x1f\x43\xb6\x75", segment)
    doc_type = b"\x42\x82" + bytes([0x80 | len(words)]) + words
    head = doc_type + b"\x42\x87\x81\x04" + b"\x42\x85\x81\x02"
    damaged = plain[segment : cluster + 40] + bytes(len(plain) - cluster - 40)
    path.write_bytes(b"\x1a\x45\xdf\xa3" + bytes([0x80 | len(head)]) + head + damaged)
    return path


@pytest.mark.parametrize("words", [b"No space left on device", b"bwrap: "])
async def test_a_file_that_speaks_like_a_broken_machine_is_no_broken_machine(tmp_path, words):
    """What is the machine's fault is tried for a day; a file that could ask for that would."""
    upload = matroska_that_says(words, tmp_path / "upload.mkv")
    arguments = [*INPUT_WORDS, "-i", f"file:{upload}", str(tmp_path / "out.mp4")]
    assert (await probe(upload)).video is not None
    with pytest.raises(FfmpegError) as caught:
        await FFMPEG.run(arguments, reads=upload, writes=tmp_path, timeout_seconds=20)
    assert caught.value.code == "transcode_failed"
    assert words.decode() in caught.value.detail


async def test_ffmpeg_dies_with_its_parent(tmp_path):
    """kill -9 of a worker leaves no ffmpeg behind."""
    marker = f"title={tmp_path}"
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from media_runtime.media.ffmpeg import Ffmpeg\n"
        "from media_runtime.media.sandbox import Sandbox\n"
        "here = Path('/usr/bin/env')\n"
        "run = Ffmpeg(Sandbox('bubblewrap')).run\n"
        "asyncio.run(run(sys.argv[1:], reads=here, writes=here.parent, timeout_seconds=60))"
    )
    parent = start_python(program, *endless(marker))
    try:
        # A sandbox that is still being set up is not yet bound to its parent: see sandbox.py.
        await eventually(lambda: encoder_with(marker))
    finally:
        parent.kill()
        parent.wait()
    await eventually(lambda: not commands_with(marker), timeout=2)


async def test_ffmpeg_shares_our_session_and_has_a_group_of_its_own(tmp_path):
    """Where the kernel groups by session, niceness counts within one alone."""
    marker = f"title={tmp_path}"
    running = asyncio.create_task(run_ffmpeg(endless(marker), timeout_seconds=60))
    pid = await eventually(lambda: encoder_with(marker))
    assert os.getsid(pid) == os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_signal_from_outside_is_worth_another_try(tmp_path, number):
    marker = f"title={tmp_path}"
    running = asyncio.create_task(run_ffmpeg(endless(marker), timeout_seconds=60))
    pid = await eventually(lambda: encoder_with(marker))
    os.kill(pid, number)
    with pytest.raises(FfmpegKilledError):
        await running


async def test_error_for_people_names_no_path(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 1000)
    words = [*INPUT_WORDS, "-i", f"file:{broken}", str(tmp_path / "o.mp4")]
    with pytest.raises(FfmpegError) as caught:
        await run_ffmpeg(words, timeout_seconds=10)
    assert caught.value.code == "transcode_failed"
    assert str(tmp_path) not in str(caught.value)
    assert "Invalid data" in caught.value.detail


async def test_flood_on_standard_error_is_drained(tmp_path):
    reports = ["-loglevel", "debug", "-f", "lavfi", "-i", "testsrc2=s=16x16:d=60"]
    await run_ffmpeg([*reports, "-f", "null", "-"], timeout_seconds=30)


async def test_probe_tells_size_as_shown(tmp_path):
    plain = make_video(tmp_path / "plain.mp4")
    turned = tmp_path / "turned.mp4"
    ffmpeg("-i", plain, "-metadata:s:v", "rotate=90", "-c", "copy", turned)

    video = (await probe(turned)).video

    assert video is not None
    assert (video.width, video.height) == (180, 320)
    assert video.rotation in {90, 270}
    assert (await probe(plain)).video.rotation == 0


async def test_probe_tells_of_streams(tmp_path):
    sound = ["-f", "lavfi", "-i", "sine=d=2", "-c:a", "aac", "-ac", "2"]
    info = await probe(make_video(tmp_path / "av.mp4", *sound, "-map", "0", "-map", "1"))
    assert info.stream_count == 2
    assert info.duration_seconds == pytest.approx(2.0, abs=0.1)
    assert (info.video.codec, info.video.frame_rate) == ("h264", 25.0)
    assert (info.video.pixel_format, info.video.pixel_aspect) == ("yuv420p", 1.0)
    assert (info.audio.codec, info.audio.channels) == ("aac", 2)


async def test_cover_art_is_not_video(tmp_path):
    cover, song = tmp_path / "cover.png", tmp_path / "song.m4a"
    make_video(cover, "-frames:v", "1")
    sound = "-f", "lavfi", "-i", "sine=d=1", "-i", cover, "-map", "0", "-map", "1"
    ffmpeg(*sound, "-c:v", "mjpeg", "-disposition:v", "attached_pic", "-f", "mp4", song)
    info = await probe(song)
    assert info.video is None
    assert info.audio is not None


@pytest.mark.parametrize(
    "script",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile secret.mp4\n",
    ],
    ids=["hls", "ffconcat"],
)
async def test_script_that_names_other_files_is_refused(tmp_path, script):
    make_video(tmp_path / "secret.mp4")
    upload = tmp_path / "upload.mp4"
    upload.write_text(script)

    with pytest.raises(UnreadableMediaError) as caught:
        await probe(upload)
    assert "whitelist" in caught.value.detail

    with pytest.raises(FfmpegError) as refused:
        await run_ffmpeg(
            [*INPUT_WORDS, "-i", f"file:{upload}", str(tmp_path / "out.mp4")], timeout_seconds=10
        )
    assert "whitelist" in refused.value.detail


@pytest.mark.parametrize("codec", ["magicyuv", "ffv1", "png_in_avi"])
async def test_only_listed_decoders_open_an_upload(tmp_path, codec):
    """Of the hundreds that ffmpeg has, each has had its holes."""
    upload = make_video(tmp_path / "upload.avi", "-c:v", codec.removesuffix("_in_avi"))
    if codec == "png_in_avi":
        assert (await probe(upload)).video.codec == "png"
        return
    with pytest.raises(UnreadableMediaError) as caught:
        await probe(upload)
    assert caught.value.code == "unsupported_codec"
    with pytest.raises(FfmpegError) as refused:
        await run_ffmpeg(
            [*INPUT_WORDS, "-i", f"file:{upload}", str(tmp_path / "out.mp4")], timeout_seconds=10
        )
    assert "not on whitelist" in refused.value.detail


async def test_limits_of_the_input_are_settings(tmp_path):
    upload = make_video(tmp_path / "upload.mp4")
    tight = Ffmpeg(Sandbox("bubblewrap"), InputLimits(pixels=320 * 180 - 1))
    with pytest.raises(UnreadableMediaError, match=r"0\.057599 million pixels") as caught:
        await tight.probe(upload)
    assert caught.value.code == "too_many_pixels"
    with pytest.raises(UnreadableMediaError, match="more than 0 streams") as caught:
        await Ffmpeg(Sandbox("bubblewrap"), InputLimits(streams=0)).probe(upload)
    assert caught.value.code == "too_many_streams"
    assert (await probe(upload)).video is not None


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"<svg/>"])
async def test_probe_refuses_what_is_no_media(tmp_path, content):
    path = tmp_path / "upload.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableMediaError):
        await probe(path)


@pytest.mark.parametrize("suffix", ["mov", "webm", "mkv", "avi", "mpg", "ts", "3gp"])
async def test_every_accepted_container_can_be_read(tmp_path, suffix):
    options = ["-s", "352x288", "-r", "25", *(("-c:v", "libvpx") if suffix == "webm" else ())]
    info = await probe(make_video(tmp_path / f"video.{suffix}", *options))
    assert (info.video.width, info.video.height) == (352, 288)


async def test_the_cpu_of_what_runs_is_counted_for_whoever_asks(tmp_path):
    source, made = make_video(tmp_path / "source.mp4"), tmp_path / "made"
    made.mkdir()
    await FFMPEG.require_encoders(["libx264"])

    async def encode(preset: str) -> str:
        target = f"file:{made / preset}.mp4"
        words = [*INPUT_WORDS, "-i", f"file:{source}", "-c:v", "libx264", "-preset", preset, target]
        return await FFMPEG.run(words, reads=source, writes=made, timeout_seconds=60)

    async def metering(preset: str) -> tuple[float, list[Run]]:
        with metered() as meter:
            await probe(source)
            before = meter.cpu_seconds
            assert await encode(preset) == "", "what was counted is not what it said"
            return meter.cpu_seconds - before, meter.commands

    (fast, commands), (slow, _) = await asyncio.gather(metering("ultrafast"), metering("veryslow"))
    assert slow > 3 * fast > 0, "each counts its own"
    (command,) = commands
    assert command.version is not None
    assert command.version[0].isdigit()
    assert command.arguments == [
        "-i", "SOURCE", "-c:v", "libx264", "-preset", "ultrafast", "file:ultrafast.mp4",
    ]  # fmt: skip
