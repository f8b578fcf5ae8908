"""Files that are fetched once: shared, kept for a moment, and gone."""

from __future__ import annotations

import asyncio

import pytest
from media_runtime.media.kept_files import KeptFiles

from support.eventually import eventually


class Fetches:
    """What fetches files of so many bytes, and counts them."""

    def __init__(self, size: int = 5) -> None:
        self.size = size
        self.count = 0

    async def __call__(self, path):
        self.count += 1
        path.write_bytes(bytes(self.size))
        return "0" * 64


@pytest.fixture
def fetch():
    return Fetches()


async def used(files, name, fetch, *, next_as_well=True):
    async with files.open(name, fetch) as file:
        file.wanted_next = next_as_well
        return file.path.stat().st_size


async def test_what_is_wanted_next_is_fetched_once(tmp_path, fetch):
    async with KeptFiles(tmp_path) as files:
        assert await used(files, "a", fetch) == 5
        assert await used(files, "a", fetch, next_as_well=False) == 5
        assert (fetch.count, list(tmp_path.iterdir())) == (1, [])


async def test_what_nobody_wants_next_is_gone(tmp_path, fetch):
    async with KeptFiles(tmp_path) as files:
        await used(files, "a", fetch, next_as_well=False)
        assert list(tmp_path.iterdir()) == []


async def test_what_nobody_takes_is_gone_soon(tmp_path, fetch):
    async with KeptFiles(tmp_path, keep_seconds=0.05) as files:
        await used(files, "a", fetch)
        await eventually(lambda: not list(tmp_path.iterdir()))


async def test_at_the_end_nothing_is_kept(tmp_path, fetch):
    async with KeptFiles(tmp_path) as files:
        await used(files, "a", fetch)
    assert list(tmp_path.iterdir()) == []


async def test_of_too_many_bytes_those_go_that_were_used_the_longest_ago(tmp_path, fetch):
    async with KeptFiles(tmp_path, keep_bytes=12) as files:
        for name in ("a", "b", "a", "c"):
            await used(files, name, fetch)
        await eventually(lambda: len(list(tmp_path.iterdir())) == 2)
        assert fetch.count == 3
        for name in ("a", "c"):
            await used(files, name, fetch)
        assert fetch.count == 3
        await used(files, "b", fetch)
        assert fetch.count == 4


async def test_one_that_is_larger_than_all_may_be_takes_no_others_place(tmp_path, fetch):
    async with KeptFiles(tmp_path, keep_bytes=12) as files:
        await used(files, "a", fetch)
        await used(files, "b", Fetches(13))
        assert len(list(tmp_path.iterdir())) == 1
        await used(files, "a", fetch)
        assert fetch.count == 1


async def test_who_waits_for_a_file_that_another_one_cannot_fetch_tries_it_too(tmp_path):
    async with KeptFiles(tmp_path) as files:
        both = asyncio.Event()
        tried = 0

        async def fetch(path):
            nonlocal tried
            tried += 1
            if tried == 1:
                await both.wait()
                raise OSError("away")
            path.write_bytes(b"x")
            return "0" * 64

        first, second = (
            asyncio.create_task(used(files, "a", fetch, next_as_well=False)) for _ in range(2)
        )
        await eventually(lambda: tried == 1)
        both.set()
        with pytest.raises(OSError, match="away"):
            await first
        assert await second == 1
        assert list(tmp_path.iterdir()) == []
