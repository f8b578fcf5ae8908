"""Errors for a person: each message is a sentence that says what to do next."""

from __future__ import annotations

from media_runtime.telemetry.terminal import CommandError


class MediactlError(CommandError):
    """Something a person can act on; the CLI prints it without a traceback."""


class UsageError(MediactlError):
    """The command was given something it cannot work with."""

    exit_code = 2


class MissingToolsError(MediactlError):
    """This machine lacks programs that mediactl may not install itself."""

    exit_code = 3
