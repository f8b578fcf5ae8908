"""Commands of forks are those of processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.tiers import FULL
from support.typed import mediactl


@pytest.mark.parametrize(
    "words",
    [
        ("failed", "--help"),
        ("token", "--company", "nobody"),
        *([("--help",), ("nonsense",)] if FULL else []),
    ],
    ids=" ".join,
)
def test_a_command_says_what_it_says_in_a_shell(words):
    shell = subprocess.run(
        [sys.executable, "-P", "-m", "mediactl", *words], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    done = mediactl(*words)
    assert done.stdout + done.stderr
    assert (done.returncode, done.stdout) == (shell.returncode, shell.stdout)
    assert done.stderr == shell.stderr


def test_a_command_has_the_environment_that_it_is_given(tmp_path):
    done = mediactl("env", environment={**os.environ, "MEDIACTL_HOME": str(tmp_path / "nowhere")})
    assert done.returncode == 1
    assert "No stack was started" in done.stderr
