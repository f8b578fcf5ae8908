"""One step of an installation: a command whose output goes to a log."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from mediactl.devstack.processes import last_lines
from mediactl.errors import MediactlError

_LINES_SHOWN = 12


def run_logged(argv: Sequence[str], *, env: Mapping[str, str], log_file: Path) -> None:
    """Run a command to its end; raises MediactlError with the end of its output."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        try:
            done = subprocess.run(
                list(argv),
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # What packages install is for everybody, unlike all else that mediactl makes.
                umask=0o022,
                check=False,
            )
        except OSError as error:
            raise MediactlError(f"Cannot run {argv[0]}: {error.strerror}.") from error
    if done.returncode:
        shown = "\n".join(f"  {line}" for line in last_lines(log_file, _LINES_SHOWN))
        raise MediactlError(
            f"'{' '.join(argv[:4])} …' failed with code {done.returncode}; check the network and "
            f"try again. The end of {log_file}:\n{shown}"
        )
