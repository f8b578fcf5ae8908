"""
Manifests of streams, written for each request from the rows of their files.

Their links are those of files: the edge has checked the token, and it is checked here again. All
that they name is relative, so that it inherits the token.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby, takewhile
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from media_contracts import AssetStatus, FileKind
from media_contracts.errors import ErrorCode
from media_records.actions import AssetNotFoundError
from media_records.files import EARLY_SOUND, TILES, WHOLE_SOUND, Files, text_of
from media_records.tables import AssetFile
from media_runtime.http.app import ApiError
from media_runtime.http.links import LinkKind, LinkRefusedError
from media_runtime.media.manifests import (
    Layout,
    Rendition,
    continued,
    dash,
    hls_keys,
    hls_master,
    hls_media,
    rendition,
)
from media_runtime.media.texts import TextFile, hls_text
from media_runtime.media.tiles import Board, Tiles, hls_images, webvtt
from sign_api.batch_routes import router as batches
from sign_api.routes import router as api
from sign_api.routes import services_of
from sign_api.upload_routes import router as uploads
from sign_api.webhook_routes import router as webhooks

_NAME = re.compile(r"(?P<stream>[a-z0-9][a-z0-9_-]*)(?:\.[a-z0-9-]+){0,2}\.(?P<form>m3u8|mpd|vtt)")
_SOUNDS = (WHOLE_SOUND, EARLY_SOUND)
_FOLDER = 3
_FIRST_FAMILY = "avc1"
_TYPES = {"m3u8": "application/vnd.apple.mpegurl", "mpd": "application/dash+xml", "vtt": "text/vtt"}
# What grows is asked for again and again; what is whole never changes.
_CACHE = {False: "no-cache", True: "public, max-age=3600"}

router = APIRouter()
"""All routes: those of the API, and manifests."""
router.include_router(api)
router.include_router(uploads)
router.include_router(batches)
router.include_router(webhooks)


@router.get("/v/{token}/{asset_id}/{attempt}/{name}", include_in_schema=False)
async def manifest(
    request: Request,
    token: Annotated[str, Path(max_length=256)],
    asset_id: UUID,
    attempt: Annotated[int, Path(le=2**31 - 1)],
    name: Annotated[str, Path(max_length=128)],
) -> Response:
    """Return the manifest that a link leads to; 404 for what is not there, or for others."""
    services = services_of(request)
    wanted = _NAME.fullmatch(name)
    if wanted is None:
        raise ApiError(ErrorCode.ASSET_NOT_FOUND)
    try:
        company_id = services.links.company_of(token, asset_id, LinkKind.MEDIA)
        asset, files = await services.assets.segments(
            company_id, asset_id, attempt, wanted["stream"]
        )
    except (LinkRefusedError, AssetNotFoundError) as error:
        raise ApiError(ErrorCode.ASSET_NOT_FOUND) from error
    is_whole = asset.status == AssetStatus.READY
    text = await asyncio.to_thread(_text, name, wanted["stream"], files, is_whole=is_whole)
    if text is None:
        raise ApiError(ErrorCode.ASSET_NOT_FOUND)
    return Response(
        text,
        media_type=_TYPES[wanted["form"]],
        headers={"Cache-Control": _CACHE[is_whole]},
    )


def _text(name: str, stream: str, files: Files, *, is_whole: bool) -> str | None:
    """Return the manifest of this name; None where the stream has none of it."""
    texts_of_film = _texts_of_film(stream, files) if is_whole else []
    files = [file for file in files if file.kind != FileKind.TEXT]
    tracks = {track: list(parts) for track, parts in groupby(files, key=lambda file: file.track)}
    tiles = _tiles(stream, tracks.pop(TILES, []))
    sounds = {track: tracks.pop(track) for track in _SOUNDS if track in tracks}
    ladder, heard = _ladder(stream, tracks, is_whole=is_whole), _heard(stream, sounds)
    sound = heard.get(WHOLE_SOUND)
    if not (ladder or (is_whole and sound)):
        return None
    listed = sound if is_whole else heard.get(EARLY_SOUND)
    texts: dict[str, Callable[[], str]] = {
        f"{stream}.m3u8": partial(
            hls_master, ladder, listed, is_whole=is_whole, tiles=tiles, texts=texts_of_film
        )
    }
    for one in [*ladder, *heard.values()]:
        texts[f"{one.name}.m3u8"] = partial(hls_media, one, is_whole=is_whole)
    if is_whole:
        texts[f"{stream}.mpd"] = partial(dash, ladder, sound, tiles, texts_of_film)
        texts |= {f"{one.name}.keys.m3u8": partial(hls_keys, one) for one in ladder}
    seconds = max(one.seconds for one in [*ladder, *heard.values()])
    texts |= {f"{one.name}.m3u8": partial(hls_text, one, seconds) for one in texts_of_film}
    if tiles:
        texts[f"{tiles.name}.m3u8"] = partial(hls_images, tiles)
        texts[f"{tiles.name}.vtt"] = partial(webvtt, tiles)
    write = texts.get(name)
    return write() if write else None


def _ladder(
    stream: str, tracks: Mapping[str | None, Sequence[AssetFile]], *, is_whole: bool
) -> list[Rendition]:
    """
    Return the sizes of a stream as far as they go: H.264's, the smallest first, then others'.

    Another codec is told of when there is all of it: it is made last, and who followed it would
    wait for it, or see it end too soon.
    """
    whole = {track or "": _without_gaps(parts) for track, parts in tracks.items()}
    found: dict[str, list[Rendition]] = {}
    for track, parts in sorted(whole.items(), key=lambda one: _height(one[0])):
        if parts:
            one = _rendition(f"{stream}.{track}", parts)
            found.setdefault(one.family, []).append(one)
    first = found.pop(_FIRST_FAMILY, [])
    longest = max((one.seconds for one in first), default=0.0)
    others = [
        sizes
        for sizes in found.values()
        if is_whole and all(one.seconds == longest for one in sizes)
    ]
    return [*first, *(one for sizes in others for one in sizes)]


def _heard(stream: str, sounds: Mapping[str, Sequence[AssetFile]]) -> dict[str, Rendition]:
    """
    Return the sound of a stream, whole and as it began, as far as there is any.

    Who began early hears the rest after the beginning that was made first, although the whole has
    another beginning: what a playlist has listed may not become another file.
    """
    if not sounds:
        return {}
    whole, begun = (
        _rendition(f"{stream}.{track}", sounds.get(track) or next(iter(sounds.values())))
        for track in _SOUNDS
    )
    return {WHOLE_SOUND: whole, EARLY_SOUND: continued(begun, whole)}


def _texts_of_film(stream: str, files: Files) -> list[TextFile]:
    """
    Return what is written in a film, in the order of its tracks.

    It is told of when there is all of a film: a text has an end, and who follows what grows would
    take that for the film's.
    """
    found = [(file, about) for file in files if file.track and (about := text_of(file)) is not None]
    return [
        TextFile(f"{stream}.{file.track}", _relative(file.key), file.size, about)
        for file, about in sorted(found, key=lambda one: _number(one[0]))
    ]


def _tiles(stream: str, sheets: Sequence[AssetFile]) -> Tiles | None:
    """Return the sheets of small pictures, where there are all of them."""
    if not sheets:
        return None
    board = Board.of(sheets[0].layout or "")
    if len(sheets) != board.sheets:
        return None
    prefix = _relative(sheets[0].key).removesuffix("0.jpg")
    return Tiles(f"{stream}.{TILES}", prefix, board, [sheet.size for sheet in sheets])


def _without_gaps(parts: Sequence[AssetFile]) -> list[AssetFile]:
    """Return those parts that can be played one after the other, from the first on."""
    return [file for _, file in takewhile(lambda one: one[0] == one[1].part, enumerate(parts))]


def _rendition(name: str, parts: Sequence[AssetFile]) -> Rendition:
    first = parts[0]
    return rendition(
        name,
        [(_relative(file.key), Layout.of(file.layout or "")) for file in parts],
        width=first.width or 0,
        height=first.height or 0,
    )


def _relative(key: str) -> str:
    """Return how a manifest, in its attempt's folder, names the object under *key*."""
    return "../" + "/".join(key.split("/")[_FOLDER:])


def _number(file: AssetFile) -> int:
    number = (file.track or "").rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _height(track: str) -> int:
    side = track.partition("-")[0]
    return int(side) if side.isdecimal() else 0
