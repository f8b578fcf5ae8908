"""The rules of ingest: what a file is, how large its video becomes, how long things may take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest.domain import (
    HEADER_BYTES,
    Size,
    fit_video,
    retry_delay_seconds,
    sniff,
    transcode_cpu_seconds,
    transcode_limit_seconds,
)
from media_contracts import MediaKind
from media_contracts.formats import ACCEPTED_TYPES, family_of, kind_of, readers, type_of_family

LONG, SHORT = 1920, 1080


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    box = b"ftyp" + major + b"\0\0\0\0" + b"".join(compatible)
    return (len(box) + 4).to_bytes(4, "big") + box + b"\0\0\0\x08free"


HEADERS = [
    ("video/mp4", ftyp(b"isom", b"isom", b"iso2", b"avc1", b"mp41")),
    ("video/mp4", ftyp(b"mp42", b"mp42", b"isom")),
    ("video/mp4", ftyp(b"M4V ", b"M4V ")),
    ("video/mp4", ftyp(b"dash")),
    ("video/quicktime", ftyp(b"qt  ", b"qt  ")),
    ("video/quicktime", b"\0\0\x10\0moov\0\0\0\x6cmvhd"),
    ("video/quicktime", b"\0\0\0\x08wide\0\0\x10\0mdat"),
    ("video/quicktime", b"\0\0\0\x01mdat\0\0\0\0\0\0\x10\0"),
    ("video/3gpp", ftyp(b"3gp5", b"3gp5", b"isom")),
    ("video/webm", b"\x1aE\xdf\xa3\x9fB\x86\x81\x01"),
    ("video/x-matroska", b"\x1aE\xdf\xa3\x01\0\0\0"),
    ("video/x-msvideo", b"RIFF\x10\0\0\0AVI LIST"),
    ("video/mpeg", b"\0\0\x01\xba\x44"),
    ("video/mpeg", b"\0\0\x01\xb3\x16"),
    ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF"),
    ("image/jpeg", b"\xff\xd8\xff\xdb\0\x43"),
    ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
    ("image/webp", b"RIFF\x10\0\0\0WEBPVP8 "),
    ("image/gif", b"GIF87a\x01\0"),
    ("image/gif", b"GIF89a\x01\0"),
    ("image/heic", ftyp(b"heic", b"mif1", b"heic")),
    ("image/heic", ftyp(b"mif1", b"mif1", b"heic")),
    ("image/heif", ftyp(b"mif1", b"mif1")),
    ("image/heif", ftyp(b"msf1", b"msf1", b"hevc")),
    ("image/avif", ftyp(b"avif", b"avif", b"mif1", b"miaf")),
    ("image/avif", ftyp(b"avis", b"avis", b"msf1")),
    ("image/avif", ftyp(b"mif1", b"mif1", b"avif")),
    ("image/tiff", b"II*\0\x08\0\0\0"),
    ("image/tiff", b"MM\0*\0\0\0\x08"),
    ("audio/mpeg", b"ID3\x04\0\0\0\0\0\x23"),
    ("audio/mpeg", b"\xff\xfb\x90\x64"),
    ("audio/mpeg", b"\xff\xf3\x40\xc0"),
    ("audio/mpeg", b"\xff\xfd\xe0\x04"),
    ("audio/mp4", ftyp(b"M4A ", b"M4A ", b"isom")),
    ("audio/aac", b"\xff\xf1\x50\x80"),
    ("audio/aac", b"\xff\xf9\x50\x80"),
    ("audio/flac", b"fLaC\0\0\0\x22"),
    ("audio/ogg", b"OggS\0\x02"),
    ("audio/wav", b"RIFF\x10\0\0\0WAVEfmt "),
    ("audio/wav", b"RF64\xff\xff\xff\xffWAVEds64"),
    ("audio/webm", b"\x1aE\xdf\xa3\x9fB\x86\x81\x01"),
    ("audio/aiff", b"FORM\0\0\x10\0AIFFCOMM"),
    ("audio/aiff", b"FORM\0\0\x10\0AIFCFVER"),
]


@pytest.mark.parametrize(("content_type", "header"), HEADERS)
def test_a_file_is_known_by_its_first_bytes(content_type, header):
    assert sniff(header[:HEADER_BYTES]) == family_of(content_type)


def test_every_type_that_may_be_uploaded_has_a_family_and_a_header_here():
    assert {content_type for content_type, _ in HEADERS} == ACCEPTED_TYPES
    assert all(family_of(content_type) for content_type in ACCEPTED_TYPES)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xd8", id="cut off"),
        pytest.param(b"<svg xmlns=", id="svg"),
        pytest.param(b"<!doctype html>", id="html"),
        pytest.param(b"#EXTM3U\n#EXT-X-VERSION:3\n", id="hls playlist"),
        pytest.param(b"ffconcat version 1.0\nfile x", id="concat script"),
        pytest.param(b"v=0\r\no=- 0 0 IN IP4", id="sdp"),
        pytest.param(b"%PDF-1.7", id="pdf"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF", id="eps"),
        pytest.param(b"8BPS\0\x01", id="psd"),
        pytest.param(b"PK\x03\x04", id="zip"),
        pytest.param(b"\x7fELF", id="elf"),
        pytest.param(b"BM\x36\0", id="bmp"),
        pytest.param(b"\xff\xfe<\0!\0", id="text in UTF-16"),
        pytest.param(b"FLV\x01", id="flv"),
        pytest.param(b"RIFF\x10\0\0\0RMIDdata", id="midi"),
        pytest.param(b"FORM\x10\0\0\x108SVXVHDR", id="8svx"),
        pytest.param(b"#!AMR\n", id="amr"),
        pytest.param(b"\0\0\0\x14evil" + b"isom", id="another box first"),
        pytest.param(b"\x00\x00\x00\x18", id="a box without a name"),
    ],
)
def test_what_is_not_accepted_has_no_family(header):
    assert sniff(header) is None


def test_a_transport_stream_needs_its_second_packet():
    assert sniff(b"G@\0\x10", at_188=b"G") == "mpeg"
    assert sniff(b"G@\0\x10", at_188=b"x") is None
    assert sniff(b"G@\0\x10") is None


def test_what_stands_far_behind_its_first_bytes_makes_a_gif_no_stream():
    assert sniff(b"GIF89a\x01\0", at_188=b"G") == "gif"


def test_the_first_bytes_of_a_file_count_before_a_box_that_follows_them():
    assert sniff(b"\xff\xd8\xff\xe0moov") == sniff(b"\xff\xd8\xff\xe0ftypisom") == "jpeg"


def test_a_brand_counts_only_within_its_box():
    """What stands behind a ftyp box is the file's business, not its type."""
    assert sniff(ftyp(b"mif1", b"mif1", b"heic") + b"\0\0\0\0\0\0avif") == "heif"


