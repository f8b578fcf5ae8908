"""The JSON of assets, and what all JSON of the API is made of."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from media_contracts import About, AssetStatus, Crop, FileKind, Stream
from media_contracts.envelope import Timestamp
from media_contracts.errors import ErrorCode
from media_contracts.profiles import MAX_MOMENT_SECONDS
from media_contracts.warnings import WarningCode
from media_records.files import (
    TILES,
    Files,
    loops_of,
    media_of,
    original_of,
    placeholder_among,
    responsive_of,
    text_of,
    thumbnail_of,
)
from media_records.lifecycle import about, warnings_of
from media_records.tables import Asset, AssetFile, AssetWait, Batch
from media_runtime.http.app import ApiError
from media_runtime.http.links import LinkKind, LinkSigner
from media_runtime.storage.keys import output_key
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictFloat,
)
from pydantic.alias_generators import to_camel
from sign_api.domain import (
    MAX_WORDS,
)

# In the order in which browsers try them: what takes the fewest bytes first.
_MODERN = ("image/avif", "image/webp")
_SHOWN = frozenset(FileKind) - {FileKind.ORIGINAL, FileKind.SEGMENT}


class View(BaseModel):
    """An object of the API, whose names are in camel case outside."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


def _texts(value: object) -> object:
    # Its own errors would have the place of one word, which may be the name of another field.
    if isinstance(value, dict) and not all(isinstance(text, str) for text in value.values()):
        raise ValueError("all of it must be texts")
    return value


Metadata = Annotated[
    dict[str, str] | None,
    BeforeValidator(_texts),
    Field(
        description="Words of the client's own, by which it is found.",
        examples=[{"order": "4711"}],
        json_schema_extra={
            "maxProperties": MAX_WORDS,
            "propertyNames": {"pattern": "^[A-Za-z0-9_.-]{1,40}$"},
            "additionalProperties": {"type": "string", "maxLength": 500},
        },
    ),
]


class FocusView(View):
    """A point of what people see: 0 is the left or upper edge, 1 the right or lower one."""

    x: float = Field(strict=True, ge=0, le=1, allow_inf_nan=False, examples=[0.3])
    y: float = Field(strict=True, ge=0, le=1, allow_inf_nan=False, examples=[0.6])


class CropRequest(View):
    """
    What an asset's crops shall have in their middle.

    Where ``focus`` is null, ``crop`` says it: ``middle`` or null is that of the whole,
    ``attention`` what people look at first.
    """

    focus: FocusView | None
    crop: Crop | None = None


class PosterRequest(View):
    """The moment of a video that its pictures shall show; null chooses one that shows something."""

    at_seconds: StrictFloat | None = Field(
        ge=0,
        le=MAX_MOMENT_SECONDS,
        allow_inf_nan=False,
        description="On the clock that the video is played by. After its end the last picture "
        "counts.",
        examples=[12.5],
    )


class AssetError(View):
    """Why the asset failed."""

    code: str = Field(examples=[ErrorCode.UNSUPPORTED_CODEC])
    message: str


class AssetWarning(View):
    """What the asset is ready in spite of."""

    code: str = Field(examples=[WarningCode.SOUND_LEFT_OUT])
    message: str


class ColourView(View):
    """The colour that the file says it has; null where it says nothing."""

    primaries: str | None = Field(default=None, examples=["bt709"])
    transfer: str | None = Field(default=None, examples=["bt709"])
    matrix: str | None = Field(default=None, examples=["bt709"])
    range: str | None = Field(default=None, examples=["tv"])


class SoundView(View):
    """One track of sound."""

    codec: str = Field(examples=["aac"])
    channels: int
    layout: str | None = Field(default=None, examples=["stereo"])


class TextTrackView(View):
    """One track of text, or of pictures of text."""

    codec: str = Field(examples=["subrip"])
    language: str = Field(examples=["en"])


