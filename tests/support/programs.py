"""Programs that have more to stop than themselves."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence


def output_of(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """
    Run *command* to its end and return all that it said.

    When the test ends before, as by a time-out, the command is asked to end and waited for.
    """
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        try:
            return running.communicate()[0]
        except BaseException:
            running.terminate()
            running.communicate()
            raise
