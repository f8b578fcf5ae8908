"""Which of a stream's tracks players are told of, and how."""

from __future__ import annotations

import re
from uuid import uuid4
from xml.etree import ElementTree as ET

import pytest
from media_contracts import Text
from media_records.tables import AssetFile
from media_runtime.media.manifests import Layout
from sign_api.playback import _NAME, _text

MPD = "{urn:mpeg:dash:schema:mpd:2011}"
NAMES = {"": "avc1.64001f", "-hevc": "hvc1.1.6.L93.90", "-av1": "av01.0.04M.08"}


def parts(track: str, codecs: str, *, count: int = 2, height: int | None = None) -> list[AssetFile]:
    """Return the rows of a track, each of two fragments of two seconds."""
    fragments = [[100, 150, 1100, 50], [1100, 1150, 2100, 50]]
    layout = Layout(codecs, 25, 100, fragments, "25" if height else None)
    return [
        AssetFile(
            asset_id=uuid4(), attempt=1, name=f"video-{track}-{part:04}", company_id=uuid4(),
            kind="segment", key=f"c/o/1/a/1/video-{track}-{part:04}.mp4", content_type="video/mp4",
            size=2100, width=height and 2 * height, height=height, duration_seconds=4.0,
            stream="video", track=track, part=part, layout=layout.text(),
        )
        for part in range(count)
    ]  # fmt: skip


def a_stream(**counts: int) -> list[AssetFile]:
    """Return the rows of a film of two parts in each codec, or as many of one as *counts* say."""
    sizes = [
        (f"{side}{codec}", parts(f"{side}{codec}", name, height=side,
                                 count=counts.get(codec.removeprefix("-"), 2)))
        for side in (240, 720)
        for codec, name in NAMES.items()
    ]  # fmt: skip
    tracks = dict([*sizes, ("sound", parts("sound", "mp4a.40.2", count=1))])
    return [row for track in sorted(tracks) for row in tracks[track]]


def text(name: str, files: list[AssetFile], *, is_whole: bool = True) -> str | None:
    found = _NAME.fullmatch(name)
    assert found is not None
    assert found["stream"] == "video"
    return _text(name, "video", files, is_whole=is_whole)


def listed(master: str) -> list[str]:
    return re.findall(r"^video\.(.+)\.m3u8$", master, re.MULTILINE)


def test_each_codec_has_its_variants_with_the_same_sound_h264_first():
    master = text("video.m3u8", a_stream())
    assert master is not None
    assert listed(master) == ["240", "720", "240-av1", "720-av1", "240-hevc", "720-hevc"]
    about = re.findall(r"^#EXT-X-STREAM-INF:(.*)$", master, re.MULTILINE)
    assert all('AUDIO="sound"' in one for one in about)
    codecs = [re.findall(r'CODECS="([^"]+)"', one)[0] for one in about]
    assert codecs == [
        f"{NAMES[one]},mp4a.40.2" for one in ("", "", "-av1", "-av1", "-hevc", "-hevc")
    ]
    assert master.count("#EXT-X-MEDIA:TYPE=AUDIO") == 1


def test_dash_has_an_adaptation_set_of_each_codec():
    manifest = text("video.mpd", a_stream())
    assert manifest is not None
    sets = [
        [one.get("id") for one in each.iter(f"{MPD}Representation")]
        for each in ET.fromstring(manifest).iter(f"{MPD}AdaptationSet")
    ]
    assert sets == [
        ["video.240", "video.720"], ["video.240-av1", "video.720-av1"],
        ["video.240-hevc", "video.720-hevc"], ["video.sound"],
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["video.720-hevc.m3u8", "video.720-av1.keys.m3u8"])
def test_each_track_of_another_codec_has_playlists(name):
    found = text(name, a_stream())
    assert found is not None
    assert f"video-{name.split('.')[1]}-0001.mp4" in found


def test_who_follows_a_film_while_it_is_made_gets_h264():
    master = text("video.m3u8", a_stream(), is_whole=False)
    assert master is not None
    assert listed(master) == ["240", "720"]
    assert text("video.720-hevc.m3u8", a_stream(), is_whole=False) is None