class ProbeView(View):
    """
    What the uploaded file is. ``width`` and ``height`` are in pixels as people see it.

    ``rotation`` is how far players turn the stored picture, in degrees clockwise.
    """

    container: str = Field(examples=["mov,mp4,m4a,3gp,3g2,mj2"])
    codec: str | None = Field(default=None, examples=["h264"])
    width: int | None = None
    height: int | None = None
    rotation: int | None = None
    duration_seconds: float | None = None
    frame_rate: float | None = None
    frames: int | None = None
    colour: ColourView | None = None
    hdr: bool | None = None
    sound: list[SoundView] | None = None
    text: list[TextTrackView] | None = None


class ProfileView(View):
    """What is wanted of the upload: the profile that was in force when it was signed."""

    name: str = Field(examples=["default"])
    version: int


class TextView(View):
    """
    What a text of a video is. ``language`` is a tag of BCP 47, ``und`` where it is unknown.

    A text that is ``forced`` is for all who watch; a ``default`` one is shown unless they choose.
    """

    language: str = Field(examples=["en"])
    title: str | None = Field(default=None, examples=["English for those who cannot hear"])
    forced: bool = False
    default: bool = False
    hearing_impaired: bool = False


class FileView(View):
    """One file that was made of the upload, under its name in the profile."""

    name: str = Field(examples=["thumbnail"])
    kind: str = Field(examples=["thumbnail"])
    url: str
    content_type: str = Field(examples=["image/jpeg"])
    size: int
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    text: TextView | None = None
    loops: int | None = Field(
        default=None, description="How often an animation is to be shown; 0 is without end."
    )


class PlaceholderView(View):
    """
    What a page shows until a picture is there.

    ``thumbhash`` is its ThumbHash in Base64, ``colour`` the mean of its pixels.
    """

    thumbhash: str = Field(examples=["1QcSHQRnh493V4dIh4eXh1h4kJUI"])
    colour: str = Field(examples=["#7a8b5c"])


class SourceView(View):
    """A ``source`` of HTML's ``picture``: the same picture in one format."""

    type: str = Field(examples=["image/avif"])
    srcset: str = Field(examples=["https://media.example.com/…-320.avif 320w, https://… 640w"])


class ResponsiveView(View):
    """
    A picture in several sizes and formats, as HTML wants it.

    ``sources`` go into a ``picture`` in this order; its ``img`` has ``src``, ``srcset``, and the
    ``width`` and ``height`` (pixels), which keep its place on the page. Say ``sizes`` yourself.
    """

    name: str = Field(examples=["responsive"])
    sources: list[SourceView]
    src: str
    srcset: str
    width: int
    height: int


class TrackView(View):
    """
    One size of a stream's pictures in one codec, or its sound, which has no width and height.

    ``codec`` is as RFC 6381 writes it, ``ssim`` is how near its pictures are to what was encoded,
    ``vmaf`` how good they look beside the source, where the profile asks for it.
    """

    name: str = Field(examples=["720"])
    codec: str = Field(examples=["avc1.64001f"])
    size: int
    bits_per_second: int
    duration_seconds: float
    width: int | None = None
    height: int | None = None
    ssim: float | None = Field(default=None, examples=[0.981])
    vmaf: float | None = Field(default=None, examples=[93.4])


class StreamView(View):
    """What players get by HLS and DASH, track by track."""

    name: str = Field(examples=["video"])
    tracks: list[TrackView]


