"""
The kinds of failure. Every adapter raises one of them for what it talks to.

Invariant: a TransientError is worth repeating unchanged, a PermanentError never is. An
InconclusiveError is one of the two, and only a few repetitions tell which.
"""

from __future__ import annotations

from media_contracts.errors import ErrorCode


class TransientError(Exception):
    """Something this work needs is away or busy for now."""


class InconclusiveError(Exception):
    """
    Work on a file was ended from outside: by its time, or by a signal.

    The machine may have been short of something, or the file may be made to do just that: a few
    tries are worth it, and no more.
    """


class PermanentError(Exception):
    """
    No repetition will change the answer.

    The sentence is the code's own, with *fields*, unless *message* is more exact. ``detail`` is
    for logs: it may name paths of this machine.
    """

    def __init__(
        self, code: ErrorCode, message: str = "", *, detail: str = "", **fields: object
    ) -> None:
        self.message = message or code.sentence.format(**fields)
        super().__init__(self.message)
        self.code = code
        self.detail = detail
