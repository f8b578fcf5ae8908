"""
Profiles: what is to be made of an upload, and under which names it is found.

A published profile never changes: another version takes its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from media_contracts.envelope import ContractError, Data
from media_contracts.files import Crop, FileKind, Fit, Focus, Gamut, MediaKind, PictureFormat
from pydantic import Field, PlainSerializer, ValidationError, model_validator

MAX_OUTPUTS = 32
MAX_PROFILE_BYTES = 64 * 1024
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
MAX_STREAMS = 4
MAX_VIDEO_SIDE = 8192
MAX_SIZES = 8
MAX_FRAME_RATE = 60
MAX_MOMENT_SECONDS = 604_800
MAX_MOMENTS = 8
MAX_PICTURE_SIDE = 6144
MAX_RESPONSIVE_SIDE = 3840
MAX_PICTURE_PIXELS = 54_000_000
"""Of all pictures of one upload together: what a thumbnailer makes, and holds, at once."""

# Tasks and files of these names are there without any profile.
_TAKEN = frozenset({"original", "inspect", "pictures"})
_THUMBNAIL = "thumbnail"
_ERRORS_TOLD, _CHARACTERS_TOLD = 3, 300

Name: TypeAlias = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A name of a profile, or of an output."""
Preset: TypeAlias = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]
"""How libx264 trades time for size."""
Codec: TypeAlias = Literal["h264", "hevc", "av1"]
"""What the pictures of a video are encoded by."""


Sources: TypeAlias = Annotated[
    frozenset[MediaKind], PlainSerializer(sorted, return_type=list[MediaKind])
]
"""Kinds of uploads, written in one order."""


Shape: TypeAlias = Annotated[str, Field(pattern=r"^[1-9]\d{0,1}:[1-9]\d{0,1}$")]
"""Width to height."""


class Output(Data):
    """
    One thing that is wanted. Its name is unique in its profile, and the name of its file.

    An upload of which a *required* one cannot be made fails. Of one company's uploads, outputs
    of the lowest *priority* are made first.
    """

    name: Name = Field(examples=["thumbnail"])
    required: bool = True
    priority: int = Field(default=0, ge=-100, le=100)


class Watermark(Data):
    """
    A picture on a video: that of an image of the same company, which is to stay.

    It lies at ``place``, as wide as this share of the video, and this share of its shorter side
    away from its edges. One that would not fit is smaller. ``opacity`` is 1 of what hides what is
    behind it; transparent parts of the picture stay so.
    """

    asset_id: UUID
    place: Literal["top-left", "top-right", "bottom-left", "bottom-right", "middle"] = (
        "bottom-right"
    )
    width: float = Field(default=0.15, ge=0.01, le=1)
    margin: float = Field(default=0.03, ge=0, le=0.4)
    opacity: float = Field(default=1, gt=0, le=1)


class VideoOutput(Output):
    """
    A video, H.264 with AAC: a stream in several sizes, and one MP4 file of the largest.

    Its sides, in pixels, are those of the source at most. Smaller sizes are those of
    ``short_sides`` that are clearly smaller. The stream has each size in each of ``codecs``, of
    which H.264, which all players know, is the first. ``crf`` is libx264's quality: 0 is lossless,
    51 the worst; other codecs have what looks alike. With ``ssim`` each film gets a CRF of its own,
    from 16 to 36, that leaves about so much of its luma in the largest size, 1 of all: two films by
    one CRF do not look alike. What cannot be tried has ``crf``. With ``vmaf``, how good each size
    looks is measured, and told. A source of more than
    ``max_frame_rate`` pictures a second has each second one, third one, and so on. ``loudness`` is
    that of the whole, in LUFS; null leaves the sound as loud as it is. With ``text``, subtitles of
    the source that are text become WebVTT, which the stream offers. A ``watermark`` is on its
    frames, and not on pictures of it.
    """

    type: Literal["video"] = "video"
    codecs: tuple[Codec, ...] = ("h264",)
    max_long_side: int = Field(default=1920, ge=2, le=MAX_VIDEO_SIDE)
    max_short_side: int = Field(default=1080, ge=2, le=MAX_VIDEO_SIDE)
    short_sides: tuple[Annotated[int, Field(ge=2, le=MAX_VIDEO_SIDE)], ...] = Field(
        default=(240, 360, 480, 720, 1080), max_length=MAX_SIZES
    )
    max_frame_rate: int = Field(default=MAX_FRAME_RATE, ge=10, le=MAX_FRAME_RATE)
    crf: int = Field(default=23, ge=0, le=51)
    ssim: float | None = Field(default=None, ge=0.8, lt=1)
    vmaf: bool = False
    preset: Preset = "veryfast"
    loudness: float | None = Field(default=-16, ge=-40, le=-5)
    text: bool = True
    watermark: Watermark | None = None

    @model_validator(mode="after")
    def _every_player_has_one(self) -> VideoOutput:
        if self.codecs[:1] != ("h264",):
            raise ValueError("The first codec of a video is h264, which all players know")
        if len(set(self.codecs)) < len(self.codecs):
            raise ValueError("A video has each codec once")
        return self


