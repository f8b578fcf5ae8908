"""
Tests that end before their time leave nothing running.

A time-out or a signal breaks off the loop and not the test in it, whose servers would go on beside
the next tests. Loaded by the conftest of all tests.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator

import pytest

_CLEAN_UP_SECONDS = 120


def pytest_configure() -> None:
    """Have SIGTERM end the run with the teardown of what is set up."""
    interrupt_at_sigterm()


def interrupt_at_sigterm() -> None:
    """Have SIGTERM end this process as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> None:
    # Once: a second one, to all of the group, must not break off the teardown.
    signal.signal(signal.SIGTERM, lambda *_: None)
    raise KeyboardInterrupt


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Cancel a test that timed out, so that its context managers clean up."""
    try:
        return (yield)
    except pytest.fail.Exception:
        _cancel(item)
        raise


def _cancel(item: pytest.Item) -> None:
    assert isinstance(item, pytest.Function)
    runner = item.funcargs.get("_session_scoped_runner")  # pytest-asyncio's
    if not isinstance(runner, asyncio.Runner):
        return
    name = item.function.__name__
    broken_off = [one for one in asyncio.all_tasks(runner.get_loop()) if _name(one) == name]
    for task in broken_off:
        task.cancel()
    if broken_off:
        runner.run(_ended(broken_off))


def _name(task: asyncio.Task[object]) -> str:
    return getattr(task.get_coro(), "__name__", "")


async def _ended(tasks: list[asyncio.Task[object]]) -> None:
    await asyncio.wait(tasks, timeout=_CLEAN_UP_SECONDS)
