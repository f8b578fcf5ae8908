"""What an upload is by its bytes, and which images are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_contracts.formats import ACCEPTED_TYPES, family_of
from media_runtime.media.gate import (
    HEADER_BYTES,
    Found,
    RefusedFileError,
    check_image,
    check_image_file,
    sniff,
)
from media_runtime.media.pictures import ImageInfo

from support.media_files import make_photo

IMAGE = ImageInfo("JPEG", 4000, 3000, 1)


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


@pytest.mark.parametrize(
    ("info", "content_type", "code"),
    [
        (IMAGE, "image/png", "type_mismatch"),
        (replace(IMAGE, format="EPS"), "image/jpeg", "type_mismatch"),
        (replace(IMAGE, format="GIF", frames=101), "image/gif", "too_many_frames"),
    ],
)
def test_an_image_beyond_a_limit_has_its_own_code(info, content_type, code):
    found = Found(family_of(content_type), content_type)
    with pytest.raises(RefusedFileError) as caught:
        check_image(info, found, declared=content_type, max_frames=100)
    assert caught.value.code == code


def test_an_image_may_be_as_long_as_its_pixels_allow():
    found = Found("jpeg", "image/jpeg")
    check_image(replace(IMAGE, width=60_000), found, declared="image/jpeg", max_frames=100)


@pytest.mark.parametrize(
    ("declared", "size", "others", "code"),
    [
        ("image/jpeg", 0, True, None),
        ("image/png", 0, True, None),
        ("image/png", 0, False, "type_mismatch"),
        ("image/jpeg", 1, True, "size_mismatch"),
        ("image/jpeg", -1, True, "size_mismatch"),
    ],
)
def test_an_image_is_what_its_grant_allowed(tmp_path, declared, size, others, code):
    path = make_photo(tmp_path / "a.jpg", size=(64, 64))
    grant = {
        "size": path.stat().st_size + size, "declared": declared, "accept_other_types": others,
    }  # fmt: skip
    if code is None:
        warnings = () if declared == "image/jpeg" else ("type_differs",)
        assert check_image_file(path, **grant) == Found("jpeg", "image/jpeg", warnings)
    else:
        with pytest.raises(RefusedFileError) as caught:
            check_image_file(path, **grant)
        assert caught.value.code == code


@pytest.mark.parametrize("data", [b"<svg xmlns=''>", b"\x7fELF" + bytes(100), b"\0"])
def test_what_is_no_image_is_refused(tmp_path, data):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(RefusedFileError) as caught:
        check_image_file(path, size=len(data), declared="image/jpeg", accept_other_types=True)
    assert caught.value.code == "type_mismatch"