class AudioOutput(Output):
    """
    Sound alone, AAC in stereo: a stream, and one MP4 file.

    ``kbits_per_second`` is what it takes. ``loudness`` is that of the whole, in LUFS; null leaves
    the sound as loud as it is.
    """

    type: Literal["audio"] = "audio"
    codec: Literal["aac"] = "aac"
    sources: Sources = Field(default=frozenset({MediaKind.AUDIO}), min_length=1)
    """The kinds of uploads of which it is made; an image has no sound."""
    kbits_per_second: int = Field(default=128, ge=32, le=320)
    loudness: float | None = Field(default=-16, ge=-40, le=-5)


class PictureOutput(Output):
    """
    A picture of an image, of a moment of a video, or the one that goes with a sound, in a box.

    The box is in pixels. ``at_seconds`` is the moment of a video, on the clock that it is played
    by: its picture is the one that is shown then, after the end the last one. Null chooses a
    moment that shows something.

    It is a JPEG, or a format with transparency where the source has some.
    """

    type: Literal["picture"] = "picture"
    kind: Literal[FileKind.IMAGE, FileKind.THUMBNAIL, FileKind.PICTURE] = FileKind.PICTURE
    sources: Sources = Field(default=frozenset(MediaKind), min_length=1)
    """The kinds of uploads of which it is made."""
    width: int = Field(gt=0, le=MAX_PICTURE_SIDE)
    height: int = Field(gt=0, le=MAX_PICTURE_SIDE)
    fit: Fit = Fit.INSIDE
    focus: Focus | None = None
    """What a picture that covers its box keeps in its middle; where it is null, ``crop`` says."""
    crop: Crop = Crop.MIDDLE
    at_seconds: float | None = Field(default=None, ge=0, le=MAX_MOMENT_SECONDS)

    @property
    def pixels(self) -> int:
        """What it has at most."""
        return self.width * self.height


class ResponsiveOutput(Output):
    """
    A picture in several sizes and formats, of which each browser takes the one that fits.

    Its sizes have the ``long_sides``, in pixels, that its source has; where the largest is longer
    than the source, there is one as long as that. With ``shape``, width to height, each is cropped
    to it round ``focus`` or, without one, as ``crop`` says. The first of ``formats`` that a browser
    knows is taken: ``jpeg``, which all know and each has, comes last, and is a PNG where something
    shines through. ``gamut`` is of its AVIF files, where the source's colours are wider than sRGB;
    all others are in sRGB. See PictureOutput for ``at_seconds``.
    """

    type: Literal["responsive"] = "responsive"
    sources: Sources = Field(default=frozenset({MediaKind.IMAGE, MediaKind.VIDEO}), min_length=1)
    """The kinds of uploads of which it is made."""
    long_sides: tuple[Annotated[int, Field(ge=16, le=MAX_RESPONSIVE_SIDE)], ...] = Field(
        default=(320, 640, 1280, 1920), min_length=1, max_length=MAX_SIZES
    )
    formats: tuple[PictureFormat, ...] = (PictureFormat.AVIF, PictureFormat.JPEG)
    shape: Shape | None = Field(default=None, examples=["16:9"])
    focus: Focus | None = None
    crop: Crop = Crop.MIDDLE
    gamut: Gamut = Gamut.SRGB
    at_seconds: float | None = Field(default=None, ge=0, le=MAX_MOMENT_SECONDS)

    @model_validator(mode="after")
    def _every_browser_has_one(self) -> ResponsiveOutput:
        if self.formats[-1:] != (PictureFormat.JPEG,):
            raise ValueError("The last format is jpeg, which all browsers know")
        if len(set(self.formats)) < len(self.formats):
            raise ValueError("A picture has each format once")
        if list(self.long_sides) != sorted(set(self.long_sides)):
            raise ValueError("The long sides of a picture are different, and in order")
        if self.gamut is not Gamut.SRGB and PictureFormat.AVIF not in self.formats:
            raise ValueError(f"Only an avif can have the gamut {self.gamut}")
        return self

    @property
    def pixels(self) -> int:
        """What all its pictures together have at most."""
        width, height = (int(side) for side in (self.shape or "1:1").split(":"))
        part = min(width, height) / max(width, height)
        return round(len(self.formats) * part * sum(side * side for side in self.long_sides))


