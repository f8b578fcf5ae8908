"""Films whose own tables make them costly are told by these alone."""

from __future__ import annotations

import struct
import time
import zlib
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest.trust.gate import check_file
from ingest.trust.sample_tables import Tables, read_avi, read_isobmff
from media_runtime.media.gate import RefusedFileError

from support.costly import (
    avi_of_one_frame,
    avi_of_one_index,
    film_of_edits,
    film_of_one_fragment,
    film_of_one_frame,
    film_of_tiny_frames,
)
from support.media_files import make_video
from support.tripwires import box


def code_of(folder, data: bytes, content_type: str = "video/mp4") -> str:
    """Return what the gate says of a film, in less than a second of the CPU."""
    path = folder / "upload"
    path.write_bytes(data)
    started = time.process_time()
    try:
        check_file(path, SimpleNamespace(content_type=content_type, size=len(data)))
    except RefusedFileError as error:
        return error.code
    finally:
        assert time.process_time() - started < 1
    return "accepted"


def index_moved(film: bytes, new: bytes) -> bytes:
    """Return a film with *new* in the place of its index, which stands at its end."""
    return film[: film.index(b"moov") - 4] + new


def index_of(film: bytes) -> bytes:
    return film[film.index(b"moov") - 4 :]


def test_a_film_that_uses_its_bytes_many_times_is_refused(tmp_path):
    hostile = film_of_one_frame(tmp_path, times=2000, size="640x360")
    assert code_of(tmp_path, hostile) == "samples_overlap"
    assert code_of(tmp_path, film_of_one_frame(tmp_path, times=1)) == "accepted"
    assert code_of(tmp_path, film_of_one_frame(tmp_path, times=3)) == "accepted"
    assert code_of(tmp_path, film_of_tiny_frames(tmp_path, times=20_000)) == "samples_overlap"
    fragments = film_of_one_fragment(tmp_path, times=500, size="640x360")
    assert code_of(tmp_path, fragments) == "samples_overlap"
    avi = avi_of_one_frame(tmp_path, times=500)
    assert code_of(tmp_path, avi, "video/x-msvideo") == "samples_overlap"
    odml = avi_of_one_index(tmp_path, times=500)
    assert code_of(tmp_path, odml, "video/x-msvideo") == "samples_overlap"
    assert code_of(tmp_path, avi_of_one_index(tmp_path, times=2), "video/x-msvideo") == "accepted"


def test_tables_are_found_wherever_a_demuxer_finds_them(tmp_path):
    hostile = film_of_one_frame(tmp_path, times=2000, size="640x360")
    index = index_of(hostile)
    packed = struct.pack(">I", len(index)) + zlib.compress(index)
    hidden = {
        "compressed": box(b"moov", box(b"cmov", box(b"dcom", b"zlib") + box(b"cmvd", packed))),
        "in free space": box(b"hoov", index),
        "too deep": box(b"moov", box(b"minf", box(b"stbl", index))),
        "behind many": b"\0\0\0\x08free" * 10_001 + index,
    }
    found = {about: code_of(tmp_path, index_moved(hostile, new)) for about, new in hidden.items()}
    assert found == dict.fromkeys(hidden, "samples_overlap")


def test_more_boxes_than_any_writer_makes_are_no_film(tmp_path):
    nested = b""
    for _ in range(100):
        nested = box(b"moov", nested)
    head = box(b"ftyp", b"isom\0\0\2\0isom")
    assert code_of(tmp_path, head + nested) == "unreadable_media"


def test_a_film_that_its_edits_repeat_is_refused(tmp_path):
    assert code_of(tmp_path, film_of_edits(tmp_path, edits=50, seconds=1)) == "edits_too_long"
    assert code_of(tmp_path, film_of_edits(tmp_path, edits=3, seconds=1)) == "accepted"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", ()),
        ("a.mp4", ("-movflags", "+faststart")),
        ("a.mp4", ("-movflags", "frag_keyframe+empty_moov", "-g", "5")),
        ("a.mp4", ("-ss", "0.21", "-bf", "2")),
        ("a.mov", ("-c:a", "pcm_s16le")),
        ("a.mov", ("-c:a", "pcm_u8", "-c:v", "mjpeg")),
        ("a.mov", ("-c:a", "adpcm_ima_qt", "-ac", "2")),
        ("a.avi", ("-c:a", "pcm_s16le")),
    ],
)
def test_the_samples_of_an_honest_film_are_its_bytes(tmp_path, name, options):
    path = make_video(tmp_path / name, size="320x240", seconds=1, options=options)
    size = path.stat().st_size
    tables = read_avi(path) if path.suffix == ".avi" else read_isobmff(path)
    assert 0.5 * size < tables.sample_bytes < 1.2 * size
    assert (tables.repeats, tables.is_absurd) == (False, False)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader_of_tables(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.mp4"
    for kind in (b"stsz", b"stz2", b"stts", b"stss", b"elst", b"trun", b"tfhd", b"trex", b"mvhd"):
        path.write_bytes(box(b"moov", box(b"trak", box(kind, data))) + data)
        assert isinstance(read_isobmff(path), Tables)
    path.write_bytes(b"RIFF" + data)
    assert isinstance(read_avi(path), Tables)
