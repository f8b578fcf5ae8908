"""Honest files of every accepted kind, small, to change."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from support.media_files import make_heic, run_ffmpeg


@dataclass(frozen=True)
class Seed:
    """An honest file: what it is called, declared as, and holds."""

    name: str
    content_type: str
    data: bytes


_X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "5", "-pix_fmt", "yuv420p")
_FILMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "plain.mp4": ("video/mp4", (*_X264, "-c:a", "aac")),
    "fragments.mp4": (
        "video/mp4",
        (*_X264, "-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov"),
    ),
    "hevc.mp4": ("video/mp4", ("-c:v", "libx265", "-x265-params", "log-level=none")),
    "old.mov": ("video/quicktime", ("-c:v", "mpeg4", "-c:a", "pcm_s16be")),
    "editing.mov": ("video/quicktime", ("-c:v", "prores_ks", "-c:a", "pcm_s24le")),
    "vp8.webm": ("video/webm", ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus")),
    "vp9.webm": (
        "video/webm",
        ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-c:a", "libvorbis"),
    ),
    "film.mkv": ("video/x-matroska", (*_X264, "-c:a", "ac3")),
    "camera.avi": ("video/x-msvideo", ("-c:v", "mjpeg", "-c:a", "pcm_u8")),
    "divx.avi": ("video/x-msvideo", ("-c:v", "mpeg4", "-bf", "2", "-c:a", "mp3")),
    "tape.mpg": ("video/mpeg", ("-c:v", "mpeg2video", "-c:a", "mp2")),
    "tv.ts": ("video/mp2t", (*_X264, "-c:a", "mp2")),
}  # fmt: skip


_SOUNDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "song.mp3": ("audio/mpeg", ("-c:a", "libmp3lame")),
    "song.m4a": ("audio/mp4", ("-c:a", "aac")),
    "radio.aac": ("audio/aac", ("-c:a", "aac")),
    "studio.flac": ("audio/flac", ("-c:a", "flac")),
    "talk.opus": ("audio/ogg", ("-c:a", "libopus")),
    "old.ogg": ("audio/ogg", ("-c:a", "libvorbis")),
    "plain.wav": ("audio/wav", ("-c:a", "pcm_s16le")),
    "phone.wav": ("audio/wav", ("-c:a", "adpcm_ms")),
    "browser.weba": ("audio/webm", ("-c:a", "libopus", "-f", "webm")),
    "plain.aiff": ("audio/aiff", ("-c:a", "pcm_s16be")),
}


def honest_files(folder: Path) -> list[Seed]:
    """Return one of each kind; *folder* is for what is made on the way."""
    return [*_films(folder), *_images(folder), *_sounds(folder)]


def _films(folder: Path) -> Iterator[Seed]:
    for name, (content_type, options) in _FILMS.items():
        path = folder / name
        run_ffmpeg(
            *("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=0.6"),
            *("-f", "lavfi", "-i", "sine=frequency=440:duration=0.6"), *options,
            *("-fflags", "+bitexact", str(path)),
        )  # fmt: skip
        yield Seed(name, content_type, path.read_bytes())


def _sounds(folder: Path) -> Iterator[Seed]:
    for name, (content_type, options) in _SOUNDS.items():
        path = folder / name
        tone = ("-f", "lavfi", "-i", "sine=frequency=440:duration=0.6")
        run_ffmpeg(*tone, *options, "-fflags", "+bitexact", str(path))
        yield Seed(name, content_type, path.read_bytes())


def _images(folder: Path) -> Iterator[Seed]:
    photo = Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 50).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: dict[str, Callable[[io.BytesIO], None]] = {
        "photo.jpeg": lambda to: photo.save(to, "JPEG", exif=exif),
        "scans.jpeg": lambda to: photo.save(to, "JPEG", progressive=True),
        "print.jpeg": lambda to: photo.convert("CMYK").save(to, "JPEG"),
        "screen.png": lambda to: photo.convert("RGBA").save(to, "PNG"),
        "palette.png": lambda to: photo.quantize(16).save(to, "PNG"),
        "still.webp": lambda to: photo.save(to, "WEBP"),
        "clear.webp": lambda to: photo.convert("RGBA").save(to, "WEBP", lossless=True),
        "moving.gif": lambda to: photo.quantize(8).save(
            to, "GIF", save_all=True, append_images=[photo.rotate(90).quantize(8)]
        ),
        "moving.png": lambda to: photo.save(
            to, "PNG", save_all=True, append_images=[photo.rotate(90)], duration=[40, 90]
        ),
        "moving.webp": lambda to: photo.convert("RGBA").save(
            to, "WEBP", save_all=True, append_images=[photo.rotate(90)], duration=[40, 90]
        ),
        "moving.avif": lambda to: photo.save(
            to, "AVIF", save_all=True, append_images=[photo.rotate(90)], duration=[40, 90]
        ),
        "scan.tiff": lambda to: photo.save(to, "TIFF", compression="tiff_lzw"),
        "plain.tiff": lambda to: photo.convert("I;16").save(to, "TIFF"),
        "photo.avif": lambda to: photo.save(to, "AVIF"),
    }
    for name, save in kinds.items():
        buffer = io.BytesIO()
        save(buffer)
        yield Seed(name, f"image/{name.rpartition('.')[2]}", buffer.getvalue())
    heic = make_heic(folder / "photo.heic", size=(96, 64))
    yield Seed("photo.heic", "image/heic", heic.read_bytes())
