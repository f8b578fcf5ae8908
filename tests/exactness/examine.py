"""
One film, made by its plan and measured against its source.

What a source shows and sounds like is what plain ffmpeg reads of it from its beginning: the
pictures with their times, the sound where its packets say. A frame of the grid has to show the
picture that is nearest to its time, and sound keeps its distance from the picture.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from ingest.film import cmaf
from media_contracts import VideoOutput
from media_records.files import EARLY_SOUND, WHOLE_SOUND, Segment

from exactness.measures import (
    Heard,
    Shown,
    Steadiness,
    begins,
    chirps,
    compared,
    heard,
    lag,
    on_grid,
    places,
    shown,
    steadiness,
)
from exactness.sources import Recipe
from support.films import Film, made_of

OUTPUT = VideoOutput(name="video", short_sides=(72,))
MOST_MILLISECONDS = 5.0
# One sample of 48,000 a second is 22 degrees of the tone.
MOST_DEGREES = 11.0
MOST_CLICKS = 1.0
_NEAR_SECONDS = 1.0
_RUN_IN_SECONDS = 0.1
_SOUNDS = (EARLY_SOUND, WHOLE_SOUND)


@dataclass(frozen=True)
class Result:
    """
    What was measured of a film.

    ``wanted`` are frames, ``dropped`` and ``doubled`` what the grid itself does to the source's
    pictures, ``held`` how often its first or last one stands still for sound. ``lost``, ``again``
    and ``wrong`` are what the film does beyond that, in its worst size. ``changes`` are by how many
    milliseconds sound is later against the picture than in the source, at each chirp.
    """

    name: str
    rate: Fraction
    pictures: int
    wanted: int
    pieces: int
    why: str
    dropped: int
    doubled: int
    held: int
    lost: int
    again: int
    wrong: int
    gaps: int
    changes: list[float] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)
    unheard: int = 0
    early: float = 0.0
    steady: Steadiness | None = None
    steady_source: Steadiness | None = None
    joined: Steadiness | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """The largest change of sound against picture."""
        return max((abs(one) for one in self.changes), default=0.0)

    @property
    def faults(self) -> list[str]:
        """What is not as it has to be."""
        steps = [
            (one, name) for one, name in ((self.steady, "sound"), (self.joined, "join")) if one
        ]
        allowed = max(MOST_DEGREES, self.steady_source.degrees if self.steady_source else 0)
        return [
            *self.notes,
            *(f"{self.lost} lost" for _ in range(bool(self.lost))),
            *(f"{self.again} doubled" for _ in range(bool(self.again))),
            *(f"{self.wrong} wrong" for _ in range(bool(self.wrong))),
            *(f"{self.gaps} gaps" for _ in range(bool(self.gaps))),
            *(f"A/V {self.worst:.1f} ms" for _ in range(self.worst > MOST_MILLISECONDS)),
            *(f"{self.unheard} chirps unheard" for _ in range(bool(self.unheard))),
            *(f"early sound {self.early:.2f} ms off" for _ in range(self.early > 0.1)),
            *(f"{name}: step of {one.degrees:.0f} degrees at {one.at:.2f}"
              for one, name in steps if one.degrees > allowed),
            *(f"{name}: click {one.clicks:.1f}"
              for one, name in steps if one.clicks > MOST_CLICKS),
        ]  # fmt: skip


async def examine(recipe: Recipe, folder: Path) -> Result:
    """Make the film of *recipe*, make what its plan says of it, and measure both."""
    begun = time.process_time()
    path = recipe.make(folder)
    film = await made_of(path, folder, OUTPUT)
    tracks = _tracks(film, folder)
    pictures = {name: one for name, one in tracks.items() if name not in _SOUNDS}
    source, rate = shown(path), Fraction(_rate_of(film))
    seen = {name: shown(one) for name, one in pictures.items()}
    top = seen[max(seen, key=int)]
    is_whole = any("whole" in name for name in film.made.done)
    notes = []
    if len(source.numbers) != recipe.shows and not recipe.kept:
        notes.append(f"the source shows {len(source.numbers)} of {recipe.shows}")
    origin = _origin(film, source, top, rate, is_whole=is_whole)
    wanted = on_grid(source, origin, rate, len(top.numbers))
    if recipe.jumps:
        wanted = source.numbers
    found = [compared(one.numbers, wanted) for one in seen.values()]
    held = _held(wanted)
    doubled = sum(a == b for a, b in pairwise(wanted)) - held
    dropped = len(set(source.numbers) - set(wanted))
    gaps = sum(_gaps(cmaf.read(one.read_bytes())) for one in tracks.values())
    times, sound_at = begins(film.path)
    gaps += sum(_uneven(one.times, rate) for one in [*seen.values(), Shown([], times)])
    result = {
        "name": recipe.name, "rate": rate, "pictures": len(source.numbers), "wanted": len(wanted),
        "pieces": 0 if is_whole else _pieces(film), "why": _why(film) if is_whole else "",
        "dropped": dropped, "doubled": doubled, "held": held,
        "lost": max(one.lost for one in found), "again": max(one.doubled for one in found),
        "wrong": max(one.wrong for one in found), "gaps": gaps,
    }  # fmt: skip
    taken = [0] if recipe.jumps else places(source.times, origin, rate)
    if taken[0] < 0 or taken[-1] >= len(wanted):
        notes.append("the grid leaves out the beginning or the end")
    if recipe.keeps_all and (dropped or doubled):
        notes.append(f"the grid drops {dropped} and doubles {doubled}")
    # In the file to download both begin together, as in the tracks.
    shift = float(sound_at - times[0]) if sound_at is not None else 0.0
    result |= _sound(recipe, path, film, tracks, source, top, rate, shift)
    return Result(**result, seconds=time.process_time() - begun, notes=notes)


def _sound(
    recipe: Recipe, path: Path, film: Film, tracks: Mapping[str, Path], source: Shown,
    top: Shown, rate: Fraction, shift: float,
) -> dict[str, object]:  # fmt: skip
    original = heard(path)
    whole = tracks.get(WHOLE_SOUND) or tracks.get(EARLY_SOUND)
    if original is None or whole is None:
        return {"unheard": int((original is None) != (whole is None))}
    made = heard(whole)
    assert made is not None
    theirs, ours = (chirps(one, recipe.sound_seconds) for one in (original, made))
    moved = _moved(source, top, rate)
    origin = statistics.median(move for _, move in moved)
    expected = dict[int, tuple[float, float]]()
    for number, at in theirs.items():
        near = [move for time, move in moved if abs(time - at) < _NEAR_SECONDS]
        by = statistics.median(near or [origin])
        if _RUN_IN_SECONDS < at + by < made.end - _RUN_IN_SECONDS:
            expected[number] = at, by
    changes, offsets = [], []
    for number, (at, by) in expected.items():
        if number in ours:
            change = ours[number] - at - by
            changes.append(1000 * max(change, change + shift, key=abs))
        offsets.append(1000 * (at - _shown_at(source, at)))
    unheard = len(expected.keys() - ours.keys())
    facts: dict[str, object] = {
        "changes": changes, "offsets": offsets, "unheard": unheard,
        "steady": steadiness(made), "steady_source": steadiness(original),
    }  # fmt: skip
    early = tracks.get(EARLY_SOUND)
    if early is not None and whole != early:
        facts |= _beginning(early, whole, made)
    return facts


def _beginning(early: Path, whole: Path, made: Heard) -> dict[str, object]:
    """Return how the sound that is there first differs from the whole, and how they join."""
    begun = heard(early)
    assert begun is not None
    apart = 1000 * abs(lag(begun, made))
    one, other = (cmaf.read(path.read_bytes()) for path in (early, whole))
    rest = [part for part in other.fragments if part.decoded_at >= one.ticks][:2]
    if not rest or rest[0].decoded_at != one.ticks:
        return {"early": 999.0}
    joined = early.with_stem("joined")
    joined.write_bytes(early.read_bytes() + whole.read_bytes()[rest[0].start : rest[-1].end])
    sound = heard(joined)
    assert sound is not None
    return {"early": apart, "joined": steadiness(sound, [one.ticks / one.timescale])}


def _tracks(film: Film, folder: Path) -> dict[str, Path]:
    """Return each track of a film as one file: the first piece's head, and all fragments."""
    files = [
        file for done in film.made.done.values() for file in done.files
        if isinstance(file, Segment) and file.name in film.made.files and file.track != "tiles"
    ]  # fmt: skip
    found: dict[str, bytes] = {}
    for file in sorted(files, key=lambda one: one.part):
        data = film.made.files[file.name].read_bytes()
        head = cmaf.read(data).head
        before = found.get(file.track or "")
        found[file.track or ""] = before + data[len(head) :] if before else data
    tracks = {}
    for name, data in found.items():
        tracks[name] = folder / f"track-{name}.mp4"
        tracks[name].write_bytes(data)
    return tracks