@given(st.binary(max_size=HEADER_BYTES), st.binary(max_size=1))
def test_no_bytes_break_the_sniffer(header, at_188):
    assert sniff(header, at_188=at_188) in {
        None, "isobmff", "matroska", "avi", "mpeg", "jpeg", "png", "webp", "gif", "heif", "avif",
        "tiff", "wav", "aiff", "flac", "ogg", "aac", "mp3",
    }  # fmt: skip


def test_a_type_is_of_a_video_an_image_or_sound():
    kinds = {content_type: kind_of(content_type) for content_type in ACCEPTED_TYPES}
    assert set(kinds.values()) == set(MediaKind)
    assert all(name.startswith(f"{kind}/") for name, kind in kinds.items())


def test_a_container_of_films_and_sound_has_types_of_both():
    for family in ("isobmff", "matroska"):
        film, sound = (type_of_family(family, kind) for kind in (MediaKind.VIDEO, MediaKind.AUDIO))
        assert film in {"video/mp4", "video/webm"}
        assert sound in {"audio/mp4", "audio/webm"}
    assert type_of_family("flac", MediaKind.VIDEO) is None
    assert type_of_family("jpeg", MediaKind.AUDIO) is None


def test_what_reads_images_reads_nothing_else():
    images, others = readers(MediaKind.IMAGE), readers(MediaKind.VIDEO, MediaKind.AUDIO)
    assert not set(images) & set(others)
    assert {"JPEG", "PNG"} <= set(images)
    assert {"mp3", "flac", "avi"} <= set(others)
    assert len(others) == len(set(others))


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ((1920, 1080), (1920, 1080)),
        ((1080, 1920), (1080, 1920)),
        ((3840, 2160), (1920, 1080)),
        ((2160, 3840), (1080, 1920)),
        ((640, 360), (640, 360)),
        ((641, 361), (640, 360)),
        ((4096, 2160), (1920, 1012)),
        ((1440, 1440), (1080, 1080)),
        ((7680, 100), (1920, 24)),
        ((1, 1), (2, 2)),
        ((1, 5000), (2, 1920)),
    ],
)
def test_a_video_becomes_this_large(source, wanted):
    assert fit_video(Size(*source), max_long_side=LONG, max_short_side=SHORT) == Size(*wanted)


