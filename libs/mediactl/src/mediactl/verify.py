"""Checks what the pipeline made: with ffprobe for videos and sound, with Pillow for pictures."""

from __future__ import annotations

import io
import json
import subprocess
from typing import Any

from mediactl.client import MediaClient
from mediactl.timeline import Track
from PIL import Image

_THUMBNAIL = (320, 240)


async def problems_of(client: MediaClient, track: Track) -> list[str]:
    """Return what is wrong with the files of a ready asset; empty when all is as promised."""
    asset = track.asset
    if asset["status"] != "ready":
        return [f"status is {asset['status']}"]
    processed = await client.fetch(asset["processedUrl"])
    kind = asset["type"].partition("/")[0]
    found: list[str] = []
    # Of sound alone there is a picture if one goes with it.
    if kind != "audio" or asset["thumbnailUrl"]:
        thumbnail = await client.fetch(asset["thumbnailUrl"])
        found = _thumbnail_problems(thumbnail.content)
    if processed.headers.get("cache-control") != "public, max-age=3600":
        found.append("the processed file lacks Cache-Control")
    size = (asset["width"], asset["height"])
    if kind == "image":
        return found + _picture_problems(processed.content, size)
    return found + _played_problems(processed.content, None if kind == "audio" else size)


def _thumbnail_problems(data: bytes) -> list[str]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        found = [] if image.size == _THUMBNAIL else [f"thumbnail is {image.size}"]
        if image.format != "JPEG":
            found.append(f"thumbnail is {image.format}")
        return found + (["thumbnail has EXIF"] if image.getexif() else [])


def _picture_problems(data: bytes, size: tuple[int, int]) -> list[str]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        found = [] if image.size == size else [f"picture is {image.size}, not {size}"]
        return found + (["picture has EXIF"] if image.getexif() else [])


def _played_problems(data: bytes, size: tuple[int, int] | None) -> list[str]:
    """Return what is wrong with a video of this *size*; None stands for sound alone."""
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", "-"]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode != 0:
        return [f"ffprobe refuses it: {done.stderr[-200:].decode()}"]
    streams = {stream["codec_type"]: stream for stream in json.loads(done.stdout)["streams"]}
    found = _picture_faults(streams["video"], size) if size else []
    found += [f"there is {kind}" for kind in streams if not size and kind != "audio"]
    if "audio" in streams and streams["audio"]["codec_name"] != "aac":
        found.append(f"sound is {streams['audio']['codec_name']}")
    if not 0 <= data.find(b"moov") < data.find(b"mdat"):
        found.append("index stands behind the media (no faststart)")
    return found


def _picture_faults(video: dict[str, Any], size: tuple[int, int]) -> list[str]:
    wanted = {"codec_name": "h264", "pix_fmt": "yuv420p", "width": size[0], "height": size[1]}
    found = [
        f"video's {name} is {video[name]}" for name, value in wanted.items() if video[name] != value
    ]
    return found + [f"{side} is odd" for side in ("width", "height") if video[side] % 2]
