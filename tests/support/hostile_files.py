"""
Files that were made to do harm, each with the code that it must fail with, or ``ready``.

Invariant: every file that could open something else names the canary, a film as a file and at
an address that nothing may ever touch; its colour and its text must be in no output.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from support.costly import (
    avi_of_one_frame,
    film_of_edits,
    film_of_one_fragment,
    film_of_one_frame,
    film_of_tiny_frames,
    jpeg_of_scans,
    tiff_of_overlapping_directories,
    tiff_of_pages,
    tiff_of_shared_strips,
)
from support.media_files import make_photo, make_sound, make_video, run_ffmpeg
from support.tripwires import (
    CANARY,
    alias_reference,
    box,
    playlists,
    referring_movie,
    session,
    url_reference,
)

READY = "ready"
# Of a film without a frame to show, whoever is first says so: ingest or the thumbnailer.
_NO_FRAMES = ("transcode_failed", "no_frame")


@dataclass(frozen=True)
class Evil:
    """A file, what it is declared as, and what must become of it: one of ``codes``."""

    about: str
    content_type: str
    data: bytes
    codes: tuple[str, ...]
    name: str = ""

    @property
    def file_name(self) -> str:
        """The name to upload it under."""
        return self.name or f"upload.{self.content_type.rpartition('/')[2]}"


def evil_files(folder: Path, *, canary_file: Path, canary_url: str) -> list[Evil]:
    """Return them all; *folder* is for files that are made on the way."""
    return [
        *_playlists(canary_file, canary_url),
        *_embedded(folder, canary_file, canary_url),
        *_other_formats(canary_file),
        *_broken_videos(folder),
        *_untrue(folder),
        *_halves(folder),
        *costly_films(folder),
        *costly_images(),
        *_bombs(folder),
        *_broken_images(),
        *_polyglots(folder),
        *_names(folder),
    ]


def _playlists(canary_file: Path, url: str) -> Iterator[Evil]:
    scripts = {
        **{f"{kind} of a file": data for kind, data in playlists(str(canary_file)).items()},
        **{f"{kind} of an address": data for kind, data in playlists(f"{url}/list.mov").items()},
        "SDP": session(int(url.rpartition(":")[2])),
    }
    for name, data in scripts.items():
        # That of DASH begins as a QuickTime file may: ffmpeg itself has to refuse it.
        plain = "unreadable_media" if name.startswith("DASH") else "type_mismatch"
        yield Evil(name, "video/mp4", data, (plain,))
        yield Evil(f"{name} as an image", "image/jpeg", data, ("type_mismatch",))
        ftyp = box(b"ftyp", b"isom\0\0\2\0isom")
        yield Evil(f"{name} behind ftyp", "video/mp4", ftyp + data, ("unreadable_media",))
        matroska = b"\x1aE\xdf\xa3\x80" + data
        yield Evil(f"{name} behind an EBML head", "video/webm", matroska, ("unreadable_media",))
        avi = b"RIFF" + struct.pack("<I", len(data)) + b"AVI " + data
        yield Evil(f"{name} behind RIFF", "video/x-msvideo", avi, ("unreadable_media",))
        stream = (b"G" + data).ljust(188, b"\n") + b"G" + bytes(400)
        if len(data) < 188:
            yield Evil(f"{name} as a transport stream", "video/mpeg", stream, ("unreadable_media",))
        pack = b"\x00\x00\x01\xba\n" + data
        yield Evil(f"{name} behind a pack", "video/mpeg", pack, ("unreadable_media",))


def _embedded(folder: Path, canary_file: Path, url: str) -> Iterator[Evil]:
    """Yield files that name the canary within a real container."""
    rdrf = box(b"rdrf", bytes(4) + b"url " + f"{url}/reference.mov\0".encode())
    movie = box(b"moov", box(b"rmra", box(b"rmda", rdrf)))
    yield Evil("a reference movie", "video/quicktime", movie, ("unreadable_media",))
    references = {
        "an alias": alias_reference(canary_file),
        "an address": url_reference(f"{url}/data.mov"),
        "an address of a file": url_reference(f"file://{canary_file}"),
    }
    for name, reference in references.items():
        film = referring_movie(canary_file, reference)
        yield Evil(f"media behind {name}", "video/quicktime", film, _NO_FRAMES)
    for kind, data in playlists(str(canary_file)).items():
        # ffmpeg looks for a demuxer for subtitles of this kind by their first bytes.
        yield Evil(f"{kind} as an AVI's subtitles", "video/x-msvideo", _avi(data), (READY,))
        attached = folder / "attached.txt"
        attached.write_bytes(data)
        make_video(
            folder / "attached.mkv",
            seconds=0.2,
            options=("-attach", str(attached), "-metadata:s:t", "mimetype=application/x-mpegurl"),
        )
        whole = (folder / "attached.mkv").read_bytes()
        yield Evil(f"{kind} attached to a film", "video/x-matroska", whole, (READY,))


def _avi(subtitles: bytes) -> bytes:
    """Return a film of one JPEG whose second stream has *subtitles* in it ("GAB2")."""
    frame = io.BytesIO()
    Image.new("RGB", (64, 48), "navy").save(frame, "JPEG")
    gab2 = b"GAB2\0\2\0" + struct.pack("<IHI", 0, 4, len(subtitles)) + subtitles
    heads = [
        _stream(
            b"vids",
            b"MJPG",
            struct.pack("<IiiHH4sIiiII", 40, 64, 48, 1, 24, b"MJPG", 9216, 0, 0, 0, 0),
        ),
        _stream(b"txts", bytes(4), b""),
    ]
    main = struct.pack("<14I", 40_000, 0, 0, 0x10, 5, 0, 2, 0, 64, 48, 0, 0, 0, 0)
    pictures = b"".join(_chunk(b"00dc", frame.getvalue()) for _ in range(5))
    body = _chunk(b"LIST", b"hdrl" + _chunk(b"avih", main) + b"".join(heads))
    body += _chunk(b"LIST", b"movi" + _chunk(b"01tx", gab2) + pictures)
    return _chunk(b"RIFF", b"AVI " + body)


def _stream(kind: bytes, handler: bytes, details: bytes) -> bytes:
    head = kind + handler + struct.pack("<10I4H", 0, 0, 0, 1, 25, 0, 5, 0, 0, 0, 0, 0, 64, 48)
    return _chunk(b"LIST", b"strl" + _chunk(b"strh", head) + _chunk(b"strf", details))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _other_formats(canary_file: Path) -> Iterator[Evil]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("../../evil.sh", CANARY)
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{canary_file}"/></svg>'
    formats = {
        "a zip": archive.getvalue(),
        "a gzip bomb": gzip.compress(bytes(10**7)),
        "HTML": b"<!doctype html><script>alert(document.domain)</script>",
        "SVG": svg.encode(),
        "a PDF": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n",
        "an ELF program": Path("/bin/true").read_bytes()[:4096],
        "a Windows program": b"MZ" + bytes(200),
        "a shell script": b"#!/bin/sh\ncurl http://127.0.0.1/\n",
        "PostScript": f"%!PS-Adobe-3.0 EPSF-3.0\n({canary_file}) (r) file\n".encode(),
        "MVG": f"push graphic-context\nimage over 0,0 0,0 '{canary_file}'\n".encode(),
        "a BMP": b"BM" + bytes(60),
        "a PSD": b"8BPS" + bytes(60),
        "zeros": bytes(1000),
        "one byte": b"\0",
    }
    for name, data in formats.items():
        yield Evil(f"{name} as a video", "video/mp4", data, ("type_mismatch",))
        yield Evil(f"{name} as an image", "image/png", data, ("type_mismatch",))


def _broken_videos(folder: Path) -> Iterator[Evil]:
    whole = make_video(
        folder / "whole.mp4", seconds=1, options=("-movflags", "+faststart")
    ).read_bytes()
    other = make_video(folder / "other.mp4", seconds=0.5, size="320x240").read_bytes()
    yield Evil("cut in its media", "video/mp4", whole[: len(whole) * 2 // 3], ("truncated_file",))
    yield Evil("cut in its index", "video/mp4", whole[:500], ("truncated_file",))
    yield Evil("a head alone", "video/mp4", whole[:32], ("unreadable_media",))
    spliced = whole[: len(whole) // 2] + other[len(other) // 2 :]
    yield Evil("spliced", "video/mp4", spliced, ("truncated_file",))
    yield Evil("two movies in one", "video/mp4", whole + other, (READY,))
    huge = whole.replace(b"moov", b"moov", 1)
    at = huge.index(b"moov") - 4
    huge = huge[:at] + b"\xff\xff\xff\xff" + huge[at + 4 :]
    yield Evil("a box of 4 GB", "video/mp4", huge, ("truncated_file",))
    long = whole[:at] + b"\0\0\0\1" + b"moov" + b"\x7f" + b"\xff" * 7 + whole[at + 8 :]
    yield Evil("a box of 8 EB", "video/mp4", long, ("truncated_file",))
    nested = b""
    for _ in range(5000):
        nested = box(b"moov", nested)
    yield Evil(
        "5000 boxes in one another",
        "video/mp4",
        box(b"ftyp", b"isom\0\0\2\0") + nested,
        ("unreadable_media",),
    )
    external = _patched(whole, b"url \0\0\0\1", b"url \0\0\0\0")
    yield Evil("media that are said to be elsewhere", "video/mp4", external, (READY,))
    for kind, offset, value, about, codes in (
        (b"stsz", 12, 0x7FFFFFFF, "two billion samples", ("unreadable_media",)),
        (b"stts", 8, 0x7FFFFFFF, "two billion durations", ("unreadable_media",)),
        (b"stco", 8, 0x7FFFFFFF, "two billion chunks", ("unreadable_media",)),
        (b"mvhd", 16, 0, "no time scale", (READY,)),
        # Its frames are 20 s apart then: all that is written is long.
        (b"mdhd", 16, 0, "no time scale of its track", (READY, "duration_too_long")),
    ):
        yield Evil(about, "video/mp4", _patch_field(whole, kind, offset, value), codes)
    endless = _patch_field(_patch_field(whole, b"mvhd", 16, 1), b"mvhd", 20, 0x7FFFFFFF)
    yield Evil("a duration of 68 years", "video/mp4", endless, ("duration_too_long",))
    yield Evil(
        "sound alone", "video/mp4", make_sound(folder / "s.mp4").read_bytes(), ("no_video_stream",)
    )
    plain, sealed = folder / "whole.mp4", folder / "sealed.mp4"
    run_ffmpeg(
        *("-i", str(plain), "-c", "copy", "-encryption_scheme", "cenc-aes-ctr"),
        *("-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb"),
        *("-encryption_kid", "a7e61c373e219033c21091fa607bf3b8", str(sealed)),
    )
    yield Evil("encrypted", "video/mp4", sealed.read_bytes(), ("encrypted_media",))


def _untrue(folder: Path) -> Iterator[Evil]:
    """Yield Matroska files that say of themselves what is not so."""
    path = make_video(
        folder / "long.mkv",
        size="64x64",
        seconds=120,
        sound=False,
        options=("-r", "2", "-metadata:s:v", "XOTATE=", "-metadata:s:v", f"YOTATE={'9' * 400}"),
    )
    film = path.read_bytes()
    turned = make_video(
        folder / "turned.mkv",
        size="64x64",
        seconds=1,
        sound=False,
        options=("-metadata:s:v", "XOTATE=inf", "-metadata:s:v", f"YOTATE={'9' * 400}"),
    ).read_bytes()
    yield Evil(
        "120 s that claim to be 10", "video/x-matroska", _lasting(film, 10_000.0),
        (READY, "duration_too_long"),
    )  # fmt: skip
    for seconds in (-1.0, float("nan"), float("inf"), float("-inf"), 0.0, 5e-324):
        data = _lasting(film, seconds)
        yield Evil(f"a duration of {seconds}", "video/x-matroska", data, (READY,))
    for name, about in ((b"XOTATE", "infinitely"), (b"YOTATE", "by 400 digits")):
        data = _patched(turned, name, b"rotate")
        yield Evil(f"turned {about}", "video/x-matroska", data, (READY,))
    # What ffmpeg says of these reads like a fault of the machine. Its words differ in length from
    # run to run: of seven names, one or the other comes where a sandbox's own words would.
    broken = _damaged(
        make_video(folder / "broken.mkv", size="64x64", seconds=0.28, sound=False).read_bytes()
    )
    yield Evil(
        "a full disk by its name", "video/x-matroska",
        _called(broken, b"No space left on device"), _NO_FRAMES,
    )  # fmt: skip
    for length in range(7):
        name = b"-" * length + b"bwrap: " * 130
        yield Evil(
            f"a broken sandbox by its name, {length}", "video/x-matroska",
            _called(broken, name), _NO_FRAMES,
        )  # fmt: skip


def sealed_matroska() -> bytes:
    """Return the head of a film with one encrypted track."""
    names = ("18538067", "1654ae6b", "ae", "6d80", "6240", "5035")
    content = b""
    for name in reversed(names):
        element = bytes.fromhex(name)
        content = element + struct.pack(">H", 0x4000 | len(content)) + content
    return b"\x1aE\xdf\xa3\x84\x42\x86\x81\x01" + content


def sealed_stream(stream: bytes) -> bytes:
    """Return a transport stream whose packets say that they are scrambled."""
    changed = bytearray(stream)
    changed[3::188] = bytes(byte | 0x80 for byte in changed[3::188])
    return bytes(changed)


def _lasting(film: bytes, milliseconds: float) -> bytes:
    """Return a Matroska film that claims to last so long."""
    at = film.index(b"\x44\x89\x88") + 3
    return film[:at] + struct.pack(">d", milliseconds) + film[at + 8 :]


def _called(film: bytes, name: bytes) -> bytes:
    """Return a Matroska film with another name of its kind (DocType)."""
    assert film[4] == 0xA3
    head = film[5 : 5 + 0x23].replace(
        b"\x42\x82\x88matroska", b"\x42\x82" + struct.pack(">H", 0x4000 | len(name)) + name
    )
    return film[:4] + struct.pack(">H", 0x4000 | len(head)) + head + film[5 + 0x23 :]


def _damaged(film: bytes) -> bytes:
    """Return a Matroska film whose frames begin with the length of something longer."""
    # A block has the number of its track, its time, flags, and the length of its first part.
    return re.sub(rb"(\x81[\x00-\x03].[\x00\x80])\x00\x00", b"\\1\x93\x0c", film, flags=re.DOTALL)


def _halves(folder: Path) -> Iterator[Evil]:
    """Yield films of which the second half is missing, and one that tells no duration."""
    for suffix, content_type, code in (
        ("mkv", "video/x-matroska", "truncated_file"),
        ("webm", "video/webm", "truncated_file"),
        ("avi", "video/x-msvideo", "truncated_file"),
        # These are made to be cut anywhere.
        ("ts", "video/mpeg", READY),
        ("mpg", "video/mpeg", READY),
    ):
        codecs = ("-c:v", "libvpx", "-c:a", "libopus") if suffix == "webm" else ()
        path = make_video(folder / f"half.{suffix}", size="320x240", seconds=2, options=codecs)
        data = path.read_bytes()
        if suffix == "ts":
            yield Evil("scrambled", content_type, sealed_stream(data), ("encrypted_media",))
        yield Evil(f"half of a .{suffix}", content_type, data[: len(data) // 2], (code,))
    yield Evil("encrypted Matroska", "video/webm", sealed_matroska(), ("encrypted_media",))
    raw = make_video(folder / "raw.m2v", size="320x240", sound=False)
    yield Evil("a film without a container", "video/mpeg", raw.read_bytes(), (READY,))


def costly_films(folder: Path) -> Iterator[Evil]:
    """Yield small films that would cost minutes, by tables that name the same bytes again."""
    for about, data in (
        ("one frame named 20000 times", film_of_one_frame(folder, times=20_000)),
        ("one frame in 400000 samples", film_of_one_frame(folder, times=400_000)),
        ("frames of half a byte each", film_of_tiny_frames(folder, times=100_000)),
        ("one frame in 2000 fragments", film_of_one_fragment(folder, times=2000)),
    ):
        yield Evil(about, "video/mp4", data, ("samples_overlap",))
    edited = film_of_edits(folder, edits=2000, seconds=2)
    yield Evil("a film shown 2000 times", "video/mp4", edited, ("edits_too_long",))
    avi = avi_of_one_frame(folder, times=5000)
    yield Evil("one frame of an AVI", "video/x-msvideo", avi, ("samples_overlap",))


def _bombs(folder: Path) -> Iterator[Evil]:
    fast = make_video(
        folder / "fast.mp4", seconds=0.1, sound=False, options=("-r", "1000")
    ).read_bytes()
    yield Evil("1000 frames a second", "video/mp4", fast, ("frame_rate_too_high",))
    for codec in ("magicyuv", "ffv1", "qtrle", "cinepak"):
        rare = folder / f"{codec}.mov"
        run_ffmpeg(
            *("-f", "lavfi", "-i", "testsrc=size=64x64:duration=0.2", "-c:v", codec), str(rare)
        )
        yield Evil(f"{codec} video", "video/quicktime", rare.read_bytes(), ("unsupported_codec",))
    large = folder / "large.mp4"
    make_video(large, size="8000x6000", seconds=0.08, sound=False, source="color")
    yield Evil("48 million pixels", "video/mp4", large.read_bytes(), ("too_many_pixels",))
    deep = folder / "deep.avi"
    run_ffmpeg(
        *("-f", "lavfi", "-i", "color=size=6300x6300:rate=25:duration=0.04"),
        *("-pix_fmt", "rgba64be", "-c:v", "png", str(deep)),
    )
    # Of few enough pixels, but 318 MB: more than ffmpeg may take at once (-max_alloc).
    yield Evil("a frame of 318 MB", "video/x-msvideo", deep.read_bytes(), _NO_FRAMES)
    slides = folder / "slides.mp4"
    run_ffmpeg(
        *("-f", "lavfi", "-i", "color=size=64x64:rate=1/600:duration=12000"),
        *("-preset", "ultrafast", "-pix_fmt", "yuv420p", str(slides)),
    )
    yield Evil("a slide show of hours", "video/mp4", slides.read_bytes(), ("bitrate_too_low",))
    many = folder / "many.mp4"
    tones = [word for _ in range(16) for word in ("-f", "lavfi", "-i", "sine=duration=0.2")]
    maps = [word for number in range(17) for word in ("-map", str(number))]
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=duration=0.2", *tones, *maps, str(many))
    yield Evil("17 streams", "video/mp4", many.read_bytes(), ("too_many_streams",))
    yield Evil(
        "a PNG of 900 million pixels", "image/png", _png(30_000, 30_000), ("too_many_pixels",)
    )
    yield Evil(
        "a PNG of the largest size",
        "image/png",
        _png(2**31 - 1, 2**31 - 1, rows=1),
        ("too_many_pixels",),
    )
    # Honest in all but their shape or their notes, which nobody reads.
    yield Evil("a PNG one pixel high", "image/png", _png(20_000, 1), (READY,))
    text = b"zTXt" + b"note\0\0" + zlib.compress(bytes(200_000_000), 9)
    yield Evil(
        "a PNG with a text of 200 MB",
        "image/png",
        _png(64, 64, extra=text),
        (READY,),
    )
    profile = b"iCCP" + b"p\0\0" + zlib.compress(bytes(200_000_000), 9)
    yield Evil(
        "a PNG with a profile of 200 MB",
        "image/png",
        _png(64, 64, extra=profile),
        (READY,),
    )
    frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\x00\x02\x02\x44\x01\x00"
    yield Evil(
        "a GIF of 100000 frames", "image/gif", _gif(1, 1, frame * 100_000), ("too_many_frames",)
    )
    yield Evil(
        "a GIF of the largest size", "image/gif", _gif(65535, 65535, frame), ("too_many_pixels",)
    )
    wide = b"\x2c" + struct.pack("<HHHH", 0, 0, 60_000, 60_000) + b"\x00\x02\x02\x44\x01\x00"
    yield Evil(
        "a GIF with a frame beyond it",
        "image/gif",
        _gif(1, 1, wide),
        ("too_many_pixels",),
    )
    head = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xfe\x3f\0\xfe\x3f\0"
    webp = b"RIFF" + struct.pack("<I", len(head) + 4) + b"WEBP" + head
    yield Evil("a WebP of 268 million pixels", "image/webp", webp, ("too_many_pixels",))
    jpeg = (
        b"\xff\xd8\xff\xc0\x00\x11\x08"
        + struct.pack(">HH", 65500, 65500)
        + b"\x03\x01\x11\0\x02\x11\0\x03\x11\0"
    )
    yield Evil("a JPEG of 4 billion pixels", "image/jpeg", jpeg, ("too_many_pixels",))


def costly_images() -> Iterator[Evil]:
    """Yield small images that would cost a decoder seconds, or a counter of pages half a minute."""
    for scans in (101, 2500):
        data = jpeg_of_scans(scans)
        yield Evil(f"a JPEG of {scans} scans", "image/jpeg", data, ("too_many_scans",))
    for about, data in (
        ("directories that overlap", tiff_of_overlapping_directories()),
        ("directories that lead back", tiff_of_pages(5, back_to=2)),
        ("strips that share their bytes", tiff_of_shared_strips()),
    ):
        yield Evil(f"a TIFF of {about}", "image/tiff", data, ("unreadable_image",))


def _broken_images() -> Iterator[Evil]:
    bad = ("unreadable_image",)
    loop = (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", 1)
        + struct.pack("<HHII", 256, 4, 1, 9)
        + struct.pack("<I", 8)
    )
    yield Evil("a TIFF that refers to itself", "image/tiff", loop, bad)
    tags = [
        (256, 64),
        (257, 64),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 2**31),
        (277, 1),
        (278, 64),
        (279, 4096),
    ]
    strips = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + strips + bytes(4)
    yield Evil("a TIFF whose pixels are elsewhere", "image/tiff", tiff, bad)
    for brand, kind in ((b"heic", "heic"), (b"avif", "avif")):
        head = box(b"ftyp", brand + bytes(4) + b"mif1" + brand)
        yield Evil(f"a {kind} that ends", f"image/{kind}", head + box(b"meta", bytes(40)), bad)
    noise = Image.effect_noise((600, 600), 90)
    whole = io.BytesIO()
    noise.save(whole, "JPEG")
    yield Evil("a JPEG that ends", "image/jpeg", whole.getvalue()[:2000], bad)
    yield Evil("a JPEG of markers", "image/jpeg", b"\xff\xd8" + b"\xff\xe1\xff\xff" * 5000, bad)


def _polyglots(folder: Path) -> Iterator[Evil]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("evil.txt", CANARY)
    photo = make_photo(folder / "photo.jpg", size=(400, 300)).read_bytes()
    yield Evil("a photo and a zip", "image/jpeg", photo + archive.getvalue(), (READY,))
    script = f"<script>/*{CANARY}*/alert(1)</script>".encode()
    comment = b"\xff\xfe" + struct.pack(">H", len(script) + 2) + script
    yield Evil("a photo and a script", "image/jpeg", photo[:2] + comment + photo[2:], (READY,))
    frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\x00\x02\x02\x44\x01\x00"
    extension = b"\x21\xfe" + bytes([len(script)]) + script + b"\0"
    yield Evil("a GIF and a script", "image/gif", _gif(1, 1, extension + frame), (READY,))
    video = make_video(folder / "poly.mp4", seconds=0.5).read_bytes()
    hidden = box(b"free", script)
    yield Evil("a video and a script", "video/mp4", video + hidden, (READY,))
    # Honest files of another type than declared, with a warning on the asset.
    yield Evil("a PNG that says JPEG", "image/jpeg", _png(64, 64), (READY,))
    yield Evil("a video that says photo", "image/heic", video, ("type_mismatch",))
    yield Evil("a photo that says video", "video/mp4", photo, ("type_mismatch",))
    matroska = make_video(folder / "m.mkv", seconds=0.5).read_bytes()
    yield Evil("Matroska that says MP4", "video/mp4", matroska, (READY,))


def _names(folder: Path) -> Iterator[Evil]:
    photo = make_photo(folder / "named.jpg", size=(64, 48)).read_bytes()
    for name in (
        "🎉👩‍👩‍👧.jpg", "\u202egpj.exe", "a\"b'c`d.jpg", "$(touch evil).jpg", "-i.jpg",
        "%n%s%00.jpg", "CON.jpg", "é" * 255, "é" * 125 + "x.jpg", "n" * 251 + ".jpg",
    ):  # fmt: skip
        yield Evil(f"the name {name[:20]!r}", "image/jpeg", photo, (READY,), name)


def _patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


def _patch_field(data: bytes, kind: bytes, offset: int, value: int) -> bytes:
    """Return *data* with 32 bits set, *offset* bytes after the name of a box's first example."""
    at = data.index(kind) + offset
    return data[:at] + struct.pack(">I", value) + data[at + 4 :]


def _png(width: int, height: int, *, rows: int | None = None, extra: bytes = b"") -> bytes:
    """Return a black one-bit PNG, whose pixels compress to almost nothing."""
    lines = height if rows is None else rows
    row = bytes(1 + (min(width, 10**6) + 7) // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(lines)) + packer.flush()
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)]
    chunks += [extra] if extra else []
    chunks += [b"IDAT" + pixels, b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


def _gif(width: int, height: int, blocks: bytes) -> bytes:
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    return head + blocks + b"\x3b"
