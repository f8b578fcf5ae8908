"""Every message of the pipeline. A published version never changes but by optional fields."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal, TypeAlias

from media_contracts.envelope import Data, Payload, Timestamp
from media_contracts.files import (
    About,
    Crop,
    Fit,
    Focus,
    Gamut,
    MediaFile,
    MediaKind,
    PictureFormat,
    Placeholder,
    Receipt,
    Stream,
)
from media_contracts.probe import Probe
from media_contracts.profiles import ProfileRef
from pydantic import Field

PlayedOrShown: TypeAlias = Literal[MediaKind.VIDEO, MediaKind.IMAGE]
"""What is played, sound alone as well, or shown: who reads version 1 knows these two alone."""


def played_or_shown(kind: MediaKind) -> PlayedOrShown:
    """Return what events call an upload of a kind."""
    return MediaKind.IMAGE if kind is MediaKind.IMAGE else MediaKind.VIDEO


class AssetStatus(StrEnum):
    """Where an asset is in its life."""

    PENDING = "pending"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DELETED = "deleted"


class Stage(StrEnum):
    """A milestone within one attempt, in the order in which clients see them."""

    UPLOADED = "uploaded"
    PROBED = "probed"
    TRANSCODING = "transcoding"
    TRANSCODED = "transcoded"
    THUMBNAILED = "thumbnailed"


class ErrorInfo(Data):
    """Why something failed: a stable code for programs, a sentence for people."""

    code: str = Field(pattern=r"^[a-z][a-z0-9_]*$", examples=["unsupported_media"])
    message: str = Field(min_length=1)


class WarningInfo(Data):
    """What a file is ready in spite of: a stable code for programs, a sentence for people."""

    code: str = Field(pattern=r"^[a-z][a-z0-9_]*$", examples=["sound_left_out"])
    message: str = Field(min_length=1)


class ObjectRef(Data):
    """
    One immutable object in storage.

    Whoever reads it refuses other bytes than those of ``sha256`` (hexadecimal), where it is given.
    """

    bucket: str = Field(min_length=1)
    key: str = Field(min_length=1)
    version_id: str | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class PictureSpec(Data):
    """
    A picture that is wanted: its name, its box in pixels, and the key to store it under.

    ``at_seconds`` is the moment of a video that it shows; null chooses one that shows something.
    ``format`` is one of a picture that comes in several sizes; null is a JPEG of higher quality.
    ``focus`` is what a crop keeps in its middle; where it is null, ``crop`` says it,
    and null of that is the middle. ``gamut`` is what it keeps of a source whose colours are wider
    than sRGB; null is sRGB.
    """

    name: str = Field(min_length=1, examples=["thumbnail"])
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    fit: Fit
    key: str = Field(min_length=1)
    at_seconds: float | None = Field(default=None, ge=0)
    format: PictureFormat | None = None
    focus: Focus | None = None
    crop: Crop | None = None
    gamut: Gamut | None = None


class Picture(Data):
    """
    A picture that was made and stored. Sizes are in pixels and bytes.

    ``sha256`` (hexadecimal) is that of its bytes. ``placeholder`` is of the whole picture, also
    where it is a crop.
    """

    name: str = Field(min_length=1)
    bucket: str
    key: str
    content_type: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    size: int = Field(gt=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    placeholder: Placeholder | None = None


class Rendition(Data):
    """The processed file that clients are served. Sizes are in pixels and bytes."""

    bucket: str
    key: str
    content_type: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    size: int = Field(gt=0)
    duration_seconds: float | None = Field(default=None, ge=0)


class ThumbnailRequested(Payload):
    """
    Make these pictures of one uploaded object. ``duration_seconds`` is null for images.

    ``kind`` is of a video also where a picture that goes with a sound is wanted.

    The answer repeats ``task``, which says what asked for them.
    """

    event_type: ClassVar[str] = "media.thumbnail.requested.v1"

    attempt: int = Field(ge=1)
    kind: PlayedOrShown
    content_type: str
    source: ObjectRef
    duration_seconds: float | None = Field(default=None, ge=0)
    pictures: list[PictureSpec] = Field(min_length=1)
    task: str | None = None


class ThumbnailMade(Payload):
    """
    All pictures that one request asked for are in storage.

    ``seconds`` is what they took, ``warnings`` are codes of what they were made in spite of.
    """

    event_type: ClassVar[str] = "media.thumbnail.made.v1"

    attempt: int = Field(ge=1)
    pictures: list[Picture] = Field(min_length=1)
    task: str | None = None
    seconds: float | None = Field(default=None, ge=0)
    warnings: list[str] | None = None


class ImageCheckRequested(Payload):
    """
    Check an uploaded image, and make these pictures of it where that is quick.

    It is to have ``size`` bytes and to be of ``content_type``, or, where ``accept_other_types``,
    another image; one of more than ``max_frames`` frames is refused. Where decoding it may take
    ``quick_seconds`` or longer, no picture is made. The answer repeats ``task``.
    """

    event_type: ClassVar[str] = "media.image.check_requested.v1"

    attempt: int = Field(ge=1)
    task: str
    source: ObjectRef
    size: int = Field(gt=0)
    content_type: str
    accept_other_types: bool
    max_frames: int = Field(ge=1)
    quick_seconds: float = Field(gt=0)
    pictures: list[PictureSpec]


class ImageChecked(Payload):
    """
    An uploaded image is what its grant allowed.

    ``sha256`` (hexadecimal) is that of the upload, ``content_type`` and ``format`` what it is by
    its bytes; ``width`` and ``height`` are in pixels, as people see it. ``scans`` is how often a
    decoder goes over a JPEG. ``pictures`` are those that were asked for, or none. ``seconds`` is
    what all took, ``warnings`` are codes of what the image is taken in spite of.
    """

    event_type: ClassVar[str] = "media.image.checked.v1"

    attempt: int = Field(ge=1)
    task: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    content_type: str
    format: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    frames: int = Field(ge=1)
    scans: int = Field(ge=1)
    hdr: bool
    pictures: list[Picture]
    seconds: float = Field(ge=0)
    warnings: list[str] | None = None


class ThumbnailFailed(Payload):
    """
    The object is refused, or no picture can be made of it.

    Asking again would give the same answer.
    """

    event_type: ClassVar[str] = "media.thumbnail.failed.v1"

    attempt: int = Field(ge=1)
    error: ErrorInfo
    task: str | None = None
    seconds: float | None = Field(default=None, ge=0)


class AssetStatusChanged(Payload):
    """
    An asset entered ``status``. ``previous_status`` is null for a new asset.

    ``thumbnail_kept`` tells of a deletion that leaves the thumbnail; it ends with another event
    of ``deleted``.
    """

    event_type: ClassVar[str] = "media.asset.status_changed.v1"

    attempt: int = Field(ge=1)
    status: AssetStatus
    previous_status: AssetStatus | None = None
    error: ErrorInfo | None = None
    thumbnail_kept: bool | None = None


class AssetProgressed(Payload):
    """
    An asset reached ``stage`` of its attempt; ``percent`` (0-100) is set while transcoding.

    With ``thumbnailed`` comes what can be shown before any picture is loaded: ``placeholder``,
    and the ``width`` and ``height`` of the upload in pixels, as people see it.

    Transcoding percentages are best effort: at most one a second, and some may be missing.
    """

    event_type: ClassVar[str] = "media.asset.progressed.v1"

    attempt: int = Field(ge=1)
    stage: Stage
    percent: float | None = Field(default=None, ge=0, le=100)
    placeholder: Placeholder | None = None
    width: int | None = Field(default=None, gt=0)
    height: int | None = Field(default=None, gt=0)


class AssetPlayable(Payload):
    """
    The beginning of a video can be played while the rest is made; ``seconds`` are there so far.

    It may come again after a retry, and may not come at all for what is made in one piece.
    """

    event_type: ClassVar[str] = "media.asset.playable.v1"

    attempt: int = Field(ge=1)
    seconds: float = Field(gt=0)
    duration_seconds: float = Field(gt=0)


class AssetEstimated(Payload):
    """
    An asset that is not ready yet has this ``place`` among those of its company: 1 is ready next.

    ``ready_in_seconds`` is from the event's time on, by what such work took lately; it is not there
    where nothing tells. Best effort: an asset hears it once in a few seconds at most, when it is
    another one than a client would count down to.
    """

    event_type: ClassVar[str] = "media.asset.estimated.v1"

    attempt: int = Field(ge=1)
    place: int = Field(ge=1)
    ready_in_seconds: int | None = Field(default=None, ge=1)


class BatchDecided(Payload):
    """
    None of a batch's ``uploads`` is awaited or processed any more. The batch is the subject.

    The other counts say what became of them. Where some go on after that, as after a retry, the
    batch is decided anew and this is told again. ``metadata`` is the client's own.
    """

    event_type: ClassVar[str] = "media.batch.decided.v1"

    uploads: int = Field(ge=1)
    ready: int = Field(ge=0)
    failed: int = Field(ge=0)
    expired: int = Field(ge=0)
    cancelled: int = Field(ge=0)
    deleted: int = Field(ge=0)
    metadata: dict[str, str] | None = None


class WebhookDisabled(Payload):
    """
    An endpoint, which is the event's subject, is sent nothing any more: it took nothing for days.

    It may be enabled again; what happened meanwhile is not sent to it.
    """

    event_type: ClassVar[str] = "media.webhook.disabled.v1"

    url: str
    failing_since: Timestamp


class WebhookPing(Payload):
    """A test of an endpoint, which is the event's subject. It is sent to this one alone."""

    event_type: ClassVar[str] = "media.webhook.ping.v1"


