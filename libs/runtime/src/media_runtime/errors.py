"""
The two kinds of failure. Every adapter raises one of them for what it talks to.

Invariant: a TransientError is worth repeating unchanged, a PermanentError never is.
"""

from __future__ import annotations


class TransientError(Exception):
    """Something this work needs is away or busy for now."""


class PermanentError(Exception):
    """
    No repetition will change the answer.

    ``code`` is stable and for programs, the message is a sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
