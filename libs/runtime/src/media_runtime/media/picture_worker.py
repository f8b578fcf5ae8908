"""
What runs in a picture worker's sandbox: ``python -m media_runtime.media.picture_worker FD PIXELS``.

Invariant: the process that waits for work never opens an image. Each image is opened by a fork
of it, which has that one file alone and is gone before the next.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import pickle
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any, get_type_hints

from media_contracts.errors import ErrorCode
from media_runtime.errors import PermanentError
from media_runtime.media import image_check, looks, pictures
from PIL import Image
from pydantic import TypeAdapter

READY = b"ready"
DONE = b"done"
"""Says that the answer was read: nothing of the last work may go on."""
VALUE, REFUSED, BROKEN = b"V", b"R", b"B"
OUT_OF_CPU = bytes([signal.SIGXCPU])
MOST_REQUEST_BYTES = 64 * 1024
# What the slowest honest format takes is a fifth of it.
_CPU_SECONDS, _CPU_SECONDS_A_MEGAPIXEL = 5, 0.5
OWN_BYTES = 400 * 1024**2
"""Of its address space: Python, code of libraries, and what is made beside the decoded image."""
_PR_SET_PDEATHSIG = 1
_C = ctypes.CDLL(None)
REFUSAL = TypeAdapter(tuple[ErrorCode, str, str])
"""Code, message and detail of a PermanentError."""


@cache
def results_of(work: Callable[..., Any]) -> TypeAdapter[Any]:
    """Return how the results of *work* cross the wall: as JSON, of the type that it declares."""
    return TypeAdapter(get_type_hints(work)["return"])


def main(descriptor: int, max_pixels: int) -> None:
    """Work until the other end of the socket is closed."""
    control = socket.socket(fileno=descriptor)
    pictures.open_up_to(max_pixels, memory_bytes=_memory_for_images(), before_decoding=_limit_cpu)
    # Code and decoders load on first use, and each fork would load them anew: 35 ms an image.
    Image.init()
    for work in (image_check.check_and_render, pictures.render, looks.look):
        results_of(work)
    # What is here now is shared with all forks; a collection would copy it into each.
    gc.collect()
    gc.freeze()
    control.send(READY)
    child = 0
    while True:
        request, files, _, _ = socket.recv_fds(control, MOST_REQUEST_BYTES, 3)
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            child = 0
        if not request:
            return
        if request == DONE:
            continue
        child = os.fork()
        if child == 0:
            control.close()
            _work(request, files)
        for number in files:
            os.close(number)


def _work(request: bytes, files: Sequence[int]) -> None:
    """Answer *request* and end this process."""
    try:
        # Without a sandbox, nothing else ends it with the process that waits.
        _C.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        _tell_when_out_of_cpu(files[0])
        _limit_cpu(0)
        answer = _answer(request, files[1:])
        signal.set_wakeup_fd(-1)
        os.set_blocking(files[0], True)
        with os.fdopen(files[0], "wb") as pipe:
            pipe.write(answer)
    finally:
        os._exit(0)


def _tell_when_out_of_cpu(pipe: int) -> None:
    """Have the signal's own number written to *pipe*: no Python runs while a decoder does."""
    os.set_blocking(pipe, False)
    signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
    signal.signal(signal.SIGXCPU, lambda *_: None)


def _memory_for_images() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else max(0, soft - OWN_BYTES)


def _limit_cpu(pixels: int) -> None:
    seconds = _CPU_SECONDS + math.ceil(_CPU_SECONDS_A_MEGAPIXEL * pixels / 1_000_000)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (min(seconds, hard), hard))


def _answer(request: bytes, files: Sequence[int]) -> bytes:
    try:
        work, args, writes = pickle.loads(request)  # noqa: S301 - from outside the sandbox, never from within
        modes = ["rb"] * (len(files) - writes) + ["wb"] * writes
        with ExitStack() as stack:
            opened = [
                stack.enter_context(os.fdopen(number, mode))
                for number, mode in zip(files, modes, strict=True)
            ]
            return VALUE + results_of(work).dump_json(work(*opened, *args))
    except PermanentError as error:
        return _refused(error)
    except MemoryError:
        return _refused(PermanentError(ErrorCode.IMAGE_OUT_OF_MEMORY))
    except Exception:  # noqa: BLE001 - the other end raises it
        return BROKEN + traceback.format_exc().encode()


def _refused(error: PermanentError) -> bytes:
    return REFUSED + REFUSAL.dump_json((error.code, error.message, error.detail))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
