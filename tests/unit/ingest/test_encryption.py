"""Which Matroska files and transport streams are found to be encrypted, by their first bytes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest.trust.encryption import is_encrypted
from ingest.trust.gate import check_file
from media_runtime.media.gate import RefusedFileError

from support.hostile_files import sealed_matroska, sealed_stream
from support.media_files import make_video


def refusal(path, content_type: str) -> str | None:
    asset = SimpleNamespace(content_type=content_type, size=path.stat().st_size)
    try:
        check_file(path, asset)
    except RefusedFileError as error:
        return error.code
    return None


@pytest.mark.parametrize("suffix", ["mkv", "webm", "ts", "mpg"])
def test_a_film_that_is_not_passes(tmp_path, suffix):
    codecs = ("-c:v", "libvpx", "-c:a", "libopus") if suffix == "webm" else ()
    path = make_video(tmp_path / f"a.{suffix}", size="320x240", seconds=1, options=codecs)
    kinds = {"mkv": "video/x-matroska", "webm": "video/webm"}
    assert refusal(path, kinds.get(suffix, "video/mpeg")) is None


def test_an_encrypted_track_of_a_matroska_film_is_found(tmp_path):
    path = tmp_path / "a.webm"
    path.write_bytes(sealed_matroska())
    assert refusal(path, "video/webm") == "encrypted_media"


def test_a_scrambled_stream_is_found(tmp_path):
    plain = make_video(tmp_path / "a.ts", size="320x240", seconds=1)
    plain.write_bytes(sealed_stream(plain.read_bytes()))
    assert refusal(plain, "video/mpeg") == "encrypted_media"


def test_a_packet_that_was_damaged_scrambles_nothing(tmp_path):
    plain = make_video(tmp_path / "a.ts", size="320x240", seconds=1)
    data = plain.read_bytes()
    plain.write_bytes(sealed_stream(data[: 188 * 20]) + data[188 * 20 :])
    assert refusal(plain, "video/mpeg") is None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "a"
    for head, family in ((b"\x1aE\xdf\xa3", "matroska"), (b"G", "mpeg"), (b"", "matroska")):
        path.write_bytes(head + data)
        assert is_encrypted(path, family) in {True, False}


def test_a_million_elements_are_not_all_read(tmp_path):
    path = tmp_path / "a.mkv"
    path.write_bytes(b"\x1aE\xdf\xa3\x80" + b"\xec\x80" * 1_000_000 + sealed_matroska())
    assert not is_encrypted(path, "matroska")