class AnimationOutput(Output):
    """
    A moving image (GIF, APNG, WebP, AVIF) as a silent video, which takes a fraction of its bytes.

    Each frame is shown as long as in the image. It is an MP4 of H.264 on white; where something
    shines through, an animated WebP comes with it, of the same name with ``.webp`` behind. No side
    is longer than ``max_long_side``, in pixels; ``crf`` is libx264's quality.
    """

    type: Literal["animation"] = "animation"
    max_long_side: int = Field(default=1280, ge=16, le=1920)
    crf: int = Field(default=23, ge=0, le=51)


class PreviewOutput(Output):
    """
    A silent moving picture of a few moments of a video: an animated WebP, which lists show.

    It is made of the smallest size of the output ``video``, no side longer than ``max_long_side``,
    in pixels.
    """

    type: Literal["preview"] = "preview"
    video: Name = "video"
    moments: int = Field(default=5, ge=3, le=6)
    max_long_side: int = Field(default=320, ge=64, le=480)


AnyOutput = Annotated[
    VideoOutput | AudioOutput | PictureOutput | ResponsiveOutput | AnimationOutput | PreviewOutput,
    Field(discriminator="type"),
]


class ProfileRef(Data):
    """Which profile an upload was processed by."""

    name: str
    version: int = Field(ge=1)


class Profile(ProfileRef):
    """A named list of outputs."""

    name: Name
    outputs: tuple[AnyOutput, ...] = Field(max_length=MAX_OUTPUTS)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Profile:
        names = [output.name for output in self.outputs]
        # As a limit of the field it would be told of each output that is not valid, too.
        if not names:
            raise ValueError("A profile has one output at least")
        if len(names) != len(set(names)):
            raise ValueError(f"Two outputs of one name in {sorted(names)}")
        if taken := sorted(_TAKEN.intersection(names)):
            raise ValueError(f"No output may be named {' or '.join(taken)}")
        videos = [output.name for output in self.outputs if isinstance(output, VideoOutput)]
        sounds = [output.name for output in self.outputs if isinstance(output, AudioOutput)]
        # The pieces of a stream, and the tasks that make them, have names of that form.
        # So have the sizes of a picture.
        sized = [output.name for output in self.outputs if isinstance(output, ResponsiveOutput)]
        groups = (*videos, *sounds, *sized)
        if any(name.startswith(f"{group}-") for name in names for group in groups):
            raise ValueError(
                "No name may begin with that of a video, a sound or a responsive picture, "
                "and a hyphen"
            )
        if max(len(videos), len(sounds)) > MAX_STREAMS:
            raise ValueError(f"A profile has {MAX_STREAMS} videos and as many sounds at most")
        return self

    @model_validator(mode="after")
    def _previews_are_of_its_videos(self) -> Profile:
        videos = {output.name for output in self.outputs if isinstance(output, VideoOutput)}
        previews = [output for output in self.outputs if isinstance(output, PreviewOutput)]
        animations = [output for output in self.outputs if isinstance(output, AnimationOutput)]
        if len(animations) > MAX_STREAMS:
            raise ValueError(f"A profile has {MAX_STREAMS} animations at most")
        for one in previews:
            if one.video not in videos:
                raise ValueError(f"The preview {one.name} is of a video that the profile has not")
        if len(previews) > MAX_STREAMS:
            raise ValueError(f"A profile has {MAX_STREAMS} previews at most")
        return self

    @model_validator(mode="after")
    def _files_are_found_by_their_kind(self) -> Profile:
        for output in self.outputs:
            is_thumbnail = isinstance(output, PictureOutput) and output.kind == FileKind.THUMBNAIL
            if is_thumbnail != (output.name == _THUMBNAIL):
                raise ValueError("The output of kind thumbnail, and no other, is named thumbnail")
        pictures = [one for one in self.outputs if isinstance(one, PictureOutput)]
        images = [one for one in pictures if one.kind == FileKind.IMAGE]
        if len(images) > 1 or any(one.sources != {MediaKind.IMAGE} for one in images):
            raise ValueError("One output at most is of kind image, and of images alone")
        return self

    @model_validator(mode="after")
    def _pictures_can_be_made_at_once(self) -> Profile:
        for kind in MediaKind:
            pixels = max(
                (sum(one.pixels for one in group) for group in self.made_at_once(kind)), default=0
            )
            if pixels > MAX_PICTURE_PIXELS:
                raise ValueError(
                    f"The pictures of one {kind} have {pixels} pixels together, "
                    f"more than {MAX_PICTURE_PIXELS}"
                )
        if len({one.at_seconds for one in self.pictures}) > MAX_MOMENTS:
            raise ValueError(f"The pictures of a video are of {MAX_MOMENTS} moments at most")
        return self

    @property
    def pictures(self) -> list[PictureOutput | ResponsiveOutput]:
        """Its outputs that are pictures."""
        kinds = PictureOutput, ResponsiveOutput
        return [output for output in self.outputs if isinstance(output, kinds)]

    def made_at_once(self, kind: MediaKind) -> list[list[PictureOutput | ResponsiveOutput]]:
        """Return the pictures of an upload of a *kind*, by what is made of it at once."""
        return made_at_once(kind, self.pictures)

    @property
    def watermarks(self) -> set[UUID]:
        """The assets whose pictures are on its videos."""
        videos = [output for output in self.outputs if isinstance(output, VideoOutput)]
        return {one.watermark.asset_id for one in videos if one.watermark}

    def body(self) -> str:
        """Return its outputs as JSON, with all that a later default could change."""
        return self.model_dump_json(by_alias=True, include={"outputs"})


