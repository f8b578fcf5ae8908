"""Media made on the spot by ffmpeg and Pillow, and what came out of it."""

from __future__ import annotations

import io
import json
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image, ImageCms

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"
"""Real media beside the checkout, where there are any: tests that make their own play them, too."""

CASES = SAMPLES.with_name("cases")
"""Inputs of other people's bug reports beside the checkout, with known right answers."""

CAMERA = "Secret Camera"
"""What every camera's file here says of itself, and nothing that is served may say."""

_LATITUDE, _LONGITUDE = 52.52, 13.405
_PLACE = f"{_LATITUDE:+08.4f}{_LONGITUDE:+09.4f}/"
# As text in what QuickTime began, as fixed-point numbers in 3GPP's box: ffmpeg's version decides.
_PLACE_FORMS = (
    _PLACE.rstrip("/").encode(),
    struct.pack(">2i", int(_LONGITUDE * 0x10000), int(_LATITUDE * 0x10000)),
)

RED, BLUE = (200, 30, 30), (30, 30, 200)
_MATRIX_AT = 44
_ONE = 0x10000
_TURNS = {
    0: (_ONE, 0, 0, _ONE), 90: (0, _ONE, -_ONE, 0), 180: (-_ONE, 0, 0, -_ONE),
    270: (0, -_ONE, _ONE, 0),
}  # fmt: skip


def make_video(
    path: Path,
    *,
    size: str = "640x360",
    seconds: float = 2,
    sound: bool = True,
    source: str = "testsrc2",
    options: tuple[str, ...] = (),
) -> Path:
    """Write a moving test picture, with a tone as its sound, in the format of *path*'s name."""
    picture = ("-f", "lavfi", "-i", f"{source}=size={size}:rate=25:duration={seconds}")
    tone = ("-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}") if sound else ()
    fast = ("-preset", "ultrafast", "-deadline", "realtime", "-cpu-used", "8")
    run_ffmpeg(*picture, *tone, *fast, "-pix_fmt", "yuv420p", *options, str(path))
    return path


def make_phone_video(path: Path, *, sound: bool = True) -> Path:
    """
    Write a 320x240 video, left half red and right half blue, that players turn clockwise.

    It says where it was taken, and with what.
    """
    left, right = (f"color={name}:size=160x240:duration=2" for name in ("red", "blue"))
    both = f"{left}[l];{right}[r];[l][r]hstack[v]"
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:duration=2") if sound else ()
    tags = {"location": _PLACE, "make": CAMERA, "comment": CAMERA}
    told = [word for name, text in tags.items() for word in ("-metadata", f"{name}={text}")]
    maps = ("-map", "[v]", *(("-map", "0:a") if sound else ()))
    run_ffmpeg(*tone, "-filter_complex", both, *maps, "-pix_fmt", "yuv420p", *told, str(path))
    turn(path, 90)
    return path


def turn(path: Path, degrees: int) -> None:
    """Have players turn the first track of an MP4 clockwise."""
    data = bytearray(path.read_bytes())
    at, (a, b, c, d) = data.index(b"tkhd") + _MATRIX_AT, _TURNS[degrees]
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(data)


def says_where(video: bytes) -> bool:
    """Return whether a video holds the place that make_phone_video's were taken at."""
    return any(form in video for form in _PLACE_FORMS)


def make_sound(path: Path) -> Path:
    """Write two seconds of a tone, without any picture."""
    run_ffmpeg("-f", "lavfi", "-i", "sine=frequency=440:duration=2", str(path))
    return path


def make_photo(
    path: Path, *, size: tuple[int, int] = (1600, 1200), orientation: int | None = None
) -> Path:
    """Write a photo, left half red and right half blue, with a GPS position in its EXIF."""
    halves(size).save(path, exif=_camera_exif(orientation))
    return path


def make_camera_photo(path: Path, *, orientation: int | None = None) -> Path:
    """Write the same with all that cameras and editors add: notes, XMP, a profile, and grain."""
    exif = _camera_exif(orientation)
    exif.get_ifd(0x8769)[0x927C] = CAMERA.encode() * 100
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{CAMERA}</x:xmpmeta>".encode()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more: dict[str, Any] = {"comment": CAMERA, "dpi": (300, 300)} if path.suffix == ".jpg" else {}
    _grainy((1600, 1200)).save(path, exif=exif, xmp=xmp, icc_profile=profile, quality=80, **more)
    return path


def make_heic(path: Path, *, size: tuple[int, int] = (1600, 1200)) -> Path:
    """Write a photo as iPhones do, left half red and right half blue."""
    image = pillow_heif.from_pillow(_grainy(size))
    image.info["exif"] = _camera_exif(None).tobytes()
    image.save(path, quality=60)
    return path


def _grainy(size: tuple[int, int]) -> Image.Image:
    return Image.blend(halves(size), Image.effect_noise(size, 40).convert("RGB"), 0.2)


def _camera_exif(orientation: int | None) -> Image.Exif:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    gps = exif.get_ifd(0x8825)
    gps.update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    exif[0x010F] = CAMERA
    return exif


def halves(size: tuple[int, int]) -> Image.Image:
    """Return a picture whose left half is red and whose right half is blue."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image


def run_ffmpeg(*arguments: str) -> None:
    """Run ffmpeg; its complaints are the test's failure."""
    command = ["ffmpeg", "-v", "error", "-y", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Video:
    """What ffprobe says of a video's bytes."""

    data: bytes
    streams: dict[str, dict[str, Any]]
    format: dict[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored."""
        return self.streams["video"]["width"], self.streams["video"]["height"]

    @property
    def is_faststart(self) -> bool:
        """Whether the index stands before the media."""
        return 0 <= self.data.find(b"moov") < self.data.find(b"mdat")


def probe_video(data: bytes, folder: Path) -> Video:
    """Return what ffprobe says of *data*."""
    path = folder / "probed.mp4"
    path.write_bytes(data)
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    streams = {stream["codec_type"]: stream for stream in found["streams"]}
    assert len(streams) == len(found["streams"]), "a kind of stream comes twice"
    return Video(data, streams, found["format"])


def first_frame(data: bytes, folder: Path) -> Image.Image:
    """Return the first picture of a video as players show it."""
    source, target = folder / "framed.mp4", folder / "frame.png"
    source.write_bytes(data)
    run_ffmpeg("-i", str(source), "-frames:v", "1", str(target))
    return picture(target.read_bytes())


def picture(data: bytes) -> Image.Image:
    """Return a picture, decoded in full."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def is_reddish(image: Image.Image, x: float, y: float) -> bool:
    """Return whether the point at these fractions of width and height is red, not blue."""
    found = image.convert("RGB").getpixel((int(image.width * x), int(image.height * y)))
    assert isinstance(found, tuple)
    return bool(found[0] > found[2])
