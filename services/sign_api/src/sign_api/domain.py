"""What may be uploaded. Pure rules; each refusal has a stable code."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping

from media_contracts import About
from media_contracts.errors import ErrorCode
from media_contracts.formats import ACCEPTED_TYPES, plain_type
from media_contracts.profiles import NAME_PATTERN
from media_contracts.upload_rules import MAX_NAME_CHARACTERS
from media_runtime.errors import PermanentError

MAX_TITLE_CHARACTERS = 500
MAX_ALT_CHARACTERS = 2000
MAX_WORDS = 50
"""Of metadata: words by which a client finds what it uploaded."""
MAX_IN_BATCH = 1000
MAX_PARTS = 1000
"""Of one upload: storage lists so many at once."""
MAX_PARTS_AT_ONCE = 100

_MIB = 1024 * 1024
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_MAX_METADATA_CHARACTERS = 500
_FINGERPRINT = re.compile(r"[\x21-\x7e]{1,255}")

# Control characters, lone surrogates (no UTF-8 form) and the line and paragraph separators.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})

_SPACES = str.maketrans("\r\n\t", "   ")

_PROFILE = re.compile(NAME_PATTERN)


class RefusedUploadError(PermanentError):
    """The declared upload breaks a rule."""


def check_upload(file_name: str, size: int, content_type: str, *, max_bytes: int) -> str:
    """Return the plain type, or raise RefusedUploadError; *size* is in bytes."""
    if not _is_plain_name(file_name):
        raise RefusedUploadError(ErrorCode.INVALID_FILE_NAME, limit=MAX_NAME_CHARACTERS)
    plain = plain_type(content_type)
    if plain is None:
        raise RefusedUploadError(ErrorCode.INVALID_TYPE, accepted=", ".join(sorted(ACCEPTED_TYPES)))
    if size < 1:
        raise RefusedUploadError(ErrorCode.INVALID_SIZE)
    if size > max_bytes:
        raise RefusedUploadError(ErrorCode.FILE_TOO_LARGE, size=size, limit=max_bytes)
    return plain


def check_profile(name: str | None) -> None:
    """Raise RefusedUploadError where no profile can have this name."""
    if name is not None and not _PROFILE.fullmatch(name):
        raise RefusedUploadError(ErrorCode.UNKNOWN_PROFILE)


def check_about(about: About) -> None:
    """Raise RefusedUploadError where what is said of an upload cannot be told to others."""
    limits = (about.title, MAX_TITLE_CHARACTERS), (about.alt, MAX_ALT_CHARACTERS)
    for text, limit in limits:
        if text is None:
            continue
        # Forms send lines as some systems end them.
        if not 1 <= len(text) <= limit or _has_forbidden(text.translate(_SPACES)):
            raise RefusedUploadError(ErrorCode.INVALID_TEXT, limit=limit)
    check_metadata(about.metadata or {})


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise RefusedUploadError where it is not what a client may say of what it uploads."""
    is_known = len(metadata) <= MAX_WORDS and all(
        _WORD.fullmatch(word)
        and len(text) <= _MAX_METADATA_CHARACTERS
        and not _has_forbidden(text.translate(_SPACES))
        for word, text in metadata.items()
    )
    if not is_known:
        raise RefusedUploadError(ErrorCode.INVALID_METADATA, limit=MAX_WORDS)


def check_fingerprint(fingerprint: str | None) -> None:
    """Raise RefusedUploadError where it is none that an upload is found by."""
    if fingerprint is not None and not _FINGERPRINT.fullmatch(fingerprint):
        raise RefusedUploadError(ErrorCode.INVALID_FINGERPRINT)


def part_size_of(size: int, *, least: int) -> int:
    """
    Return how many bytes each part of a file of *size* bytes has, but for the last one.

    It is *least*, or the fewest whole MiB of which MAX_PARTS are enough.
    """
    return max(least, math.ceil(size / MAX_PARTS / _MIB) * _MIB)


def sizes_of_parts(size: int, part_size: int) -> list[int]:
    """Return how many bytes each part of a file of *size* bytes has, from the first one on."""
    whole, rest = divmod(size, part_size)
    return [part_size] * whole + ([rest] if rest else [])


def _is_plain_name(name: str) -> bool:
    return (
        1 <= len(name) <= MAX_NAME_CHARACTERS
        and name not in {".", ".."}
        and ((name.isascii() and name.isprintable()) or not _has_forbidden(name))
        and "/" not in name
        and "\\" not in name
    )


def _has_forbidden(name: str) -> bool:
    return any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in name)
