"""What is collected here, and what all share."""

import pytest
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.sandbox import Sandbox

from support.media_files import CASES

# Files that are no part of this repository.
collect_ignore = [] if CASES.exists() else ["test_case_files.py"]


@pytest.fixture(scope="session")
async def pool():
    """Give processes that pictures are opened in."""
    async with PicturePool(Sandbox("bubblewrap"), workers=1) as opened:
        yield opened
