"""Tasks of a block end with it, and a step that fails is taken again."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from media_runtime import background
from media_runtime.errors import TransientError

from support.eventually import eventually


async def test_tasks_are_over_when_their_block_is():
    ended = []

    async def work(name):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    with suppress(ZeroDivisionError):
        async with background.running(one=work("one"), other=work("other")) as tasks:
            await asyncio.sleep(0)
            assert [task.get_name() for task in tasks] == ["one", "other"]
            raise ZeroDivisionError
    assert ended == ["one", "other"]


async def test_a_task_that_fails_ends_neither_the_block_nor_other_tasks():
    async def fail():
        raise ZeroDivisionError

    async with background.running(bad=fail(), good=asyncio.sleep(0, "done")) as (bad, good):
        assert await good == "done"
        assert isinstance(bad.exception(), ZeroDivisionError)


async def test_a_step_that_fails_is_told_of_and_taken_again():
    outcomes = iter([None, TransientError("away"), ZeroDivisionError(), asyncio.CancelledError()])
    steps = 0

    async def step():
        nonlocal steps
        await asyncio.sleep(0)
        steps += 1
        if error := next(outcomes, None):
            raise error

    with structlog.testing.capture_logs() as lines:
        async with background.running(
            steps=background.repeat(step, name="thing", retry_seconds=0.001)
        ):
            await eventually(lambda: steps > 5)
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("thing_waits", "warning"),
        ("thing_failed", "error"),
        ("thing_failed", "error"),
    ]
