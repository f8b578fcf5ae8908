"""The trust gate: which uploads are worked on, and what the others are told."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from io import BytesIO
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest.trust import isobmff
from ingest.trust.gate import (
    Limits,
    check_audio,
    check_file,
    check_made,
    check_video,
    whole_seconds,
)
from ingest.trust.isobmff import Layout
from ingest.trust.tags import behind_tags
from media_runtime.errors import PermanentError
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.gate import Found, RefusedFileError
from media_runtime.media.info import AudioStream, DolbyVision, MediaInfo, VideoStream
from media_runtime.media.sandbox import Sandbox

from support.media_files import make_photo, make_sound, make_video, run_ffmpeg
from support.tripwires import box

LIMITS = Limits(
    duration_seconds=3600,
    frame_rate=120,
    side=8000,
    bits_per_second=1000,
    total_pixels=3600 * 25 * 1920 * 1080,
)
VIDEO = VideoStream("h264", 1920, 1080, 0, 25.0, "yuv420p", 1.0)
INFO = MediaInfo("mov,mp4,m4a,3gp,3g2,mj2", 600.0, VIDEO, None, 1)
MP4 = Found("isobmff", "video/mp4")


def upload(content_type: str = "video/mp4", *, size: int = 10_000_000):
    return SimpleNamespace(content_type=content_type, size=size)


def refusal(check, *arguments) -> str:
    with pytest.raises(RefusedFileError) as caught:
        check(*arguments)
    assert caught.value.message.endswith(".")
    return caught.value.code


def test_what_is_within_the_limits_passes():
    assert check_video(INFO, upload(), MP4, LIMITS) is VIDEO


def test_an_avi_that_is_cut_is_refused_before_it_is_opened(tmp_path):
    whole = make_video(tmp_path / "whole.avi", seconds=0.5).read_bytes()
    path = tmp_path / "upload"

    def checked(data: bytes) -> tuple[str, ...]:
        path.write_bytes(data)
        return check_file(path, upload("video/x-msvideo", size=len(data))).warnings

    assert checked(whole) == ()
    assert checked(whole + b"appended") == ()
    assert checked(whole[: len(whole) * 95 // 100]) == ("file_truncated",)
    assert refusal(checked, whole[: len(whole) * 85 // 100]) == "truncated_file"
    # Writers count the length of the whole wrongly, and players do not mind.
    assert checked(whole[:4] + b"\xff" * 4 + whole[8:]) == ()
    assert checked(whole[:4] + bytes(4) + whole[8:]) == ()


def test_what_was_made_tells_how_long_the_source_is():
    claimed = 10.0
    assert check_made(10.0, claimed, LIMITS) == ()
    assert check_made(9.6, claimed, LIMITS) == ()
    assert check_made(8.6, claimed, LIMITS) == ("file_truncated",)
    assert refusal(check_made, 5.0, claimed, LIMITS) == "truncated_file"
    assert check_made(5.0, claimed, replace(LIMITS, whole_part=0.4)) == ("file_truncated",)
    assert check_made(5.0, None, LIMITS) == ()
    assert refusal(check_made, 3601.0, claimed, LIMITS) == "duration_too_long"


def test_what_else_a_file_carries_makes_its_length_no_claim():
    matroska = replace(INFO, format_name="matroska,webm", claimed_seconds=36_000.0)
    assert whole_seconds(matroska) == 36_000.0
    assert whole_seconds(replace(matroska, stream_count=2)) is None
    assert whole_seconds(replace(INFO, claimed_seconds=600.0)) is None


@pytest.mark.parametrize(
    ("suffix", "content_type", "options"),
    [
        ("mp4", "video/mp4", ("-movflags", "+faststart")),
        ("mkv", "video/x-matroska", ()),
        ("webm", "video/webm", ("-c:v", "libvpx", "-c:a", "libopus")),
    ],
)
def test_a_setting_decides_how_much_of_a_cut_film_must_be_left(
    tmp_path, suffix, content_type, options
):
    path = make_video(tmp_path / f"v.{suffix}", size="320x180", seconds=1, options=options)
    data = path.read_bytes()

    def checked(kept: float, least: float) -> tuple[str, ...]:
        path.write_bytes(data[: int(len(data) * kept)])
        asset = upload(content_type, size=path.stat().st_size)
        return check_file(path, asset, whole_part=least).warnings

    assert checked(1, 0.9) == ()
    assert checked(0.95, 0.9) == ("file_truncated",)
    assert refusal(checked, 0.8, 0.9) == "truncated_file"
    assert checked(0.8, 0.75) == ("file_truncated",)
    assert refusal(checked, 0.99, 1) == "truncated_file"


def test_a_film_whose_index_is_missing_is_cut_however_little_it_lacks(tmp_path):
    path = make_video(tmp_path / "v.mp4", seconds=1)  # the index stands at the end
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    assert refusal(check_file, path, upload(size=len(data) - 20)) == "truncated_file"


@pytest.mark.parametrize(
    ("dolby", "base", "code"),
    [
        (5, 0, "dolby_vision_without_base"),
        (8, 1, None),
        (8, 4, None),
        (7, 6, None),
        (10, 0, "dolby_vision_without_base"),
    ],
)
def test_dolby_vision_needs_a_base_that_can_be_shown(dolby, base, code):
    info = replace(INFO, video=replace(VIDEO, dolby_vision=DolbyVision(dolby, base)))
    if code:
        assert refusal(check_video, info, upload(), MP4, LIMITS) == code
    else:
        assert check_video(info, upload(), MP4, LIMITS)


@pytest.mark.parametrize(
    ("info", "size", "code"),
    [
        (replace(INFO, format_name="matroska,webm"), 10**7, "type_mismatch"),
        (replace(INFO, format_name="hls"), 10**7, "type_mismatch"),
        (replace(INFO, video=None), 10**7, "no_video_stream"),
        (replace(INFO, video=replace(VIDEO, height=8001)), 10**7, "dimensions_too_large"),
        (replace(INFO, video=replace(VIDEO, frame_rate=122.0)), 10**7, "frame_rate_too_high"),
        (replace(INFO, duration_seconds=3601.0), 10**9, "duration_too_long"),
        (INFO, 74_999, "bitrate_too_low"),
        # For as many pixels, however short it is.
        (replace(INFO, duration_seconds=1.0), 64, "bitrate_too_low"),
        (
            replace(INFO, duration_seconds=9.0, video=replace(VIDEO, width=8000, height=5000)),
            11_000,
            "bitrate_too_low",
        ),
        (
            replace(INFO, duration_seconds=3599.0, video=replace(VIDEO, frame_rate=26.0)),
            10**9,
            "too_much_video",
        ),
    ],
)
def test_a_video_beyond_a_limit_has_its_own_code(info, size, code):
    assert refusal(check_video, info, upload(size=size), MP4, LIMITS) == code


@pytest.mark.parametrize(
    "info",
    [
        replace(INFO, duration_seconds=None),
        replace(INFO, duration_seconds=60.0),
        replace(INFO, video=replace(VIDEO, frame_rate=None)),
    ],
)
def test_what_is_not_known_or_short_is_no_offence(info):
    assert check_video(
        info, upload(size=74_999 if info.duration_seconds == 60 else 10**6), MP4, LIMITS
    )


@pytest.mark.parametrize(
    ("width", "height", "rate", "seconds", "size"),
    [
        # A still picture by SVT-AV1, as few bits as any encoder takes for it.
        (3840, 2160, 30, 6, 6831),
        (1920, 1080, 30, 20, 17_024),
        # The same by VP9 and x264, as recordings of a screen are.
        (3840, 2160, 30, 6, 19_756),
        (1920, 1080, 60, 1400, 4_200_000),
        # Slides with a voice of 32 kbit/s; a time-lapse; slow motion of a phone; one frame.
        (1920, 1080, 1, 3000, 12_000_000),
        (3840, 2160, 30, 8, 40_000_000),
        (1920, 1080, 120, 10, 30_000_000),
        (3840, 2160, 25, 0.04, 700),
    ],
)
def test_honest_videos_with_few_bits_pass(width, height, rate, seconds, size):
    video = replace(VIDEO, width=width, height=height, frame_rate=float(rate))
    info = replace(INFO, duration_seconds=float(seconds), video=video)
    assert check_video(info, upload(size=size), MP4, LIMITS) is video


@pytest.mark.parametrize(
    ("suffix", "declared", "family", "content_type"),
    [
        ("jpg", "image/heic", "jpeg", "image/jpeg"),
        ("png", "image/jpeg", "png", "image/png"),
        ("webp", "image/gif", "webp", "image/webp"),
        ("mkv", "video/mp4", "matroska", "video/webm"),
        ("mov", "video/webm", "isobmff", "video/mp4"),
        ("ts", "video/x-msvideo", "mpeg", "video/mpeg"),
        ("m4a", "audio/mpeg", "isobmff", "audio/mp4"),
        ("flac", "audio/wav", "flac", "audio/flac"),
        ("wav", "audio/mp4", "wav", "audio/wav"),
        ("mka", "audio/ogg", "matroska", "audio/webm"),
    ],
)
def test_another_type_of_the_same_kind_is_taken_as_what_it_is(
    tmp_path, suffix, declared, family, content_type
):
    path = tmp_path / f"a.{suffix}"
    if declared.startswith("image/"):
        make_photo(path, size=(64, 64))
    elif declared.startswith("audio/"):
        make_sound(path)
    else:
        make_video(path, size="64x64", seconds=0.5)
    sent = upload(declared, size=path.stat().st_size)
    assert check_file(path, sent) == Found(family, content_type, ("type_differs",))
    assert refusal(partial(check_file, accept_other_types=False), path, sent) == "type_mismatch"


def test_what_a_file_is_decides_on_its_checks(tmp_path):
    path = make_video(tmp_path / "v.mp4", seconds=0.5)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    cut = upload("video/webm", size=path.stat().st_size)
    assert refusal(check_file, path, cut) == "truncated_file"


@pytest.mark.parametrize(
    ("suffix", "declared"),
    [
        ("jpg", "video/mp4"),
        ("mp4", "image/heic"),
        ("flac", "video/mp4"),
        ("mp3", "image/jpeg"),
        ("jpg", "audio/mpeg"),
        ("avi", "audio/wav"),
    ],
)
def test_no_kind_is_ever_another(tmp_path, suffix, declared):
    path = tmp_path / f"a.{suffix}"
    if suffix == "jpg":
        make_photo(path)
    elif suffix in {"flac", "mp3"}:
        make_sound(path)
    else:
        make_video(path, size="64x64", seconds=0.2)
    sent = upload(declared, size=path.stat().st_size)
    assert refusal(check_file, path, sent) == "type_mismatch"


@pytest.mark.parametrize("suffix", ["wav", "aiff"])
def test_a_sound_that_is_cut_is_refused_before_it_is_opened(tmp_path, suffix):
    whole = make_sound(tmp_path / f"whole.{suffix}").read_bytes()
    path = tmp_path / "upload"

    def checked(data: bytes) -> tuple[str, ...]:
        path.write_bytes(data)
        return check_file(path, upload(f"audio/{suffix}", size=len(data))).warnings

    assert checked(whole) == checked(whole + b"appended") == ()
    assert checked(whole[: len(whole) * 95 // 100]) == ("file_truncated",)
    assert refusal(checked, whole[: len(whole) * 85 // 100]) == "truncated_file"
    # Programs that write into a pipe do not know the length.
    at = whole.index(b"data" if suffix == "wav" else b"SSND") + 4
    assert checked(whole[:at] + b"\xff" * 4 + whole[at + 4 :]) == ()
    assert checked(whole[:at] + bytes(4) + whole[at + 4 :]) == ()
    assert refusal(checked, whole[:at] + b"\x7f" * 4 + whole[at + 4 :]) == "truncated_file"


def test_the_length_of_a_sound_of_many_gigabytes_stands_elsewhere(tmp_path):
    path = tmp_path / "large.wav"
    options = ("-rf64", "always", str(path))
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", *options)
    data = path.read_bytes()
    assert check_file(path, upload("audio/wav", size=len(data))).warnings == ()
    path.write_bytes(data[: len(data) // 2])
    assert refusal(check_file, path, upload("audio/wav", size=len(data) // 2)) == "truncated_file"


def tag(size: int, flags: int = 0) -> bytes:
    """Return an ID3 tag of nothing, as large as that without its header."""
    sizes = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    footer = b"3DI\x04\0" + bytes([flags]) + sizes if flags & 0x10 else b""
    return b"ID3\x04\0" + bytes([flags]) + sizes + bytes(size) + footer


@pytest.mark.parametrize(
    ("suffix", "declared"), [("mp3", "mpeg"), ("aac", "aac"), ("flac", "flac")]
)
@pytest.mark.parametrize("tags", [tag(300), tag(70_000, 0x10) + tag(0)])
def test_tags_before_a_sound_hide_nothing(tmp_path, suffix, declared, tags):
    path = tmp_path / f"a.{suffix}"
    run_ffmpeg(
        "-f", "lavfi", "-i", "sine=duration=0.1", "-id3v2_version", "0", str(path)
    ) if suffix == "mp3" else make_sound(path)
    path.write_bytes(tags + path.read_bytes())
    size = path.stat().st_size
    found = check_file(path, upload(f"audio/{declared}", size=size))
    assert (found.content_type, found.warnings) == (f"audio/{declared}", ())


def test_a_tag_makes_no_sound_of_anything_else(tmp_path):
    path = make_photo(tmp_path / "a.jpg", size=(64, 64))
    path.write_bytes(tag(10) + path.read_bytes())
    size = path.stat().st_size
    assert refusal(check_file, path, upload("image/jpeg", size=size)) == "type_mismatch"


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reader_of_tags(data):
    assert 0 <= behind_tags(BytesIO(b"ID3" + data)) <= 8 * (20 + 2**28)


AUDIO = AudioStream("flac", 2)
SOUND = MediaInfo("flac", 600.0, None, AUDIO, 1, (AUDIO,))


def test_sound_within_the_limits_passes():
    found = Found("flac", "audio/flac")
    check_audio(SOUND, upload("audio/flac", size=7_500), found, LIMITS)
    check_audio(replace(SOUND, duration_seconds=60.0), upload("audio/flac", size=9), found, LIMITS)
    check_audio(replace(SOUND, duration_seconds=None), upload("audio/flac", size=9), found, LIMITS)


@pytest.mark.parametrize(
    ("info", "size", "code"),
    [
        (replace(SOUND, format_name="mp3"), 10**7, "type_mismatch"),
        (replace(SOUND, video=VIDEO), 10**7, "type_mismatch"),
        (replace(SOUND, audio=None, audio_streams=()), 10**7, "no_audio_stream"),
        (replace(SOUND, duration_seconds=3601.0), 10**7, "duration_too_long"),
        (SOUND, 7_499, "bitrate_too_low"),
    ],
)
def test_a_sound_beyond_a_limit_has_its_own_code(info, size, code):
    found, sent = Found("flac", "audio/flac"), upload("audio/flac", size=size)
    assert refusal(check_audio, info, sent, found, LIMITS) == code


def test_a_camera_s_type_of_its_family_is_as_declared(tmp_path):
    path = make_video(tmp_path / "v.mov", size="64x64", seconds=0.2)
    sent = upload("video/quicktime", size=path.stat().st_size)
    assert check_file(path, sent) == Found("isobmff", "video/quicktime")


@pytest.mark.parametrize(
    "options", [(), ("-movflags", "+faststart"), ("-movflags", "frag_keyframe")]
)
def test_a_whole_video_passes_and_one_cut_anywhere_in_its_media_does_not(tmp_path, options):
    path = make_video(tmp_path / "v.mp4", seconds=0.5, options=options)
    data = path.read_bytes()
    check_file(path, upload(size=len(data)))
    for kept in (len(data) // 3, len(data) // 2):
        path.write_bytes(data[:kept])
        assert refusal(check_file, path, upload(size=kept)) == "truncated_file"


def test_bytes_that_were_appended_are_no_offence(tmp_path):
    path = make_video(tmp_path / "v.mp4", seconds=0.5)
    path.write_bytes(path.read_bytes() + b"\xff" * 500)
    check_file(path, upload(size=path.stat().st_size))


def test_an_encrypted_video_is_refused(tmp_path):
    plain, path = make_video(tmp_path / "plain.mp4", seconds=0.5), tmp_path / "v.mp4"
    run_ffmpeg(
        *("-i", str(plain), "-c", "copy", "-encryption_scheme", "cenc-aes-ctr"),
        *("-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb"),
        *("-encryption_kid", "a7e61c373e219033c21091fa607bf3b8", str(path)),
    )
    size = path.stat().st_size
    assert refusal(check_file, path, upload(size=size)) == "encrypted_media"
    # As many boxes as a recording in fragments has.
    path.write_bytes(path.read_bytes() + b"\0\0\0\x08free" * 20_000)
    size = path.stat().st_size
    assert refusal(check_file, path, upload(size=size)) == "encrypted_media"


def test_another_size_or_type_than_granted_is_refused(tmp_path):
    path = make_photo(tmp_path / "p.jpg", size=(64, 64))
    size = path.stat().st_size
    check_file(path, upload("image/jpeg", size=size))
    assert refusal(check_file, path, upload("image/jpeg", size=size + 1)) == "size_mismatch"
    assert refusal(check_file, path, upload("video/mp4", size=size)) == "type_mismatch"


async def test_too_many_pixels_and_streams_have_codes_of_their_own(tmp_path):
    large = make_video(
        tmp_path / "large.mp4", size="8000x6000", seconds=0.04, sound=False, source="color"
    )
    with pytest.raises(PermanentError) as caught:
        await Ffmpeg(Sandbox("bubblewrap")).probe(large)
    assert caught.value.code == "too_many_pixels"
    tones = [word for _ in range(16) for word in ("-f", "lavfi", "-i", "sine=duration=0.2")]
    maps = [word for number in range(17) for word in ("-map", str(number))]
    many = tmp_path / "many.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=duration=0.2", *tones, *maps, str(many))
    with pytest.raises(PermanentError) as caught:
        await Ffmpeg(Sandbox("bubblewrap")).probe(many)
    assert caught.value.code == "too_many_streams"


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader_of_boxes(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.mp4"
    path.write_bytes(data)
    assert isinstance(isobmff.read(path), Layout)


def test_a_million_boxes_are_not_all_read(tmp_path):
    path = tmp_path / "many.mp4"
    path.write_bytes(b"\0\0\0\x08free" * 1_000_000 + b"\0\0\xff\xffmdat")
    assert not isobmff.read(path).is_truncated


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("video/mp4", box(b"ftyp", b"isom" * 4) + b"\0\0\0\1free" + b"\x7f" * 8),
        ("video/mp4", box(b"ftyp", b"isom" * 4) + b"\0\0\0\1moov" + b"\xff" * 8 + bytes(64)),
        ("video/x-matroska", b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 6 + b"\xfe" + bytes(64)),
        ("video/x-matroska", b"\x1a\x45\xdf\xa3\x81\0" + b"\x18\x53\x80\x67\x01" + b"\xfe" * 7),
        ("video/x-msvideo", b"RIFF\xff\xff\xff\xffAVI LIST\xfe\xff\xff\xff" + bytes(64)),
    ],
    ids=["a box", "an index", "a header", "a segment", "a list"],
)
def test_a_length_beyond_every_file_is_no_place_to_read_at(tmp_path, content_type, data):
    path = tmp_path / "upload"
    path.write_bytes(data)
    with suppress(PermanentError):
        check_file(path, upload(size=len(data), content_type=content_type))
