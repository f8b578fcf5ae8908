"""Films of all kinds, made by ffmpeg: pictures that number themselves, and sound to measure by."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from exactness.signals import write_numbers, write_sound
from support.media_files import run_ffmpeg, turn

Finish = Callable[[Path], None]

X264 = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-tag:v", "hvc1")
MPEG2 = ("-c:v", "mpeg2video", "-b:v", "2M", "-pix_fmt", "yuv420p")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "4", "-pix_fmt", "yuv420p")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M")
AV1 = ("-c:v", "libsvtav1", "-preset", "12", "-pix_fmt", "yuv420p")
AAC = ("-c:a", "aac", "-b:a", "128k")
_CLOCK = 90_000


@dataclass(frozen=True)
class Sound:
    """A film's sound: how long it is, and by how much later than the first picture it begins."""

    options: tuple[str, ...] = AAC
    seconds: float | None = None
    late: float = 0.0
    rate: int = 48_000
    channels: int = 2


@dataclass(frozen=True)
class Recipe:
    """
    How a film is made.

    ``when`` tells by ffmpeg's words when picture N is shown, in seconds; those that it leaves out
    by ``kept`` are not there. ``cut`` is how many pictures at its beginning players are not to
    show. ``keeps_all`` is whether the film has one rate, of which the grid has to lose and double
    nothing. ``jumps`` is whether its clock does, further than is believed: the film goes on at
    once. ``pieces`` is how many chunks there are to be; 0 for a film that is made in one piece, and
    then ``why``.
    """

    name: str
    rate: str = "25"
    seconds: float = 19
    codec: tuple[str, ...] = (*X264, "-g", "50")
    sound: Sound | None = Sound()
    size: str = "192x108"
    picture: tuple[str, ...] = ()
    when: str | None = None
    kept: str | None = None
    options: tuple[str, ...] = ()
    late: float = 0.0
    finish: tuple[Finish, ...] = ()
    cut: int = 0
    keeps_all: bool = True
    jumps: bool = False
    pieces: int = 4
    why: str = ""

    @property
    def frames(self) -> int:
        """How many pictures are numbered."""
        return round(self.seconds * Fraction(self.rate))

    @property
    def shows(self) -> int:
        """How many pictures players show."""
        return self.frames - self.cut

    @property
    def sound_seconds(self) -> float:
        """How long the sound is."""
        return (self.sound and self.sound.seconds) or self.seconds

    def make(self, folder: Path) -> Path:
        """Write the film."""
        path = folder / self.name
        numbers = write_numbers(folder / "numbers", self.frames)
        late = ("-itsoffset", str(self.late)) if self.late else ()
        inputs = [
            *late, "-f", "rawvideo", "-pixel_format", "gray", "-video_size", "4x4",
            "-framerate", str(Fraction(self.rate)), "-i", str(numbers),
        ]  # fmt: skip
        maps = ["-map", "[v]"]
        if self.sound:
            one = self.sound
            written = write_sound(folder / "sound", self.sound_seconds, one.rate, one.channels)
            delay = ("-itsoffset", str(one.late)) if one.late else ()
            inputs += [*delay, "-f", "f32le", "-ar", str(one.rate), "-ac", str(one.channels),
                       "-i", str(written)]  # fmt: skip
            maps += ["-map", "1:a", *one.options]
        graph = ",".join([*self._timing(), *self._drawing()])
        run_ffmpeg(
            *inputs, "-filter_complex", f"[0:v]{graph}[v]", *maps, *self.codec,
            *(("-fps_mode", "passthrough") if self._is_uneven else ()), *self.options, str(path),
        )  # fmt: skip
        for step in self.finish:
            step(path)
        for rest in ("numbers", "sound"):
            (folder / rest).unlink(missing_ok=True)
        return path

    @property
    def _is_uneven(self) -> bool:
        # A picture that begins late would be put at the beginning once more.
        return bool(self.when or self.kept or self.late)

    def _timing(self) -> list[str]:
        words = [f"settb=1/{_CLOCK}"] if self._is_uneven else []
        if self.when:
            words.append(f"setpts='round(({self.when})*{_CLOCK})'")
        if self.kept:
            words.append(f"select='{self.kept}'")
        return words

    def _drawing(self) -> list[str]:
        width, height = self.size.split("x")
        return [f"scale={width}:{height}:flags=neighbor", *self.picture]


def copied(*options: str, before: tuple[str, ...] = ()) -> Finish:
    """Return what writes a film once more, as it is, in its own format."""

    def finish(path: Path) -> None:
        other = path.with_stem("other")
        run_ffmpeg(*before, "-i", str(path), "-map", "0", "-c", "copy", *options, str(other))
        other.replace(path)

    return finish


def turned(degrees: int) -> Finish:
    """Return what has players turn a film."""
    return lambda path: turn(path, degrees)


def without_index(path: Path) -> None:
    """Take the index off an AVI."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"idx1")
    del data[at : at + 8 + struct.unpack_from("<I", data, at + 4)[0]]
    struct.pack_into("<I", data, 4, len(data) - 8)
    path.write_bytes(data)


def through_a_pipe(*options: str) -> Finish:
    """Return what writes a film as a recorder does that cannot go back: no index, no length."""

    def finish(path: Path) -> None:
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0", "-c", "copy", *options]
        done = subprocess.run([*command, "-"], capture_output=True, check=True)
        path.write_bytes(done.stdout)

    return finish


def set_on(at: float, later: float) -> Finish:
    """Return what sets a TS's clock on by so many seconds, from a time on that has a key frame."""

    def finish(path: Path) -> None:
        one, other, moved = (path.with_stem(name) for name in ("0", "1", "moved"))
        copy = ("-copyts", "-i", str(path), "-map", "0", "-c", "copy", "-f", "segment")
        run_ffmpeg(*copy, "-segment_times", str(at), str(path.with_stem("%d")))
        run_ffmpeg(
            "-copyts", "-i", str(other), "-c", "copy", "-output_ts_offset", str(later), str(moved)
        )
        path.write_bytes(one.read_bytes() + moved.read_bytes())
        for rest in (one, other, moved):
            rest.unlink()

    return finish


def lost_sound(*packets: int) -> Finish:
    """Return what takes some packets of sound out of a film."""
    words = "+".join(f"eq(n,{number})" for number in packets)
    return copied("-bsf:a", f"noise=drop='{words}'")