def _rate_of(film: Film) -> str:
    return next(str(task["film"]["rate"]) for task in film.made.params.values() if "film" in task)


def _origin(film: Film, source: Shown, top: Shown, rate: Fraction, *, is_whole: bool) -> Fraction:
    """Return the time of the first frame, of the source's clock."""
    grid = film.source.grid
    if not is_whole and grid is not None:
        return grid.origin
    # Nobody has said: what fits best, in eighths of a frame.
    moved = _moved(source, top, rate)
    middle = -Fraction(statistics.median(move for _, move in moved))
    tries = [middle + Fraction(n, 16) / rate for n in range(-16, 17)]
    return min(
        tries,
        key=lambda one: compared(top.numbers, on_grid(source, one, rate, len(top.numbers))).wrong,
    )


def _moved(source: Shown, top: Shown, rate: Fraction) -> list[tuple[float, float]]:
    """Return when each picture of a source is shown, and by how much later it is in the film."""
    first: dict[int, int] = {}
    for frame, number in enumerate(top.numbers):
        first.setdefault(number, frame)
    held = top.numbers[0]
    return [
        (float(time), float(first[number] / rate - time))
        for number, time in zip(source.numbers, source.times, strict=True)
        if number in first and (number != held or len(first) == 1)
    ]


def _shown_at(source: Shown, at: float) -> float:
    before = [float(time) for time in source.times if time <= at]
    return max(before, default=float(source.times[0]))


