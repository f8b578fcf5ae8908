"""
Tests that end before their time leave nothing running.

A time-out or a signal breaks off the loop and not the test in it, whose servers would go on beside
the next tests. Loaded by the conftest of all tests.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator
from types import CodeType, CoroutineType
from typing import Any

import pytest

_CLEAN_UP_SECONDS = 120
_FIXTURES = "pytest_asyncio"
_RUNNER: pytest.StashKey[asyncio.Runner] = pytest.StashKey()


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
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Remember the loop of all tests."""
    value = yield
    if fixturedef.argname == "_session_scoped_runner":  # pytest-asyncio's
        assert isinstance(value, asyncio.Runner)
        request.config.stash[_RUNNER] = value
    return value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Cancel a fixture that timed out before its test, so that its context managers clean up."""
    return (yield from _cancelled_in_time(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Cancel a test that timed out."""
    return (yield from _cancelled_in_time(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Cancel a fixture that timed out after its test."""
    return (yield from _cancelled_in_time(item))


def _cancelled_in_time(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    except pytest.fail.Exception:
        _cancel(item)
        raise


def _cancel(item: pytest.Item) -> None:
    runner = item.config.stash.get(_RUNNER, None)
    if runner is None:
        return
    assert isinstance(item, pytest.Function)
    name = item.function.__name__
    broken_off = [
        task
        for task in asyncio.all_tasks(runner.get_loop())
        if _code(task).co_name == name or _FIXTURES in _code(task).co_filename
    ]
    for task in broken_off:
        task.cancel()
    if broken_off:
        runner.run(_ended(broken_off))


def _code(task: asyncio.Task[object]) -> CodeType:
    coroutine = task.get_coro()
    assert isinstance(coroutine, CoroutineType)
    return coroutine.cr_code


async def _ended(tasks: list[asyncio.Task[object]]) -> None:
    await asyncio.wait(tasks, timeout=_CLEAN_UP_SECONDS)