@given(st.integers(2, 20_000), st.integers(2, 20_000))
def test_a_video_keeps_its_shape_within_the_limits(width, height):
    found = fit_video(Size(width, height), max_long_side=LONG, max_short_side=SHORT)
    assert found.width % 2 == found.height % 2 == 0
    assert min(found.width, found.height) >= 2
    assert max(found.width, found.height) <= LONG
    assert min(found.width, found.height) <= SHORT
    assert found.width <= width
    assert found.height <= height
    # Each side is the ideal one, rounded down to an even number.
    scale = min(1, LONG / max(width, height), SHORT / min(width, height))
    for side, ideal in ((found.width, width * scale), (found.height, height * scale)):
        assert side == 2 or ideal - 2 < side <= ideal + 1e-6


@given(st.integers(2, 20_000), st.integers(2, 20_000))
def test_a_video_is_not_smaller_than_it_need_be(width, height):
    """Some limit is reached, but for rounding, or the video has its own size."""
    found = fit_video(Size(width, height), max_long_side=LONG, max_short_side=SHORT)
    long_side, short_side = max(found.width, found.height), min(found.width, found.height)
    own = (found.width, found.height) == (width // 2 * 2, height // 2 * 2)
    assert own or long_side >= LONG - 1 or short_side >= SHORT - 1


@pytest.mark.parametrize(
    ("duration", "limit"),
    [(None, 300), (0, 300), (0.04, 300), (59.9, 300), (60, 300), (61, 305), (3600, 18_000)],
)
def test_a_transcode_may_take_five_minutes_for_each_minute_and_at_least_five(duration, limit):
    assert transcode_limit_seconds(duration) == pytest.approx(limit)


@given(st.integers(1, 6), st.floats(0, 1))
def test_waits_grow_fourfold_and_are_spread_by_a_fifth(tries, jitter):
    ideal = 10 * 4 ** (tries - 1)
    found = retry_delay_seconds(tries, base_seconds=10, jitter=jitter)
    assert ideal * 0.8 - 1e-6 <= found <= ideal * 1.2 + 1e-6


def test_waits_differ_by_their_jitter():
    assert retry_delay_seconds(1, base_seconds=10, jitter=0) == pytest.approx(8)
    assert retry_delay_seconds(1, base_seconds=10, jitter=1) == pytest.approx(12)
    assert retry_delay_seconds(0, base_seconds=10, jitter=0.5) == pytest.approx(10)


def test_time_on_the_cpu_grows_with_the_pixels_of_all_frames():
    full = Size(1920, 1080)
    assert transcode_cpu_seconds(0.1, 25.0, Size(64, 64)) == 61
    assert transcode_cpu_seconds(60.0, 30.0, full) == 60 + 30 + 560
    assert transcode_cpu_seconds(60.0, None, full) == transcode_cpu_seconds(60.0, 60.0, full)
