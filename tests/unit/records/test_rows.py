"""Rows are made without the ORM's constructor, and hold what it would have held."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from media_contracts import AssetStatus, FileKind
from media_records.tables import Asset, AssetFile

COMPANY, NOW = uuid4(), datetime.now(UTC)
ASSET = {
    **dict.fromkeys(Asset.model_fields),
    "id": uuid4(), "company_id": COMPANY, "status": AssetStatus.READY.value, "attempt": 1,
    "file_name": "holiday.mp4", "content_type": "video/mp4", "size": 4139823,
    "created_at": NOW, "updated_at": NOW, "processed_at": NOW,
}  # fmt: skip
FILE = {
    **dict.fromkeys(AssetFile.model_fields),
    "asset_id": ASSET["id"], "company_id": COMPANY, "attempt": 1, "name": "video",
    "kind": FileKind.VIDEO.value, "key": f"{COMPANY}/outputs/{ASSET['id']}/1-2/video",
    "content_type": "video/mp4", "size": 9, "width": 1280, "height": 720,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "row"), [(Asset, ASSET), (AssetFile, FILE)])
def test_a_row_is_read_as_it_is_written(kind, row):
    read = kind.of(row)
    assert {name: getattr(read, name) for name in kind.model_fields} == row
