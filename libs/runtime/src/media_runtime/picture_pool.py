"""
The processes that images are opened in.

Invariant: a hostile image costs at most its own answer. Each worker process has one piece of
work at a time, limited memory and limited time, and dies with this process.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from media_runtime.errors import PermanentError, TransientError
from media_runtime.pictures import PictureError
from PIL import Image

T = TypeVar("T")

log = structlog.get_logger(__name__)

MEMORY_BYTES = 2 * 1024**3
_PR_SET_PDEATHSIG = 1
# A fork of a process with threads can deadlock; a fresh interpreter cannot.
_SPAWN = multiprocessing.get_context("spawn")


class PicturePoolError(TransientError):
    """No worker process can be started: this machine is at fault, not the image."""


class PictureWorkError(RuntimeError):
    """The work itself has a bug; the message is the worker's traceback."""


class _WorkerDiedError(Exception):
    """The process ended without an answer."""


class PicturePool:
    """
    Runs functions in worker processes: ``async with PicturePool(workers=2) as pool``.

    Open it on the event loop's own thread, and keep the main module's imports behind
    ``if __name__ == "__main__"``: each new process imports that module.
    """

    def __init__(self, *, workers: int, memory_bytes: int = MEMORY_BYTES) -> None:
        self._workers = [_Worker(memory_bytes) for _ in range(workers)]
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="pictures")

    async def __aenter__(self) -> Self:
        starts = (worker.start(self._threads) for worker in self._workers)
        outcomes = await asyncio.gather(*starts, return_exceptions=True)
        if problem := next(filter(None, outcomes), None):
            self._close()
            raise problem
        for worker in self._workers:
            self._idle.put_nowait(worker)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown()

    async def run(self, work: Callable[..., T], *args: Any, timeout_seconds: float) -> T:
        """
        Return what *work* returns; a module-level function, its arguments picklable.

        A worker that dies is replaced and the work tried once more: the kernel may have killed
        it for another's hunger. A worker whose time is up, or whose task is cancelled, is
        killed. Raises PictureError, also for any other PermanentError of *work*, or
        PicturePoolError, which is worth another try.
        """
        worker = await self._idle.get()
        try:
            for _ in range(2):
                try:
                    await worker.start(self._threads)
                    async with asyncio.timeout(timeout_seconds):
                        result: T = await worker.ask(self._threads, work, args)
                        return result
                except _WorkerDiedError:
                    log.warning("picture_worker_died", work=work.__name__)
        except TimeoutError as error:
            raise PictureError("image_timeout", "The image took too long to decode.") from error
        finally:
            self._idle.put_nowait(worker)
        raise PictureError("image_crashed_decoder", "The image cannot be decoded.")


class _Worker:
    """One process and our end of the pipe to it; a dead process is replaced by ``start``."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._process: SpawnProcess | None = None
        self._pipe: Connection[Any, Any] | None = None

    async def start(self, threads: ThreadPoolExecutor) -> None:
        """Make sure that a process is waiting for work; raises PicturePoolError."""
        if self._process is not None and self._process.is_alive():
            return
        self.kill()
        self._pipe, theirs = _SPAWN.Pipe()
        # Not in a thread of the pool: PR_SET_PDEATHSIG fires when the starting thread ends.
        self._process = _SPAWN.Process(
            target=_serve, args=(theirs, self._memory_bytes, os.getpid()), daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            await self.ask(threads, _warm_up, ())
        except (_WorkerDiedError, PictureError, PictureWorkError) as error:
            self.kill()
            raise PicturePoolError("a picture process could not start") from error

    async def ask(
        self, threads: ThreadPoolExecutor, work: Callable[..., Any], args: tuple[Any, ...]
    ) -> Any:
        """Return the worker's answer; when this is cancelled, the worker is killed."""
        loop = asyncio.get_running_loop()
        exchange = loop.run_in_executor(threads, self._exchange, pickle.dumps((work, args)))
        try:
            kind, value = await asyncio.shield(exchange)
        except asyncio.CancelledError:
            self._end_process()
            # The thread holds the pipe until it sees the end of the process.
            await asyncio.wait([exchange])
            exchange.exception()
            raise
        if kind == "refused":
            raise PictureError(*value)
        if kind == "broken":
            raise PictureWorkError(value)
        return value

    def _exchange(self, request: bytes) -> tuple[str, Any]:
        assert self._pipe is not None  # noqa: S101 - started
        assert self._process is not None  # noqa: S101
        try:
            self._pipe.send_bytes(request)
            answer: tuple[str, Any] = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.kill()
            self._process.join()
            raise _WorkerDiedError from error
        return answer

    def kill(self) -> None:
        """End the process and let go of the pipe; no exchange may be under way."""
        if self._process is not None and self._pipe is not None:
            self._end_process()
            self._process.join()
            self._process.close()
            self._pipe.close()
            self._process = self._pipe = None

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.kill()


def _serve(pipe: Connection[Any, Any], memory_bytes: int, parent: int) -> None:
    """Answer requests until the other end of *pipe* is closed."""
    _restrain(memory_bytes)
    if os.getppid() != parent:
        return  # it died before we were tied to it
    while True:
        try:
            request = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send(_answer(request))


def _restrain(memory_bytes: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to settle
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _warm_up() -> None:
    # Decoders load on first use; the first image should not wait for them.
    Image.init()


def _answer(request: bytes) -> tuple[str, Any]:
    try:
        work, args = pickle.loads(request)  # noqa: S301 - our own parent wrote it
        return "value", work(*args)
    except PermanentError as error:
        return "refused", (error.code, error.message, getattr(error, "detail", ""))
    except MemoryError:
        return "refused", ("image_out_of_memory", "The image needs too much memory.")
    except Exception:  # noqa: BLE001 - the parent raises it
        return "broken", traceback.format_exc()
