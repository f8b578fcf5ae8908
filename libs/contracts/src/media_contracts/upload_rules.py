"""What clients may check of a file before they send it, as JSON: the rules of the server itself."""

from __future__ import annotations

from typing import Any

from media_contracts.errors import ErrorCode
from media_contracts.formats import ALIASES, FORMATS, Format

MAX_NAME_CHARACTERS = 255
_REFUSALS = (
    ErrorCode.INVALID_FILE_NAME, ErrorCode.INVALID_TYPE, ErrorCode.INVALID_SIZE,
    ErrorCode.FILE_TOO_LARGE, ErrorCode.TYPE_MISMATCH,
)  # fmt: skip


def upload_rules() -> dict[str, Any]:
    """
    Return the accepted formats with their first bytes, and the sentences of refusals.

    A magic is a list of offsets, each with bytes in hexadecimal, and the first format that fits is
    the file's. How large a file may be is a setting, and no part of it.
    """
    return {
        "maxNameCharacters": MAX_NAME_CHARACTERS,
        "formats": [_format(one) for one in FORMATS],
        "aliases": ALIASES,
        "sentences": {code: code.sentence for code in _REFUSALS},
    }


def _format(one: Format) -> dict[str, Any]:
    return {
        "family": one.family,
        "types": one.types,
        "magics": [[[at, word.hex()] for at, word in magic] for magic in one.magics],
        "brands": sorted(brand.decode() for brand in one.brands),
    }
