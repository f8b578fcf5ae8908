"""
Runs the benchmarks on the stack that the environment describes and prints a table of ratios.

``./mediactl bench [WHICH]... [--rounds N]`` brings one up. WHICH is video, image or sign, the usual
ones; pictures, playable, fairness, edge, batches, webhooks and watcher have to be named: the edge's
needs wrk, and the others fill the stack.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import (
    batches,
    edge,
    fairness,
    image,
    pictures,
    playable,
    sign,
    video,
    watcher_round,
    webhooks,
)
from bench.report import show

# Signing comes last: the watcher looks for tens of thousands of uploads that never come.
_USUAL = {"video": (video.run, 3), "image": (image.run, 3), "sign": (sign.run, 7)}
_ALL = {
    **_USUAL,
    "pictures": (pictures.run, 3),
    "playable": (playable.run, 12),
    "fairness": (fairness.run, 3),
    "edge": (edge.run, 5),
    "batches": (batches.run, 5),
    "webhooks": (webhooks.run, 5),
    "watcher": (watcher_round.run, 15),
}


def main() -> None:
    """Run what the arguments name, or the usual ones."""
    parser = argparse.ArgumentParser(prog="mediactl bench")
    parser.add_argument("which", nargs="*", choices=[*_ALL, []], default=[])
    parser.add_argument("--rounds", type=int, help="paired rounds of each")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.which or _USUAL:
        bench, rounds = _ALL[name]
        rows += bench(arguments.rounds or rounds)
    show(rows)


if __name__ == "__main__":
    main()
