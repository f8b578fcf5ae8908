"""
The whitelists and the sandbox, each alone: files that have ffmpeg open another file or an address.

Sniffing keeps most of them away in the running system; here nothing stands before ffmpeg.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from media_runtime.errors import InconclusiveError, PermanentError
from media_runtime.media.ffmpeg import Ffmpeg
from media_runtime.media.sandbox import Sandbox, SandboxKind

from support.tripwires import (
    alias_reference,
    make_canary,
    playlists,
    referring_movie,
    session,
    shows_canary,
)
from support.web import web_server

# What the whitelists replace, as generous as an attacker could wish.
GENEROUS = {"protocol_whitelist": "file,http,tcp,udp,rtp,crypto,data"}
VISITED = "the address was visited"
ABSOLUTE = {"enable_drefs": 1, "use_absolute_path": 1}


@dataclass(frozen=True)
class World:
    """What may not be reached: a video as a file, at an address, and sent to a port."""

    canary: Path
    url: str
    visits: list[str]
    port: int


@dataclass(frozen=True)
class Trap:
    """A file that has ffmpeg open a canary, and the options that it takes to fall into it."""

    about: str
    data: Callable[[World], bytes]
    options: Mapping[str, str | int]
    visits: bool = False

    def __str__(self) -> str:
        return self.about


def traps() -> Iterator[Trap]:
    for kind in playlists(""):
        unsafe = {"safe": 0} if kind == "ffconcat" else {}
        yield Trap(
            f"{kind} with a file", lambda w, kind=kind: playlists(str(w.canary))[kind], unsafe
        )
        yield Trap(
            f"{kind} with an address", lambda w, kind=kind: playlists(w.url)[kind], unsafe, True
        )
    yield Trap("SDP", lambda w: session(w.port), {})
    yield Trap(
        "QuickTime alias", lambda w: referring_movie(w.canary, alias_reference(w.canary)), ABSOLUTE
    )


TRAPS = list(traps())


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    canary = make_canary(tmp_path_factory.mktemp("canary"))
    pages = {"/canary.mov": canary.read_bytes()}
    with web_server(pages) as (url, visits), sent_to_a_port(canary) as port:
        yield World(canary, f"{url}/canary.mov", visits, port)


@contextmanager
def sent_to_a_port(video: Path) -> Iterator[int]:
    """Send *video* over and over to a port that nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *("ffmpeg", "-v", "quiet", "-re", "-stream_loop", "-1", "-i", str(video)),
        *("-c:v", "mpeg2video", "-f", "rtp_mpegts", f"rtp://127.0.0.1:{port}"),
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as sender:
        try:
            yield port
        finally:
            sender.kill()


async def fallen_for(
    trap: Trap,
    world: World,
    folder: Path,
    sandbox: SandboxKind,
    options: Mapping[str, str | int] | None = None,
) -> set[str]:
    """
    Have ffprobe and ffmpeg open the trap's file; return what shows that they fell for it.

    *options* replace those that every input has, the whitelists among them.
    """
    ffmpeg = Ffmpeg(Sandbox(sandbox))
    if options is not None:
        ffmpeg.input_options = {**GENEROUS, **trap.options, **options}
    words = [t for name, value in ffmpeg.input_options.items() for t in (f"-{name}", str(value))]
    upload, target = _written(trap.data(world), folder), folder / "out.mp4"
    world.visits.clear()
    found = set()
    with suppress(PermanentError, InconclusiveError):
        video = (await ffmpeg.probe(upload, timeout_seconds=5)).video
        if video is not None and video.pixel_format:
            found.add("ffprobe has seen pictures")
    with suppress(PermanentError, InconclusiveError):
        await ffmpeg.run(
            [*words, "-i", f"file:{upload}", "-t", "0.5", str(target)],
            reads=upload,
            writes=folder,
            timeout_seconds=5,
        )
        if shows_canary(target.read_bytes()):
            found.add("the canary is in the output")
    if world.visits:
        found.add(VISITED)
    return found


def _written(data: bytes, folder: Path) -> Path:
    folder.mkdir()
    path = folder / "upload.mp4"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("trap", TRAPS, ids=str)
async def test_either_wall_holds_alone(trap, world, tmp_path):
    sandbox_alone = await fallen_for(trap, world, tmp_path / "a", "bubblewrap", {})
    whitelists_alone = await fallen_for(trap, world, tmp_path / "b", "none")
    neither = await fallen_for(trap, world, tmp_path / "c", "none", {})
    assert (sandbox_alone, whitelists_alone) == (set(), set())
    seen = {"ffprobe has seen pictures", "the canary is in the output"}
    assert neither == seen | ({VISITED} if trap.visits else set())


@pytest.mark.parametrize("trap", [trap for trap in TRAPS if trap.visits], ids=str)
@pytest.mark.parametrize("name", ["protocol_whitelist", "format_whitelist"])
async def test_no_address_is_visited_while_one_whitelist_is_left(trap, name, world, tmp_path):
    left = {name: Ffmpeg(Sandbox("none")).input_options[name]}
    assert await fallen_for(trap, world, tmp_path / "a", "none", left) == set()
