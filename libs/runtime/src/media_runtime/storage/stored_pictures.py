"""
Pictures in storage, and what is said of them beside their bytes.

Invariant: that can be written by whoever makes pictures, and read by all. What an event says of a
picture counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from media_contracts import Picture, Placeholder
from media_contracts.warnings import WarningCode
from media_runtime.storage.store import StoredObject

_WIDTH, _HEIGHT, _WARNINGS, _SHA256 = "width", "height", "warnings", "sha256"
_THUMBHASH, _COLOUR = "thumbhash", "colour"


def about_picture(picture: Picture, warnings: tuple[WarningCode, ...]) -> Mapping[str, str]:
    """Return what to say of a *picture*, and what it was made in spite of; see upload_bytes()."""
    about = {
        _WIDTH: str(picture.width),
        _HEIGHT: str(picture.height),
        _WARNINGS: " ".join(warnings),
    }
    if picture.sha256:
        about[_SHA256] = picture.sha256
    if picture.placeholder:
        about |= {
            _THUMBHASH: picture.placeholder.thumbhash,
            _COLOUR: picture.placeholder.colour,
        }
    return about


def stored_picture(name: str, stored: StoredObject) -> Picture:
    """Return the picture that is *stored*; raises ValueError where too little is said of it."""
    about = stored.about
    has_placeholder = about.keys() >= {_THUMBHASH, _COLOUR}
    return Picture(
        name=name,
        bucket=stored.bucket,
        key=stored.key,
        content_type=stored.content_type,
        width=int(about.get(_WIDTH, "")),
        height=int(about.get(_HEIGHT, "")),
        size=stored.size,
        sha256=about.get(_SHA256),
        placeholder=Placeholder(thumbhash=about[_THUMBHASH], colour=about[_COLOUR])
        if has_placeholder
        else None,
    )


def warnings_about(stored: StoredObject) -> set[WarningCode]:
    """Return what a picture was made in spite of."""
    said = stored.about.get(_WARNINGS, "").split()
    return {code for code in WarningCode if code in said}
