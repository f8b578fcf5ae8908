"""
``mediactl`` and the watcher's commands as somebody types them, without a second of imports each.

One process has imported all. Each command is a fork of that one, with the environment, the
input, the output and the exit code of a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

_SECONDS = 120
_OUTPUTS = ("stdout", "stderr")
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    ["pytest", "mediactl.__main__", "watcher.operator.app", "watcher.main"]
)


def mediactl(*words: str, environment: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run a command of mediactl, with nobody at its terminal."""
    return _typed("mediactl", words, environment)


def watcher(*words: str, environment: Mapping[str, str]) -> CompletedProcess[str]:
    """Do as mediactl(), with a command of the watcher's and its settings."""
    return _typed("watcher", words, environment)


def _typed(
    program: str, words: tuple[str, ...], environment: Mapping[str, str] | None
) -> CompletedProcess[str]:
    with TemporaryDirectory() as name:
        variables = dict(os.environ if environment is None else environment)
        command = _forks.Process(target=_run, args=(program, words, variables, name))
        command.start()
        try:
            command.join(_SECONDS)
            assert command.exitcode is not None, f"{program} {' '.join(words)} does not end"
        finally:
            command.kill()
            command.join()
        said = [Path(name, output).read_text() for output in _OUTPUTS]
        return CompletedProcess(words, command.exitcode, *said)


def _run(program: str, words: tuple[str, ...], environment: dict[str, str], folder: str) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, output in enumerate(_OUTPUTS, 1):
        os.dup2(os.open(f"{folder}/{output}", os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [program, *words]
    import_module(f"{program}.__main__").main()
