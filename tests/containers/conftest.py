"""Tests of a stack in containers: only with CONTAINERS=1, as they need Docker and build images."""

import os

from support.company_fixtures import company, http, parts, rows

__all__ = ["company", "http", "parts", "rows"]

collect_ignore_glob = [] if os.environ.get("CONTAINERS") == "1" else ["test_*.py"]
