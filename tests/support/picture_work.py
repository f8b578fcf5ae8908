"""What tests have a picture pool do, in place of opening an image."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from media_runtime.media.attention import attention
from PIL import Image


def joined(first: str, second: str) -> str:
    """Join two names."""
    return f"{first}/{second}"


def rest(seconds: float) -> None:
    """Do nothing for so long."""
    time.sleep(seconds)


def crash() -> None:
    """Break the process's memory, as a decoder may."""
    ctypes.string_at(0)


def hunger(size: int) -> None:
    """Ask for so many bytes."""
    bytearray(size)


def bug() -> None:
    """Fail as code with a bug does."""
    _ = 1 / 0


def say(answer: bytes) -> None:
    """Answer with these bytes in place of a result: as code of an attacker could."""
    pipes = [int(path.name) for path in Path("/proc/self/fd").iterdir() if _is_pipe(path)]
    os.write(max(pipes), answer)
    os._exit(0)


def _is_pipe(path: Path) -> bool:
    with suppress(OSError):
        return str(path.readlink()).startswith("pipe:")
    return False


def look_around(own: BinaryIO, other: str) -> dict[str, str]:
    """Try to get at what should not be there, and leave a file and a process for the next."""
    found = {"own": own.read().decode(), "other": "", "network": "", "environment": "", "left": ""}
    with suppress(OSError):
        found["other"] = Path(other).read_text()
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", 22), timeout=1)
        found["network"] = "connected"
    with suppress(OSError):
        socket.create_server(("127.0.0.1", 0))
        socket.getaddrinfo("localhost.localdomain", 80)
        found["network"] = "resolved"
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if b"PATH=/" in path.read_bytes().replace(b"PYTHONPATH", b""):
                found["environment"] += str(path)
    for left in (Path("/dev/shm/left"), Path("/tmp/left"), Path("/left")):
        if left.exists():
            found["left"] = left.read_text()
        with suppress(OSError):
            left.write_text("left by the one before")
    return found


def spin() -> None:
    """Use the CPU within one call of C, as a decoder does."""
    sum(range(10**15))


def search() -> dict[str, int]:
    """Look for what people look at first; return what that loads and starts."""
    found = {"loaded before": _has_libvips(), "threads before": _threads()}
    for _ in range(3):
        attention(Image.effect_noise((320, 240), 50).convert("RGB"))
    return {**found, "loaded": _has_libvips(), "threads": _threads()}


def _has_libvips() -> int:
    return int("pyvips" in sys.modules)


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))
