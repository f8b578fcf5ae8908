"""
Writes the dashboards: ``python deploy/grafana/build.py [FOLDER]``.

A test compares what it writes with what lies in ``dashboards``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

import companies
import overview
import services

_FOLDER = Path(__file__).parent / "dashboards"


def main() -> None:
    """Write each dashboard into the folder that the arguments name, or into its own."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _FOLDER
    for module in (overview, services, companies):
        document = json.dumps(module.dashboard(), cls=JSONEncoder, indent=2, sort_keys=True)
        (folder / f"{module.__name__}.json").write_text(document + "\n")


if __name__ == "__main__":
    main()
