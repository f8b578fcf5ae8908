"""A film to make: what its tasks know of it, and what they take. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ingest.domain import Size
from ingest.film.codecs import CODECS
from ingest.film.grid import Grid
from ingest.film.ladder import Chunk, Rung
from ingest.film.sound import Sound
from ingest.film.watermark import Mark
from media_runtime.media.colour import Filter

# Of decoding and libx264 at veryfast, both together; what anything costs at least.
_SECONDS_A_MEGAPIXEL, _LEAST_SECONDS = 0.006, 0.3


@dataclass(frozen=True)
class Film:
    """
    What to make of a source: its frames on *grid*, in the sizes of *ladder*, the smallest first.

    *ladder* is H.264, *further* are the same sizes in other codecs. ``track`` is the stream of
    pictures, ``filters`` make them in the largest size. ``seen`` is the size of the source's
    pictures, ``starts_at`` when its container's clock begins, in seconds. ``loudness`` is how loud
    it becomes, in LUFS; None for as loud as it is. ``claimed_seconds`` is how long it must be to be
    whole. The grid of a film that is made in one piece has no frames: nobody knows how many there
    will be: it begins ``shift`` seconds after the container's clock, less than a frame lasts, so
    that the first picture is on the grid. Sound alone has an empty ladder. *mark* lies on each
    frame.
    """

    track: int
    filters: Sequence[Filter]
    grid: Grid
    ladder: Sequence[Rung]
    preset: str
    crf: int
    seen: Size
    starts_at: float = 0.0
    sound: Sound | None = None
    loudness: float | None = None
    claimed_seconds: float | None = None
    duration_seconds: float | None = None
    frame_rate: float | None = None
    further: Sequence[Rung] = ()
    mark: Mark | None = None
    shift: float = 0.0

    @property
    def rungs(self) -> Sequence[Rung]:
        """All sizes in all codecs, H.264 first."""
        return [*self.ladder, *self.further]

    def params(self) -> dict[str, Any]:
        """Return it as JSON of a task."""
        grid, sound = self.grid, self.sound
        return {
            "track": self.track,
            "filters": [[one.name, dict(one.words)] for one in self.filters],
            "rate": str(grid.rate),
            "frames": grid.frames,
            "origin": str(grid.origin),
            "tick": grid.tick,
            "is_filled": grid.is_filled,
            "ladder": [
                [one.short_side, one.size.width, one.size.height, one.kbits_per_second]
                for one in self.ladder
            ],
            "preset": self.preset,
            "crf": self.crf,
            "seen": [self.seen.width, self.seen.height],
            "starts_at": self.starts_at,
            "sound": [list(sound.tracks), sound.filters] if sound else None,
            "loudness": self.loudness,
            "claimed_seconds": self.claimed_seconds,
            "duration_seconds": self.duration_seconds,
            "frame_rate": self.frame_rate,
            "further": [
                [one.short_side, one.size.width, one.size.height, one.kbits_per_second, one.codec]
                for one in self.further
            ],
            "mark": self.mark.params() if self.mark else None,
            "shift": self.shift,
        }

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Film:
        """Return what params() wrote."""
        sound = params["sound"]
        return cls(
            track=params["track"],
            filters=[Filter(name, words) for name, words in params["filters"]],
            grid=Grid(
                Fraction(params["rate"]), params["frames"], Fraction(params["origin"]),
                params["tick"], is_filled=params.get("is_filled", False),
            ),
            ladder=[
                Rung(side, Size(width, height), kbits)
                for side, width, height, kbits in params["ladder"]
            ],
            preset=params["preset"],
            crf=params["crf"],
            seen=Size(*params["seen"]),
            starts_at=params["starts_at"],
            sound=Sound(tuple(sound[0]), sound[1]) if sound else None,
            loudness=params["loudness"],
            claimed_seconds=params["claimed_seconds"],
            duration_seconds=params["duration_seconds"],
            frame_rate=params["frame_rate"],
            # Tasks that were planned by an earlier release have none.
            further=[
                Rung(side, Size(width, height), kbits, codec)
                for side, width, height, kbits, codec in params.get("further", ())
            ],
            mark=Mark.of(params["mark"]) if params.get("mark") else None,
            shift=params.get("shift", 0.0),
        )  # fmt: skip

    @classmethod
    def of_sound(
        cls,
        sound: Sound,
        *,
        loudness: float | None,
        claimed_seconds: float | None,
        duration_seconds: float | None,
    ) -> Film:
        """Return what is heard without any picture: its ladder is empty."""
        return cls(
            track=-1, filters=(), grid=Grid(Fraction(1), 0, Fraction(0), 0), ladder=(), preset="",
            crf=0, seen=Size(0, 0), sound=sound, loudness=loudness,
            claimed_seconds=claimed_seconds, duration_seconds=duration_seconds,
        )  # fmt: skip

    def cost(self, frames: int, ladder: Sequence[Rung]) -> float:
        """Return what it takes to make so many frames in these sizes, in seconds of one core."""
        pixels = sum(one.pixels * CODECS[one.codec].times for one in ladder)
        megapixels = frames * (pixels + self.seen.width * self.seen.height) / 1_000_000
        return _LEAST_SECONDS + megapixels * _SECONDS_A_MEGAPIXEL


def chunk_params(chunk: Chunk) -> list[Any]:
    """Return a chunk as JSON of a task."""
    seek = None if chunk.seek is None else str(chunk.seek)
    return [chunk.number, chunk.first, chunk.frames, seek]


def chunk_of(params: Sequence[Any]) -> Chunk:
    """Return what chunk_params() wrote."""
    number, first, frames, seek = params
    return Chunk(number, first, frames, None if seek is None else Fraction(seek))
