"""Checks what the pipeline made: with ffprobe for videos, with Pillow for pictures."""

from __future__ import annotations

import io
import json
import subprocess

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
    thumbnail = await client.fetch(asset["thumbnailUrl"])
    found = _thumbnail_problems(thumbnail.content)
    if processed.headers.get("cache-control") != "public, max-age=3600":
        found.append("the processed file lacks Cache-Control")
    size = (asset["width"], asset["height"])
    check = _video_problems if asset["type"].startswith("video/") else _picture_problems
    return found + check(processed.content, size)


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


def _video_problems(data: bytes, size: tuple[int, int]) -> list[str]:
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", "-"]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode != 0:
        return [f"ffprobe refuses it: {done.stderr[-200:].decode()}"]
    streams = {stream["codec_type"]: stream for stream in json.loads(done.stdout)["streams"]}
    video = streams["video"]
    wanted = {"codec_name": "h264", "pix_fmt": "yuv420p", "width": size[0], "height": size[1]}
    found = [
        f"video's {name} is {video[name]}" for name, value in wanted.items() if video[name] != value
    ]
    found += [f"{side} is odd" for side in ("width", "height") if video[side] % 2]
    if "audio" in streams and streams["audio"]["codec_name"] != "aac":
        found.append(f"sound is {streams['audio']['codec_name']}")
    if not 0 <= data.find(b"moov") < data.find(b"mdat"):
        found.append("index stands behind the media (no faststart)")
    return found
