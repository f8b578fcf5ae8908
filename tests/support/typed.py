"""
``mediactl`` as somebody types it, without the second that its imports take.

One process has imported it all. Each command is a fork of that one, with the environment, the
input, the output and the exit code of a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from mediactl.__main__ import main

_SECONDS = 120
_OUTPUTS = ("stdout", "stderr")
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["pytest", "mediactl.__main__", "watcher.cli", "watcher.main"])


def mediactl(*words: str, environment: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run a command of mediactl, with nobody at its terminal."""
    with TemporaryDirectory() as name:
        variables = dict(os.environ if environment is None else environment)
        command = _forks.Process(target=_run, args=(words, variables, name))
        command.start()
        try:
            command.join(_SECONDS)
            assert command.exitcode is not None, f"mediactl {' '.join(words)} does not end"
        finally:
            command.kill()
            command.join()
        said = [Path(name, output).read_text() for output in _OUTPUTS]
        return CompletedProcess(words, command.exitcode, *said)


def _run(words: tuple[str, ...], environment: dict[str, str], folder: str) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, output in enumerate(_OUTPUTS, 1):
        os.dup2(os.open(f"{folder}/{output}", os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["mediactl", *words]
    main()
