"""The ffmpeg command of a rendition."""

from __future__ import annotations

from pathlib import Path

import pytest
from ingest.domain import Size
from ingest.outputs.rendition import EncodePlan, encode_command

SOURCE, TARGET = Path("/in/source"), Path("/out/video.mp4")


def command(*, has_audio: bool = True) -> list[str]:
    plan = EncodePlan(
        Size(640, 360), has_audio=has_audio, preset="veryfast", crf=23, max_seconds=60
    )
    return encode_command(SOURCE, TARGET, plan, {"protocol_whitelist": "file"})


def value_of(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("-c:v", "libx264"),
        ("-preset", "veryfast"),
        ("-crf", "23"),
        ("-pix_fmt", "yuv420p"),
        ("-movflags", "+faststart"),
        ("-map_metadata", "-1"),
        ("-map_chapters", "-1"),
        ("-f", "mp4"),
        ("-c:a", "aac"),
        ("-ac", "2"),
        ("-i", "file:/in/source"),
    ],
)
def test_the_rendition_plays_everywhere_and_keeps_no_metadata(option, value):
    assert value_of(command(), option) == value


def test_a_silent_video_gets_no_sound():
    arguments = command(has_audio=False)
    assert not [one for one in arguments if one in {"-c:a", "-b:a", "-ac"} or "0:a" in one]
    assert value_of(arguments, "-c:v") == "libx264"


def test_the_picture_is_the_first_that_is_no_cover_art_and_the_sound_the_first():
    arguments = command()
    assert "[0:V:0]scale=h=360:w=640" in value_of(arguments, "-filter_complex")
    assert "setsar=sar=1" in value_of(arguments, "-filter_complex")
    mapped = [arguments[at + 1] for at, one in enumerate(arguments) if one == "-map"]
    assert len(mapped) == 2
    assert mapped[1] == "0:a:0"


def test_options_of_the_input_stand_before_it():
    arguments = command()
    assert arguments.index("-protocol_whitelist") < arguments.index("-i")


def test_names_cannot_pass_for_options_or_protocols():
    plan = EncodePlan(Size(2, 2), has_audio=False, preset="veryfast", crf=23, max_seconds=60)
    arguments = encode_command(Path("http://x/-y"), Path("-out:put"), plan, {})
    assert value_of(arguments, "-i") == "file:http:/x/-y"
    assert arguments[-1] == "file:-out:put"
