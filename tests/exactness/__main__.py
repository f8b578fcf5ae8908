"""``python tests/exactness [WORD…]``: makes and measures films, all or those named so."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pytest
import structlog

from exactness.examine import Result, examine
from exactness.report import text
from exactness.table import ALL
from support.films import silence_progress


async def _all(words: list[str]) -> list[Result]:
    found = []
    for recipe in ALL:
        if not words or any(word in recipe.name for word in words):
            with TemporaryDirectory() as folder:
                found.append(await examine(recipe, Path(folder)))
            sys.stderr.write(f"{recipe.name}: {'; '.join(found[-1].faults) or 'exact'}\n")
    return found


def main() -> int:
    """Print the table; 0 where each film is exact."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with pytest.MonkeyPatch.context() as patch:
        silence_progress(patch)
        results = asyncio.run(_all(sys.argv[1:]))
    sys.stdout.write(text(results) + "\n")
    return 1 if any(one.faults for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
