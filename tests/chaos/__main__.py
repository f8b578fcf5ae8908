"""``python tests/chaos``: plays fault scenarios on a stack of its own and prints the report."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mediactl.devstack.home import Home

from chaos.harness import Harness
from chaos.report import Board, summary
from chaos.run import Report, Scale, play
from chaos.scenarios import SCENARIOS
from support.stopping import interrupt_at_sigterm


def main() -> int:
    """Play what the command line names; 0 when every scenario showed what it is for."""
    arguments = _arguments()
    logging.disable(logging.CRITICAL)  # clients of servers that are killed on purpose complain
    # Asked to end, it stops its stack first.
    interrupt_at_sigterm()
    home = Path(os.environ.get("MEDIACTL_HOME") or Home.from_environment().path) / "chaos"
    scale = Scale(full=arguments.full)
    names = arguments.scenarios or list(SCENARIOS)
    _say(f"seed {arguments.seed}, {len(names)} scenarios")
    reports = asyncio.run(_play_all(names, home, scale, arguments.seed))
    text = summary(reports, seed=arguments.seed, scale="full" if scale.full else "short")
    _say("\n" + text)
    path = arguments.report or home / "reports" / f"{arguments.seed}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    _say(f"The report is in {path}")
    return 0 if all(report.ok for report in reports) else 1


async def _play_all(names: list[str], home: Path, scale: Scale, seed: int) -> list[Report]:
    reports = []
    board = Board([SCENARIOS[name] for name in names])
    async with Harness(home).up() as harness:
        with board.shown():
            for name in names:
                report = await _play(name, harness, board, scale=scale, seed=seed)
                if report.is_void:
                    # Its faults came between the uploads: it has shown nothing, good or bad.
                    report = await _play(name, harness, board, scale=scale, seed=seed + 1)
                    report.facts["played twice"] = "the first time was void"
                reports.append(report)
    return reports


async def _play(name: str, harness: Harness, board: Board, *, scale: Scale, seed: int) -> Report:
    report = await play(
        SCENARIOS[name],
        harness,
        scale=scale,
        seed=seed,
        directory=harness.home.path / "runs",
        tell=lambda text: board.tell(name, text),
    )
    word = "ok" if report.ok else f"FAILED {report.problem or report.verdict}"
    board.tell(name, f"{word} ({report.seconds:.0f} s)")
    await harness.healed()
    return report


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("mediactl chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], metavar="SCENARIO",
                        help=f"default: all of {', '.join(SCENARIOS)}")  # fmt: skip
    parser.add_argument("--full", action="store_true", help="the numbers of the reports")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--report", type=Path, help="where the text goes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
