"""Scratch folders are gone after their work, however it ends."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from media_runtime.media.scratch import NotRegularError, empty_folder, open_regular, scratch_folder

from support.eventually import eventually


async def test_a_folder_is_there_for_the_block_and_gone_after_it(tmp_path):
    async with scratch_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_text("x")
    assert list((tmp_path / "a").iterdir()) == []


async def test_a_folder_is_gone_when_its_work_fails(tmp_path):
    async def work() -> None:
        async with scratch_folder(tmp_path / "a") as folder:
            (folder / "file").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_is_gone_when_its_work_is_cancelled_while_no_thread_is_free(tmp_path):
    """Then its removal has not begun when the task is cancelled."""

    async def work() -> None:
        async with scratch_folder(tmp_path / "a") as folder:
            (folder / "file").write_text("x")

    free = Event()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as threads:
        loop.set_default_executor(threads)
        busy = loop.run_in_executor(None, free.wait)
        task = asyncio.create_task(work())
        await eventually(threads._work_queue.qsize)
        task.cancel()
        await asyncio.sleep(0)
        was_left = task.done()
        free.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list(tmp_path.iterdir()) == []
        assert not was_left, "it is left once it is removed"
        await busy
    loop.set_default_executor(ThreadPoolExecutor())


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "a" / "old").mkdir(parents=True)
    empty_folder(tmp_path / "a")
    empty_folder(tmp_path / "new" / "folder")
    assert list((tmp_path / "a").iterdir()) == []
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_only_a_regular_file_is_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"bytes")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"bytes"
    for name in ("link", "pipe", ""):
        with pytest.raises(NotRegularError):
            open_regular(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "missing")
