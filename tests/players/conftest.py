"""Players in a real browser: only with PLAYERS=1, as they need Chromium and npm."""

import os

from support.company_fixtures import http

__all__ = ["http"]

collect_ignore_glob = [] if os.environ.get("PLAYERS") == "1" else ["test_*.py"]