class MediaProcessed(Payload):
    """
    The outcome of one attempt, decided once: ``ready`` with its files, or ``failed`` with why.

    ``content_type``, ``size`` (bytes), ``sha256`` (hexadecimal) and ``probe`` describe the upload,
    ``profile`` says what was wanted of it; ``files`` is all that was made of it, of which
    ``rendition`` is the one to play or show, and ``thumbnail`` the one for lists; ``streams`` are
    those of a video, whose files are too many to tell. ``warnings`` is what it is ready in spite
    of. ``receipt`` says how the files were made, ``about`` what its client says of the upload.

    Sound alone is of kind ``video``, as what is played. It has no ``rendition``, which has a width
    and a height: its file is the one of kind ``audio`` among ``files``.
    """

    event_type: ClassVar[str] = "media.asset.processed.v1"

    attempt: int = Field(ge=1)
    outcome: Literal["ready", "failed"]
    file_name: str
    content_type: str
    size: int = Field(ge=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    kind: PlayedOrShown
    profile: ProfileRef | None = None
    rendition: Rendition | None = None
    thumbnail: Picture | None = None
    files: list[MediaFile] | None = None
    streams: list[Stream] | None = None
    probe: Probe | None = None
    warnings: list[WarningInfo] | None = None
    receipt: Receipt | None = None
    about: About | None = None
    error: ErrorInfo | None = None
    created_at: Timestamp
    processed_at: Timestamp
