"""What clients get of sound alone, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from media_contracts import AssetStatus, FileKind, Stream, Track
from media_records.files import WHOLE_SOUND, media_of
from media_records.tables import Asset, AssetFile
from media_runtime.http.links import LinkSigner
from media_runtime.media.manifests import Layout
from media_runtime.settings import EdgeKeySettings
from media_runtime.storage.keys import output_key
from sign_api.playback import _text
from sign_api.views import AssetView, asset_view

COMPANY, ASSET, NOW = UUID(int=1), UUID(int=2), datetime.now(UTC)
LINKS = LinkSigner(
    EdgeKeySettings.model_validate({"EDGE_KEYS": f"k1:{'s' * 32}"}), "http://edge",
    lifetime=timedelta(hours=1),
)  # fmt: skip


def an_asset(content_type: str, status: AssetStatus) -> Asset:
    return Asset.of({
        **dict.fromkeys(Asset.model_fields),
        "id": ASSET, "company_id": COMPANY, "status": status.value, "attempt": 1,
        "file_name": "f", "content_type": content_type, "size": 9, "profile": "default",
        "profile_version": 1, "created_at": NOW, "updated_at": NOW, "warnings": [],
    })  # fmt: skip


def a_file(name: str, kind: FileKind, **facts: object) -> AssetFile:
    return AssetFile.of({
        **dict.fromkeys(AssetFile.model_fields),
        "asset_id": ASSET, "company_id": COMPANY, "attempt": 1, "name": name, "kind": kind.value,
        "key": output_key(COMPANY, ASSET, 1, f"{name}.mp4", fence=3), "content_type": "audio/mp4",
        "size": 9, "duration_seconds": 2.0, **facts,
    })  # fmt: skip


AUDIO = a_file("audio", FileKind.AUDIO)
LAYOUT = Layout("mp4a.40.2", 48_000, 500, [[500, 600, 900, 96_000]]).text()
PIECE = a_file(
    "audio-sound-0000", FileKind.SEGMENT, stream="audio", track=WHOLE_SOUND, part=0, layout=LAYOUT
)
FILM = a_file("video", FileKind.VIDEO, width=64, height=48)
PICTURES = a_file(
    "video-48-0000", FileKind.SEGMENT, stream="video", track="48", part=0, width=64, height=48
)


def seen(content_type: str, status: AssetStatus, *files: AssetFile) -> AssetView:
    return asset_view(an_asset(content_type, status), files, LINKS)


def test_a_sound_that_is_ready_is_a_file_and_a_stream():
    view = seen("audio/mpeg", AssetStatus.READY, AUDIO, PIECE)
    assert view.processed_url is not None
    assert (view.hls_url or "").endswith("/audio.m3u8")
    assert (view.dash_url or "").endswith("/audio.mpd")
    assert (view.duration_seconds, view.width, view.thumbnail_url) == (2.0, None, None)
    assert [(file.name, file.kind) for file in view.files] == [("audio", "audio")]


@pytest.mark.parametrize("content_type", ["audio/mpeg", "video/mp4"])
def test_sound_alone_is_no_stream_before_it_is_whole(content_type):
    view = seen(content_type, AssetStatus.PROCESSING, PIECE)
    assert view.hls_url is None
    assert _text("audio.m3u8", "audio", [PIECE], is_whole=False) is None


def test_files_and_the_upload_are_told_with_their_hashes():
    original = a_file("original", FileKind.ORIGINAL, sha256="a" * 64)
    made = a_file("audio", FileKind.AUDIO, sha256="b" * 64)
    view = seen("audio/mpeg", AssetStatus.READY, original, made)
    assert view.sha256 == "a" * 64
    assert [(file.name, file.sha256) for file in view.files] == [("audio", "b" * 64)]


def test_each_track_of_a_stream_is_told():
    track = Track(
        name="720", codec="avc1.64001f", size=9, bits_per_second=8, duration_seconds=9.0,
        width=1280, height=720, ssim=0.98,
    )  # fmt: skip
    streams = [Stream(name="video", tracks=[track])]
    view = asset_view(
        an_asset("video/mp4", AssetStatus.READY), [FILM], LINKS, streams=streams
    ).model_dump(by_alias=True)
    assert view["streams"] == [{"name": "video", "tracks": [track.model_dump(by_alias=True)]}]


def test_of_a_film_with_its_sound_alone_the_film_is_played():
    assert media_of([AUDIO, FILM]) is FILM
    view = seen("video/mp4", AssetStatus.READY, AUDIO, PIECE, FILM, PICTURES)
    assert (view.hls_url or "").endswith("/video.m3u8")
    assert [file.name for file in view.files] == ["audio", "video"]


def test_manifests_of_sound_alone_name_its_track():
    master = _text("audio.m3u8", "audio", [PIECE], is_whole=True)
    assert "audio.sound.m3u8" in (master or "")
    media = _text("audio.sound.m3u8", "audio", [PIECE], is_whole=True)
    assert "#EXT-X-BYTERANGE:400@500" in (media or "")
    assert 'contentType="audio"' in (_text("audio.mpd", "audio", [PIECE], is_whole=True) or "")
    assert _text("audio.keys.m3u8", "audio", [PIECE], is_whole=True) is None
