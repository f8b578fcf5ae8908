"""
Runs the benchmarks on the stack that the environment describes and prints a table of ratios.

``./mediactl bench [sign|video|image]... [--rounds N]`` brings a stack up for it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import image, sign, video
from bench.report import show

# Signing comes last: the watcher looks for tens of thousands of uploads that never come.
_ALL = {"video": (video.run, 3), "image": (image.run, 3), "sign": (sign.run, 7)}


def main() -> None:
    """Run what the arguments name, or all."""
    parser = argparse.ArgumentParser(prog="mediactl bench")
    parser.add_argument("which", nargs="*", choices=[*_ALL, []], default=[])
    parser.add_argument("--rounds", type=int, help="paired rounds of each")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.which or _ALL:
        bench, rounds = _ALL[name]
        rows += bench(arguments.rounds or rounds)
    show(rows)


if __name__ == "__main__":
    main()
