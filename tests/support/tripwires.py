"""
A canary: a video that nothing may ever open, and files that would have ffmpeg open it.

Invariant: whoever opened it can be told by what came out: nothing else has its colour, and
nothing else its text.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from pathlib import Path

from support.media_files import run_ffmpeg

CANARY = "CANARY-7f3a51c2-DO-NOT-SERVE"
_COLOUR = (200, 90, 150)
_NEAR = 24
_SIDE = 32
# A part of one frame is enough.
_SHARE = 0.2

_DASH = """<!--free--><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"
 profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT1S"
 minBufferTime="PT1S"><Period><AdaptationSet contentType="video"><Representation id="1"
 bandwidth="1000" codecs="avc1.64000a" width="176" height="144"><BaseURL>{}</BaseURL>
</Representation></AdaptationSet></Period></MPD>
"""
_TO_DATA_REFERENCES = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")


def make_canary(folder: Path) -> Path:
    """Write the canary video into *folder*: one colour, and its text as its title."""
    path = folder / "canary.mov"
    colour = "0x{:02x}{:02x}{:02x}".format(*_COLOUR)
    run_ffmpeg(
        *("-f", "lavfi", "-i", f"color={colour}:size=176x144:rate=25:duration=1"),
        *("-pix_fmt", "yuv420p", "-metadata", f"title={CANARY}", str(path)),
    )
    assert shows_canary(path.read_bytes())
    return path


def shows_canary(data: bytes) -> bool:
    """Return whether a frame of a video or picture has the canary's colour, or it its text."""
    return CANARY.encode() in data or any(map(_is_coloured, _frames(data)))


def _frames(data: bytes) -> list[bytes]:
    """Return all frames in small, as bytes of red, green and blue."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        shrunk = f"scale={_SIDE}:{_SIDE}:flags=area"
        command = [
            *("ffmpeg", "-v", "error", "-i", file.name, "-vf", shrunk),
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
        ]
        found = subprocess.run(command, capture_output=True, check=True).stdout
    size = _SIDE * _SIDE * 3
    frames = [found[at : at + size] for at in range(0, len(found), size)]
    assert frames, "nothing to look at"
    return frames


def _is_coloured(frame: bytes) -> bool:
    points = list(zip(frame[::3], frame[1::3], frame[2::3], strict=True))
    near = [
        all(abs(a - b) <= _NEAR for a, b in zip(point, _COLOUR, strict=True)) for point in points
    ]
    return sum(near) >= _SHARE * len(points)


def playlists(target: str) -> dict[str, bytes]:
    """Return scripts of all kinds that ffmpeg follows, which name *target*, a path or an URL."""
    return {
        "HLS": (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode()
        ),
        "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n".encode(),
        # To the trust gate, "free" in this place is a QuickTime file's first atom.
        "DASH": _DASH.format(target if "://" in target else f"file://{target}").encode(),
    }


def session(port: int) -> bytes:
    """Return a description of a session (SDP): what it has ffmpeg open is a UDP port."""
    return (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"m=video {port} RTP/AVP 33\n"
    ).encode()


def referring_movie(canary: Path, reference: bytes) -> bytes:
    """
    Return a QuickTime film whose pictures are in another file, which *reference* names.

    That is an entry of its "dref"; the film's index is the canary's, its own media are zeros.
    """
    whole = bytearray(canary.read_bytes())
    media = whole.index(b"mdat") + 4
    index = whole.index(b"moov") - 4
    assert index > media, "offsets of chunks hold only where the index is last"
    whole[media:index] = bytes(index - media)
    table = bytes(4) + struct.pack(">I", 1) + reference
    title = CANARY.encode()
    moov = _replaced(bytes(whole[index:]), _TO_DATA_REFERENCES, table)
    return bytes(whole[:index]) + moov.replace(title, b"X" * len(title))


def _replaced(boxes: bytes, path: tuple[bytes, ...], content: bytes) -> bytes:
    """Return *boxes* with the content of each box at *path* replaced."""
    done, at = b"", 0
    while at < len(boxes):
        length, kind = struct.unpack(">I4s", boxes[at : at + 8])
        inner = boxes[at + 8 : at + length]
        if kind == path[0]:
            inner = _replaced(inner, path[1:], content) if len(path) > 1 else content
        done += box(kind, inner)
        at += length
    return done


def box(kind: bytes, content: bytes) -> bytes:
    """Return a box of an ISO base media file."""
    return struct.pack(">I", len(content) + 8) + kind + content


def url_reference(url: str) -> bytes:
    """Return an entry of a "dref" that names an URL."""
    return box(b"url ", bytes(4) + url.encode() + b"\0")


def alias_reference(path: Path) -> bytes:
    """Return an entry of a "dref" that names a file, as a Macintosh's alias record."""
    name, whole = path.name.encode(), str(path).encode()
    record = b"".join((
        bytes(4), struct.pack(">HH", 0, 2), bytes(2),
        b"\0".ljust(28, b"\0"), bytes(12),  # no volume
        bytes([len(name)]) + name.ljust(63, b"\0")[:63], bytes(16),
        struct.pack(">hh", -1, -1), bytes(16),  # not relative
        struct.pack(">HH", 2, len(whole)) + whole + bytes(len(whole) % 2),
        struct.pack(">hH", -1, 0),
    ))  # fmt: skip
    return box(b"alis", bytes(4) + record)