def made_at_once(
    kind: MediaKind, outputs: Iterable[PictureOutput | ResponsiveOutput]
) -> list[list[PictureOutput | ResponsiveOutput]]:
    """
    Return those of *outputs* that an upload of a *kind* has, by what is made of it at once.

    Of an image these are outputs of one priority, the lowest first: lists wait for a thumbnail, and
    not for large pictures. Of a film all are, as it is searched for its best frame once.
    """
    wanted = sorted((one for one in outputs if kind in one.sources), key=_priority)
    if kind is MediaKind.IMAGE:
        return [list(group) for _, group in groupby(wanted, key=_priority)]
    return [wanted] if wanted else []


def _priority(output: Output) -> int:
    return output.priority


class ProfileError(ContractError):
    """This is no profile; the sentence says why."""


class _Written(Profile):
    """A profile in somebody's file. A version there is that of the one it was made from."""

    version: int = Field(default=1, ge=1)


class _Body(Data):
    outputs: tuple[AnyOutput, ...]


def read_profile(text: bytes) -> Profile:
    """Return the profile that the JSON *text* describes, as version 1; raises ProfileError."""
    if len(text) > MAX_PROFILE_BYTES:
        raise ProfileError(f"It has more than {MAX_PROFILE_BYTES} bytes.")
    try:
        written = _Written.model_validate_json(text, strict=True)
        return Profile(name=written.name, version=1, outputs=written.outputs)
    except ValidationError as error:
        raise ProfileError(_sentence(error)) from error


def stored_profile(name: str, version: int, body: str) -> Profile:
    """Return a profile of the *body* that it was stored with; raises ProfileError."""
    try:
        outputs = _Body.model_validate_json(body).outputs
        return Profile(name=name, version=version, outputs=outputs)
    except ValidationError as error:
        raise ProfileError(_sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [_told(".".join(map(str, one["loc"])), one["msg"]) for one in found[:_ERRORS_TOLD]]
    more = f"; and {len(found) - len(told)} more" if len(found) > len(told) else ""
    return f"{'; '.join(told)}{more}."


def _told(place: str, message: str) -> str:
    # Both may repeat what somebody wrote, whatever its length.
    words = message.removeprefix("Value error, ")
    return (f"{place}: {words}" if place else words)[:_CHARACTERS_TOLD]


DEFAULT = Profile(
    name="default",
    version=1,
    outputs=(
        VideoOutput(name="video"),
        AudioOutput(name="audio"),
        PictureOutput(
            name="image",
            kind=FileKind.IMAGE,
            sources=frozenset({MediaKind.IMAGE}),
            width=4096,
            height=4096,
            priority=1,
        ),
        PictureOutput(
            name="thumbnail", kind=FileKind.THUMBNAIL, width=320, height=240, fit=Fit.COVER
        ),
        ResponsiveOutput(name="responsive", priority=1),
        AnimationOutput(name="animation", priority=1),
    ),
)
"""
What every upload gets: a video, a sound or an image to show, a thumbnail for lists, then its
picture in the sizes that pages want, and a film of what moves.
"""