class AssetView(View):
    """
    An asset as its company sees it.

    ``title``, ``alt``, ``focus``, ``crop`` and ``metadata`` are as its client said.
    ``size`` and ``type`` are those declared for the upload, ``sha256`` is that of its bytes;
    ``width``, ``height`` (pixels) and ``durationSeconds`` describe the processed file, ``probe``
    the uploaded one. URLs are null and ``files`` is empty until the asset is ready, but for
    ``hlsUrl``: it is there as soon as a video's beginning can be played, and its playlists grow.
    ``placeholder`` is there as soon as its thumbnail is made.

    ``place`` is one among the company's own assets that are not ready yet: 1 is ready next.
    ``readyInSeconds`` goes by what such work took lately and by who waits as well; it is null
    where nothing tells, and both are once the asset is ready.
    """

    asset_id: UUID
    company_id: UUID
    file_name: str
    type: str
    size: int
    sha256: str | None = None
    title: str | None = None
    alt: str | None = None
    focus: FocusView | None = None
    crop: Crop | None = None
    metadata: dict[str, str] = Field(default_factory=dict, examples=[{"order": "4711"}])
    batch_id: UUID | None = Field(default=None, description="The batch that it came in, if any.")
    status: AssetStatus
    profile: ProfileView
    place: int | None = Field(default=None, ge=1)
    ready_in_seconds: int | None = Field(default=None, ge=1)
    processed_url: str | None = None
    hls_url: str | None = None
    dash_url: str | None = None
    storyboard_url: str | None = None
    thumbnail_url: str | None = None
    preview_url: str | None = None
    animation_url: str | None = None
    placeholder: PlaceholderView | None = None
    responsive: list[ResponsiveView] = Field(default_factory=list)
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    error: AssetError | None = None
    probe: ProbeView | None = None
    warnings: list[AssetWarning] = Field(default_factory=list)
    files: list[FileView] = Field(default_factory=list)
    streams: list[StreamView] | None = Field(
        default=None, description="Of one asset that is ready; null in lists."
    )
    created_at: Timestamp
    updated_at: Timestamp
    processed_at: Annotated[Timestamp | None, Field(default=None)] = None


class AssetPage(View):
    """Assets, newest first. ``nextCursor`` is null on the last page."""

    items: list[AssetView]
    next_cursor: str | None = None


def asset_view(
    asset: Asset,
    files: Files,
    links: LinkSigner,
    wait: AssetWait | None = None,
    streams: Sequence[Stream] | None = None,
) -> AssetView:
    """
    Return the asset with its files as its company sees it.

    *wait* is what was told last of how long it waits, *streams* are those of a ready one.
    """
    original = original_of(files)
    if wait and (asset.status != AssetStatus.PROCESSING or wait.attempt != asset.attempt):
        wait = None
    shown = files
    if asset.status not in {AssetStatus.READY, AssetStatus.DELETED}:
        shown = ()  # an attempt that is not decided yet shows its beginning alone
    media, thumbnail = media_of(shown), thumbnail_of(shown)
    said = about(asset) or About()
    preview = next((file for file in shown if file.kind == FileKind.PREVIEW), None)
    animation = next((file for file in shown if file.kind == FileKind.ANIMATION), None)
    stream = _stream(asset, files)
    return AssetView(
        asset_id=asset.id,
        company_id=asset.company_id,
        file_name=asset.file_name,
        type=asset.content_type,
        size=asset.size,
        sha256=original.sha256 if original else None,
        title=said.title,
        alt=said.alt,
        focus=FocusView(x=said.focus.x, y=said.focus.y) if said.focus else None,
        crop=said.crop,
        metadata=said.metadata or {},
        batch_id=asset.batch_id,
        status=AssetStatus(asset.status),
        profile=ProfileView(name=asset.profile, version=asset.profile_version),
        place=wait.place if wait else None,
        ready_in_seconds=_seconds_until(wait.ready_at) if wait else None,
        processed_url=links.link(media.key, LinkKind.MEDIA) if media else None,
        hls_url=links.link(f"{stream}.m3u8", LinkKind.MEDIA) if stream else None,
        dash_url=links.link(f"{stream}.mpd", LinkKind.MEDIA) if stream and media else None,
        storyboard_url=links.link(f"{stream}.{TILES}.vtt", LinkKind.MEDIA)
        if stream and media and any(file.track == TILES for file in files)
        else None,
        thumbnail_url=links.link(thumbnail.key, LinkKind.THUMBNAIL) if thumbnail else None,
        preview_url=links.link(preview.key, LinkKind.MEDIA) if preview else None,
        animation_url=links.link(animation.key, LinkKind.MEDIA) if animation else None,
        placeholder=_placeholder(files),
        responsive=[_responsive(name, made, links) for name, made in responsive_of(shown).items()],
        duration_seconds=media.duration_seconds if media else None,
        width=media.width if media else None,
        height=media.height if media else None,
        error=AssetError(code=asset.error_code, message=asset.error_message or "")
        if asset.error_code
        else None,
        probe=ProbeView.model_validate_json(asset.probe) if asset.probe else None,
        warnings=[AssetWarning(code=one.code, message=one.message) for one in warnings_of(asset)],
        files=[_file_view(file, links) for file in shown if file.kind in _SHOWN],
        streams=None
        if streams is None
        else [StreamView.model_validate(one.model_dump()) for one in streams],
        created_at=asset.created_at,
        updated_at=asset.updated_at,
        processed_at=asset.processed_at,
    )


