"""What plans and tasks know of a source, and what a task gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from ingest.domain import Size
from ingest.film.grid import Grid
from ingest.film.sound import Sound
from media_contracts import Crop, Focus, MediaFile, MediaKind, Payload, Probe, Stage
from media_contracts.warnings import WarningCode
from media_records.tables import Asset
from media_records.tasks import NewTask, Task
from media_runtime.media.info import TextStream, VideoStream


@dataclass(frozen=True)
class Source:
    """
    What the probe said of a checked upload, which has ``size`` bytes.

    ``width`` and ``height`` are in pixels as stored, those of the picture that goes with a sound,
    0 without one. ``pixel_aspect`` is the width of a shown pixel over its height. ``frames`` are
    those of an image, ``scans`` what a decoder goes over. ``content_type`` is of what the file
    is, whatever was declared.
    ``claimed_seconds`` is how long the film must be to be whole, where that is known. ``grid``
    are the frames to make of a film; None where they cannot be told before it is decoded.
    ``starts_at`` is when its container's clock begins, in seconds. ``texts`` are its subtitles.
    ``focus`` is what crops keep in their middle, and ``crop`` how that is found, where somebody
    said so.
    """

    kind: MediaKind
    width: int
    height: int
    size: int = 0
    pixel_aspect: float = 1.0
    duration_seconds: float | None = None
    frame_rate: float | None = None
    has_sound: bool = False
    frames: int = 1
    scans: int = 1
    content_type: str = ""
    video: VideoStream | None = None
    sound: Sound | None = None
    grid: Grid | None = None
    starts_at: float = 0.0
    focus: Focus | None = None
    crop: Crop | None = None
    claimed_seconds: float | None = None
    marks: Mapping[UUID, MediaFile] = field(default_factory=dict)
    """Pictures that go on videos, by their assets."""
    texts: tuple[TextStream, ...] = ()
    warnings: tuple[WarningCode, ...] = ()
    probe: Probe | None = None

    @property
    def megapixels(self) -> float:
        """Those of one frame."""
        return self.width * self.height / 1_000_000

    @property
    def square(self) -> Size:
        """Its size in square pixels: rows as stored stay, and are made longer or shorter."""
        if self.video and self.video.rotation in {90, 270}:
            return Size(max(1, self.width), max(1, round(self.height / self.pixel_aspect)))
        return Size(max(1, round(self.width * self.pixel_aspect)), max(1, self.height))


class Planner(Protocol):
    """Plans the outputs of one type."""

    def __call__(self, outputs: Sequence[Any], source: Source) -> Sequence[NewTask]:
        """Return the tasks that make *outputs* of *source*; none where it has no such thing."""
        ...


@dataclass(frozen=True)
class Done:
    """
    What a task has led to: files, tasks that follow, and what clients are told; see finish() of
    media_records.tasks.
    """

    files: Sequence[MediaFile] = ()
    then: Sequence[NewTask] = ()
    stage: Stage | None = None
    probe: Probe | None = None
    warnings: Sequence[WarningCode] = ()
    result: Mapping[str, Any] | None = None
    tells: Sequence[Payload] = ()
    instead_of: str | None = None
    more: bool = False
    """Whether other tasks read the upload soon."""


class Doer(Protocol):
    """Does the tasks of one kind."""

    @property
    def reads_upload(self) -> bool:
        """Whether it reads the upload, and not only what other tasks have made."""
        ...

    async def __call__(self, task: Task, asset: Asset, source: Path, folder: Path) -> Done:
        """
        Do *task* on the upload at *source*, with *folder* for what it makes.

        One that does not read the upload has no file at *source*.

        Raises PermanentError when the file is at fault, TransientError when something is away.
        """
        ...
