"""
Faults inside a service's process, put there from outside: the code has no hooks for them.

Python imports this module at its start from PYTHONPATH. CHAOS_KILL=point:n kills the process
when a point is reached for the n-th time; CHAOS_MUTATION=name takes a guard away, to see that
the judge notices. Each death is told in the file CHAOS_HITS.
"""

from __future__ import annotations

import os
import sys

# A service is started by its name, python -m ingest; the pools' own processes are not.
if sys.orig_argv[-2:-1] == ["-m"]:
    import chaos_hooks  # beside this file, which PYTHONPATH names

    chaos_hooks.install(
        service=sys.orig_argv[-1],
        kill=os.environ.get("CHAOS_KILL", ""),
        mutation=os.environ.get("CHAOS_MUTATION", ""),
        hits=os.environ.get("CHAOS_HITS", ""),
    )