def _held(numbers: Sequence[int]) -> int:
    """Return how often the first and the last picture are shown once more."""
    first = next((n for n, number in enumerate(numbers) if number != numbers[0]), len(numbers))
    last = next((n for n, number in enumerate(reversed(numbers)) if number != numbers[-1]), 1)
    return first - 1 + last - 1


def _gaps(track: cmaf.Track) -> int:
    """Return how many fragments do not begin where the one before ends."""
    ends = [0]
    for one in track.fragments:
        ends.append(ends[-1] + one.ticks)
    return sum(one.decoded_at != end for one, end in zip(track.fragments, ends, strict=False))


def _uneven(times: Sequence[Fraction], rate: Fraction) -> int:
    """Return how many frames are not shown at their time."""
    # ffmpeg counts the times of fragments from the first picture decoded: the track tells its own.
    return sum(time - times[0] != frame / rate for frame, time in enumerate(times))


def _pieces(film: Film) -> int:
    return len({
        done.result["number"] for done in film.made.done.values()
        if done.result and "number" in done.result
    })  # fmt: skip


def _why(film: Film) -> str:
    """Return why a film was made in one piece."""
    grid = film.source.grid
    said = [str(done.result["faults"]) for done in film.made.done.values()
            if done.result and done.result.get("faults")]  # fmt: skip
    return "; ".join([*(grid.faults if grid else ("no grid",)), *said])
