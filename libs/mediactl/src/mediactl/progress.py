"""
What a person sees while something takes long: one line for each step, on stderr.

Steps may run in several threads at once.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Step(Protocol):
    """One thing that is going on."""

    def say(self, text: str) -> None:
        """Show what the step does now."""


class Progress(Protocol):
    """Shows steps."""

    def begin(self, name: str, text: str) -> Step:
        """Show a new step."""

    def end(self, step: Step, text: str, *, failed: bool = False) -> None:
        """Show that a step is over."""


@contextmanager
def step(progress: Progress, name: str, text: str, *, done: str = "ready") -> Iterator[Step]:
    """Show a step while the block runs; *done* is what it says when that succeeded."""
    shown = progress.begin(name, text)
    try:
        yield shown
    except BaseException:
        progress.end(shown, "failed", failed=True)
        raise
    progress.end(shown, done)


@contextmanager
def progress_on(stream: TextIO | None = None) -> Iterator[Progress]:
    """Show progress on *stream* (stderr): live on a terminal, else as plain lines."""
    stream = stream or sys.stderr
    console = Console(file=stream)
    if not console.is_terminal:
        yield LineProgress(stream)
        return
    columns = [SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.fields[label]:<12}")]
    columns += [TextColumn("{task.description}"), TimeElapsedColumn()]
    with RichProgress(*columns, console=console) as rich:
        yield LiveProgress(rich)


class SilentProgress:
    """Shows nothing; for tests and other callers that have no one to show it to."""

    def begin(self, name: str, text: str) -> Step:
        """Do nothing."""
        del name, text
        return _Nothing()

    def end(self, step: Step, text: str, *, failed: bool = False) -> None:
        """Do nothing."""


class _Nothing:
    def say(self, text: str) -> None:
        del text


class _LineStep:
    def __init__(self, progress: LineProgress, name: str) -> None:
        self.name = name
        self.started = time.monotonic()
        self._progress = progress

    def say(self, text: str) -> None:
        self._progress.write(self.name, text)


class LineProgress:
    """Writes a line when a step begins, changes or ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, name: str, text: str) -> None:
        """Write one line."""
        with self._lock:
            self._stream.write(f"{name:<12} {text}\n")
            self._stream.flush()

    def begin(self, name: str, text: str) -> Step:
        """Write what begins."""
        self.write(name, f"{text} …")
        return _LineStep(self, name)

    def end(self, step: Step, text: str, *, failed: bool = False) -> None:
        """Write how it ended and after how long."""
        del failed
        if isinstance(step, _LineStep):
            self.write(step.name, f"{text} ({time.monotonic() - step.started:.1f} s)")


class _LiveStep:
    def __init__(self, rich: RichProgress, task: TaskID) -> None:
        self.task = task
        self._rich = rich

    def say(self, text: str) -> None:
        self._rich.update(self.task, description=text)


class LiveProgress:
    """Shows a spinner and the time of each step."""

    def __init__(self, rich: RichProgress) -> None:
        self._rich = rich

    def begin(self, name: str, text: str) -> Step:
        """Show a spinner."""
        return _LiveStep(self._rich, self._rich.add_task(text, total=1, label=name))

    def end(self, step: Step, text: str, *, failed: bool = False) -> None:
        """Stop the spinner."""
        if isinstance(step, _LiveStep):
            description = f"[red]{text}" if failed else text
            self._rich.update(step.task, description=description, completed=0 if failed else 1)
            self._rich.stop_task(step.task)
