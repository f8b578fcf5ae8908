"""Media made on the spot, for a demonstration without files of one's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mediactl.errors import MediactlError

_VIDEO = (
    "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25:duration=6",
    "-f", "lavfi", "-i", "sine=frequency=440:duration=6",
    "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac",
)  # fmt: skip
_PHOTO = ("-f", "lavfi", "-i", "mandelbrot=size=2000x1500", "-frames:v", "1", "-q:v", "3")


def make_samples(folder: Path) -> list[Path]:
    """Return a 6 s video with sound and a 3 megapixel photo, made in *folder* by ffmpeg."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {"demo-video.mp4": _VIDEO, "demo-photo.jpg": _PHOTO}
    for name, arguments in made.items():
        path = folder / name
        if not path.exists():
            command = ["ffmpeg", "-v", "error", "-y", *arguments, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise MediactlError(f"ffmpeg could not make {name}: {done.stderr[-300:]}")
    return [folder / name for name in made]
