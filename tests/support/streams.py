"""What players would get of a film that was made here: its manifests, and files beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from media_contracts import MediaFile
from media_records.files import Segment
from media_records.tables import AssetFile
from sign_api.playback import _text

from support.making import Made


def rows_of(made: Made) -> list[AssetFile]:
    """Return the rows of all segments, as the database returns them."""
    files: Sequence[MediaFile] = [one for done in made.done.values() for one in done.files]
    segments = [one for one in files if isinstance(one, Segment) and one.name in made.files]
    ids: dict[str, Any] = {"asset_id": uuid4(), "company_id": uuid4(), "attempt": 1}
    return [
        AssetFile(**ids, **one.model_dump(exclude={"text"}))
        for one in sorted(segments, key=lambda one: (one.track, one.part))
    ]


def manifest(name: str, made: Made) -> str:
    """Return the manifest of this name of the stream ``video``."""
    text = _text(name, "video", rows_of(made), is_whole=True)
    assert text is not None
    return text
