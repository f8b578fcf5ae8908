"""A film that tells its own time: a clock, the number of each frame as bars, and beeps."""

from __future__ import annotations

from pathlib import Path

from support.media_files import run_ffmpeg

RATE, SECONDS = 25, 60
"""How many frames a second it has, and how long it lasts."""
CELLS, BITS, STRIP = 16, 12, 9
"""The last 1/STRIP of each picture's rows are cells; as many BITS of them number the frame."""
_BEEP, _BEEP_SECONDS = 1000, 0.1


def make_clock(path: Path, *, size: str = "1280x720", seconds: int = SECONDS) -> Path:
    """
    Write a film with a running clock whose frames are numbered by white and black cells.

    It beeps at each full second.
    """
    width, height = map(int, size.split("x"))
    strip = height // STRIP
    numbers = path.with_suffix(".gray")
    numbers.write_bytes(b"".join(_cells(number) for number in range(seconds * RATE)))
    beep = f"lt(mod(t,1),{_BEEP_SECONDS})*0.4*sin(2*PI*{_BEEP}*t)"
    graph = (
        f"[0:v]noise=alls=5:allf=t[clock];[1:v]scale={width}:{strip}:flags=neighbor[cells];"
        "[clock][cells]vstack,format=yuv420p[v]"
    )
    run_ffmpeg(
        "-f", "lavfi", "-i",
        f"testsrc=size={width}x{height - strip}:rate={RATE}:duration={seconds}:decimals=2",
        "-f", "rawvideo", "-pixel_format", "gray", "-video_size", f"{CELLS}x1",
        "-framerate", str(RATE), "-i", str(numbers),
        "-f", "lavfi", "-i", f"aevalsrc='{beep}':sample_rate=48000:duration={seconds}",
        "-filter_complex", graph, "-map", "[v]", "-map", "2:a",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-b:v", "3M",
        "-c:a", "aac", str(path),
    )  # fmt: skip
    numbers.unlink()
    return path


def _cells(number: int) -> bytes:
    """Return a row: white, black, the bits of *number*, one that makes them even, and black."""
    bits = [number >> place & 1 for place in reversed(range(BITS))]
    return bytes(255 * bit for bit in [1, 0, *bits, sum(bits) % 2, 0])
