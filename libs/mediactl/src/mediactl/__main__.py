"""Runs the CLI; errors meant for a person become one message and an exit code."""

from __future__ import annotations

import os
import sys

from media_runtime.telemetry.terminal import CommandError
from mediactl.cli import app

_INTERRUPTED = 130


def main() -> None:
    """Run the command that the arguments name."""
    # All that is made here may hold secrets or customers' files, logs included.
    os.umask(0o077)
    try:
        app(prog_name="mediactl")
    except CommandError as error:
        _fail(str(error), error.exit_code)
    except PermissionError as error:
        _fail(f"You may not touch {error.filename}: run this as the user who ran 'up'.", 1)
    except BrokenPipeError:
        # The reader has gone; Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _fail(message: str, exit_code: int) -> None:
    sys.stderr.write(f"mediactl: {message}\n")
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
