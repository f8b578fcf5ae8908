"""``python tests/fuzz --seconds 7200``: changes honest files and reports what was answered."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog

from fuzz.run import Report, fuzz

_EVERY_SECONDS = 60.0


def main() -> int:
    """Fuzz as the command line says; 0 where each file got an answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--files", type=int, default=10**9)
    parser.add_argument("--only", type=int, help="the number of one file to try again")
    parser.add_argument("--kind", default="", help="what types begin with, such as image/")
    parser.add_argument("--folder", type=Path, required=True, help="for files that surprise")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    told = time.monotonic()

    def tell(report: Report) -> None:
        nonlocal told
        if time.monotonic() - told > _EVERY_SECONDS:
            told = time.monotonic()
            sys.stderr.write(f"{report.files} files, {len(report.surprises)} surprises\n")

    report = asyncio.run(
        fuzz(
            given.folder,
            seed=given.seed,
            most_files=given.files,
            seconds=given.seconds,
            only=given.only,
            kind=given.kind,
            tell=tell,
        )
    )
    sys.stdout.write(report.text() + "\n")
    return 1 if report.surprises else 0


if __name__ == "__main__":
    sys.exit(main())
