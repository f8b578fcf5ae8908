"""The rules of ingest: how large a file's video becomes, how long things may take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest.domain import (
    Size,
    fit_video,
    retry_delay_seconds,
    transcode_cpu_seconds,
    transcode_limit_seconds,
)
from media_contracts import MediaKind
from media_contracts.formats import ACCEPTED_TYPES, kind_of, readers, type_of_family

LONG, SHORT = 1920, 1080


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
