"""
The suite's switches: FULL=1 runs long forms, TEST_PATIENCE waits longer on busy machines.

HOSTILE_FULL=1 sends thousands of changed images through the gate, wherever that is tested.
"""

from __future__ import annotations

import os

FULL = os.environ.get("FULL") == "1"
HOSTILE_FULL = os.environ.get("HOSTILE_FULL") == "1"
HOUR = 3600
"""What a test's long form may take, in seconds."""

PATIENCE = float(os.environ.get("TEST_PATIENCE") or 1)
"""How many times longer than usual to wait for what must happen; nothing green takes longer."""
