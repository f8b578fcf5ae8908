"""
Faults inside a service's process, put there from outside: the code has no hooks for them.

Python imports this module at its start from PYTHONPATH. CHAOS_KILL=point:n kills the process
when a point is reached for the n-th time; CHAOS_MUTATION=name takes a guard away, to see that
the judge notices. Each death is told in the file CHAOS_HITS.
"""

from __future__ import annotations

import os
import sys

if len(sys.orig_argv) > 1 and os.environ.get("CHAOS_SERVICE_HOOKS", "1") == "1":
    # The pools' own processes inherit the variables; a service is started by its name.
    _arguments = sys.orig_argv
    if "-m" in _arguments and _arguments[-1] == _arguments[_arguments.index("-m") + 1]:
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        import chaos_hooks

        chaos_hooks.install(
            service=_arguments[-1],
            kill=os.environ.get("CHAOS_KILL", ""),
            mutation=os.environ.get("CHAOS_MUTATION", ""),
            hits=os.environ.get("CHAOS_HITS", ""),
        )
