"""Files: the objects in storage that an asset consists of."""

from __future__ import annotations

from enum import StrEnum

from media_contracts.envelope import Data
from pydantic import Field


class MediaKind(StrEnum):
    """What a file shows, or that it is sound alone."""

    VIDEO = "video"
    IMAGE = "image"
    AUDIO = "audio"


class Fit(StrEnum):
    """
    How a picture fills its box.

    ``cover`` fills it exactly and crops what juts out, evenly on both sides.
    ``inside`` keeps the whole picture within it and never enlarges.
    """

    COVER = "cover"
    INSIDE = "inside"


class PictureFormat(StrEnum):
    """How a picture is encoded. A ``jpeg`` is a PNG where the picture lets something through."""

    JPEG = "jpeg"
    AVIF = "avif"
    WEBP = "webp"


class Gamut(StrEnum):
    """Which colours a picture can have, by CSS's names."""

    SRGB = "srgb"
    DISPLAY_P3 = "display-p3"
    """More than sRGB: those of most screens of phones and laptops."""


class Crop(StrEnum):
    """What a crop keeps in its middle where nobody gave a focus: see Focus."""

    MIDDLE = "middle"
    ATTENTION = "attention"
    """What people look at first, as far as edges, skin and strong colours tell."""


class Focus(Data):
    """
    What a crop keeps in its middle, as far as the picture reaches: a point of what people see.

    0 is the left or upper edge, 1 the right or lower one.
    """

    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)


class About(Data):
    """
    What whoever uploaded a file says of it: its ``title``, ``alt`` for those who do not see it.

    ``focus`` is what crops of it keep in their middle; without one ``crop`` says it. ``metadata``
    is the client's own: the pipeline keeps it, tells it, and finds assets by it.
    """

    title: str | None = Field(default=None, min_length=1, examples=["The harbour at dusk"])
    alt: str | None = Field(default=None, min_length=1, examples=["Two boats at a pier"])
    focus: Focus | None = None
    crop: Crop | None = None
    metadata: dict[str, str] | None = Field(default=None, examples=[{"order": "4711"}])


class Placeholder(Data):
    """
    What stands in for a picture until it is there.

    ``thumbhash`` is its ThumbHash in Base64: a blurred picture of the same shape in some 25 bytes.
    ``colour`` is the mean of its visible pixels, as CSS writes it.
    """

    thumbhash: str = Field(min_length=8, max_length=40, pattern=r"^[A-Za-z0-9+/]+={0,2}$",
                           examples=["1QcSHQRnh493V4dIh4eXh1h4kJUI"])  # fmt: skip
    colour: str = Field(pattern=r"^#[0-9a-f]{6}$", examples=["#7a8b5c"])


class FileKind(StrEnum):
    """What a file is to its asset."""

    ORIGINAL = "original"
    VIDEO = "video"
    IMAGE = "image"
    AUDIO = "audio"
    THUMBNAIL = "thumbnail"
    PICTURE = "picture"
    RESPONSIVE = "responsive"
    """One size, in one format, of a picture of which browsers take the size that fits."""
    ANIMATION = "animation"
    """A moving image as a film."""
    PREVIEW = "preview"
    """A moving picture of a few moments."""
    TEXT = "text"
    """What is said or written in a video, as WebVTT in one language."""
    SEGMENT = "segment"
    """A piece of a stream, which players find in its manifests."""


class Track(Data):
    """
    One size of a stream's pictures in one codec, or its sound, which has no width and height.

    Its name says a codec that is not H.264: ``720-av1``.
    ``codec`` is as RFC 6381 writes it, sizes are in pixels and bytes, ``bits_per_second`` is the
    mean. ``ssim`` is how near its luma is to what was encoded, 1 of equal pictures: their mean.
    ``vmaf`` is how good it looks beside the source in the largest size, 100 of no difference: the
    mean of samples, where the profile asks for it.
    """

    name: str = Field(min_length=1, examples=["720"])
    codec: str = Field(examples=["avc1.64001f"])
    size: int = Field(ge=0)
    bits_per_second: int = Field(ge=0)
    duration_seconds: float = Field(ge=0)
    width: int | None = Field(default=None, gt=0)
    height: int | None = Field(default=None, gt=0)
    ssim: float | None = Field(default=None, ge=0, le=1, examples=[0.981])
    vmaf: float | None = Field(default=None, ge=0, le=100, examples=[93.4])


class Stream(Data):
    """What players get by HLS and DASH: its tracks, the smallest first, sound last or alone."""

    name: str = Field(min_length=1, examples=["video"])
    tracks: list[Track] = Field(min_length=1)


class Command(Data):
    """
    What a task of an attempt has run, without what all such commands have.

    Its *arguments* have no paths; ``SOURCE`` is the upload.
    """

    task: str = Field(min_length=1, examples=["video-early"])
    program: str = Field(min_length=1, examples=["ffmpeg"])
    version: str | None = Field(default=None, examples=["5.1.9-0+deb12u1"])
    arguments: list[str]


class Receipt(Data):
    """
    How the files of an attempt were made.

    ``cpu_seconds`` are those of ffmpeg's processes for each output, by its name, and for
    ``inspect``. Of a stream's chunks ``commands`` has those of the first two: the others differ in
    their times alone.
    """

    cpu_seconds: dict[str, float] = Field(examples=[{"inspect": 0.2, "video": 41.7}])
    commands: list[Command]


class Text(Data):
    """
    What a text of a video is, as its file says.

    ``language`` is a tag of BCP 47, ``und`` where it is unknown. A text that is ``forced`` is for
    all who watch, whatever they have chosen; a ``default`` one is shown unless they choose another.
    """

    language: str = Field(default="und", min_length=2, max_length=35, examples=["en"])
    title: str | None = Field(default=None, min_length=1)
    forced: bool = False
    default: bool = False
    hearing_impaired: bool = False


class MediaFile(Data):
    """
    One stored file. Its name is unique within an attempt. Sizes are in bytes and pixels.

    ``kind`` is one of FileKind, to which later versions add. ``sha256`` (hexadecimal) is set where
    the bytes were hashed, ``text`` where it is one, ``placeholder`` where it is a picture.
    ``loops`` is how often an animation is to be shown, 0 without end.
    """

    name: str = Field(min_length=1, examples=["video"])
    kind: str = Field(pattern=r"^[a-z][a-z0-9_]*$", examples=["video"])
    key: str = Field(min_length=1)
    content_type: str
    size: int = Field(ge=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    width: int | None = Field(default=None, gt=0)
    height: int | None = Field(default=None, gt=0)
    duration_seconds: float | None = Field(default=None, ge=0)
    text: Text | None = None
    placeholder: Placeholder | None = None
    loops: int | None = Field(default=None, ge=0)