def test_a_codec_that_is_not_whole_is_not_told_of():
    files = a_stream(av1=1)
    master = text("video.m3u8", files)
    assert master is not None
    assert listed(master) == ["240", "720", "240-hevc", "720-hevc"]
    assert "av01" not in (text("video.mpd", files) or "")


def written(number: int, about: Text) -> AssetFile:
    """Return the row of a text."""
    name = f"video-text-{number}"
    return AssetFile(
        asset_id=uuid4(), attempt=1, name=name, company_id=uuid4(), kind="text",
        key=f"c/o/1/1-2/{name}.vtt", content_type="text/vtt", size=1000, stream="video",
        track=f"text-{number}", part=0, layout=about.model_dump_json(),
    )  # fmt: skip


TEXTS = [
    written(10, Text(language="en", forced=True)),
    written(0, Text(language="en", title='Full "E" & <x>', default=True)),
    written(1, Text(language="en", hearing_impaired=True, default=True)),
    written(2, Text(language="und", title="en")),
]


def test_hls_lists_each_text_with_what_is_known_of_it():
    master = text("video.m3u8", [*a_stream(), *TEXTS])
    assert master is not None
    told = re.findall(r"^#EXT-X-MEDIA:TYPE=SUBTITLES,(.*)$", master, re.MULTILINE)
    group, usual = 'GROUP-ID="text"', "DEFAULT=NO,AUTOSELECT=YES,FORCED=NO"
    for_deaf = (
        "public.accessibility.transcribes-spoken-dialog,"
        "public.accessibility.describes-music-and-sound"
    )
    title = "Full 'E' & <x>"
    wanted = [
        [f'NAME="{title}",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,FORCED=NO', "0"],
        [f'NAME="en",LANGUAGE="en",{usual},CHARACTERISTICS="{for_deaf}"', "1"],
        [f'NAME="en (2)",{usual}', "2"],
        ['NAME="en (3)",LANGUAGE="en",DEFAULT=NO,AUTOSELECT=YES,FORCED=YES', "10"],
    ]
    assert told == [f'{group},{words},URI="video.text-{name}.m3u8"' for words, name in wanted]
    about = re.findall(r"^#EXT-X-STREAM-INF:(.*)$", master, re.MULTILINE)
    assert all('SUBTITLES="text"' in one for one in about)
    assert listed(master)[:2] == ["240", "720"]


def test_the_playlist_of_a_text_is_one_segment_as_long_as_the_film():
    playlist = text("video.text-1.m3u8", [*a_stream(), *TEXTS])
    assert playlist is not None
    assert playlist.splitlines()[2:] == [
        "#EXT-X-TARGETDURATION:8", "#EXT-X-PLAYLIST-TYPE:VOD", "#EXTINF:8.000000,",
        "../1-2/video-text-1.vtt", "#EXT-X-ENDLIST",
    ]  # fmt: skip


def test_dash_has_an_adaptation_set_of_each_text():
    manifest = text("video.mpd", [*a_stream(), *TEXTS])
    assert manifest is not None
    found = [
        one for one in ET.fromstring(manifest).iter(f"{MPD}AdaptationSet")
        if one.get("contentType") == "text"
    ]  # fmt: skip
    assert [one.get("lang") for one in found] == ["en", "en", "und", "en"]
    assert {one.get("mimeType") for one in found} == {"text/vtt"}
    roles = [[role.get("value") for role in one.iter(f"{MPD}Role")] for one in found]
    assert roles == [
        ["subtitle", "main"],
        ["caption"],
        ["subtitle"],
        ["subtitle", "forced-subtitle"],
    ]
    assert [one.text for one in found[0].iter(f"{MPD}Label")] == ['Full "E" & <x>']
    assert [one.text for one in found[1].iter(f"{MPD}BaseURL")] == ["../1-2/video-text-1.vtt"]
    assert found[0][-1].get("bandwidth") == "1000"


def test_a_film_without_text_offers_none():
    master = text("video.m3u8", a_stream())
    assert master is not None
    assert "SUBTITLES" not in master
    assert text("video.text-0.m3u8", a_stream()) is None


def test_who_follows_a_film_while_it_is_made_is_told_of_no_text():
    files = [*a_stream(), *TEXTS]
    master = text("video.m3u8", files, is_whole=False)
    assert master is not None
    assert "SUBTITLES" not in master
    assert text("video.text-0.m3u8", files, is_whole=False) is None
