"""What clients are told of an upload."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ingest import facts
from media_contracts import ImageChecked
from media_runtime.media.info import Colours, MediaInfo, VideoStream

FILM = VideoStream("hevc", 3840, 2160, 0, 30.0, "yuv420p10le", 1.0)


@pytest.mark.parametrize(
    ("transfer", "hdr"),
    [("smpte2084", True), ("arib-std-b67", True), ("bt709", False), (None, False)],
)
def test_a_film_is_told_as_hdr_by_its_curve(transfer, hdr):
    colours = Colours(primaries="bt2020", transfer=transfer, matrix="bt2020nc", range="tv")
    info = MediaInfo("mov,mp4", 5.0, replace(FILM, colours=colours), None, 1)
    assert facts.of_media(info).hdr is hdr


def test_of_sound_alone_nothing_is_told_of_light():
    assert facts.of_media(MediaInfo("mp3", 5.0, None, None, 1)).hdr is None


@pytest.mark.parametrize("hdr", [True, False])
def test_an_image_is_told_as_hdr(hdr):
    checked = ImageChecked(
        attempt=1, task="inspect", sha256="0" * 64, content_type="image/jpeg", format="JPEG",
        width=40, height=30, frames=1, scans=1, hdr=hdr, pictures=[], seconds=0.1,
    )  # fmt: skip
    assert facts.of_image(checked).hdr is hdr