def _seconds_until(moment: datetime | None) -> int | None:
    """Return how many seconds are left; None when they are over, and nobody has said more."""
    left = (moment - datetime.now(UTC)).total_seconds() if moment else 0.0
    return math.ceil(left) if left > 0 else None


def _stream(asset: Asset, files: Files) -> str | None:
    """Return what the keys of a stream's manifests begin with; there are no objects under them."""
    if asset.status not in {AssetStatus.PROCESSING, AssetStatus.READY}:
        return None
    media = media_of(files)
    # The sound of a film may be there before its pictures: alone it is a stream once it is whole.
    is_whole = asset.status == AssetStatus.READY
    streams = {
        file.stream
        for file in files
        if file.stream and file.track != TILES and (file.width or is_whole)
    }
    name = media.name if media and media.name in streams else next(iter(sorted(streams)), None)
    return output_key(asset.company_id, asset.id, asset.attempt, name) if name else None


def _file_view(file: AssetFile, links: LinkSigner) -> FileView:
    is_thumbnail = file.kind == FileKind.THUMBNAIL
    text = text_of(file)
    return FileView(
        name=file.name,
        kind=file.kind,
        url=links.link(file.key, LinkKind.THUMBNAIL if is_thumbnail else LinkKind.MEDIA),
        content_type=file.content_type,
        size=file.size,
        sha256=file.sha256,
        width=file.width,
        height=file.height,
        duration_seconds=file.duration_seconds,
        text=TextView(**text.model_dump()) if text else None,
        loops=loops_of(file),
    )


def _placeholder(files: Files) -> PlaceholderView | None:
    found = placeholder_among(files)
    return PlaceholderView(**found.model_dump()) if found else None


def _responsive(name: str, files: Files, links: LinkSigner) -> ResponsiveView:
    # What all browsers know has a name without an ending.
    plain = [file for file in files if "." not in file.name]
    largest = plain[-1]
    urls = {file.name: links.link(file.key, LinkKind.MEDIA) for file in files}

    def srcset(of: Iterable[AssetFile]) -> str:
        return ", ".join(f"{urls[file.name]} {file.width}w" for file in of)

    return ResponsiveView(
        name=name,
        sources=[
            SourceView(type=one, srcset=srcset(made))
            for one in _MODERN
            if (made := [file for file in files if file.content_type == one])
        ],
        src=urls[largest.name],
        srcset=srcset(plain),
        width=largest.width or 0,
        height=largest.height or 0,
    )


def encode_cursor(asset: Asset | Batch) -> str:
    """Return the position right after *asset* in the list."""
    position = f"{asset.created_at.astimezone(UTC).isoformat()}|{asset.id}"
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Return the position that encode_cursor wrote; raises ApiError for anything else."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        moment, _, asset_id = base64.urlsafe_b64decode(padded.encode()).decode().partition("|")
        return datetime.fromisoformat(moment).astimezone(UTC), UUID(asset_id)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise ApiError(ErrorCode.INVALID_CURSOR) from error
