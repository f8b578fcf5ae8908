"""The suite's one switch: FULL=1 runs the long form of every test that has one."""

from __future__ import annotations

import os

FULL = os.environ.get("FULL") == "1"
HOUR = 3600
"""What a test's long form may take, in seconds."""
