"""What clients see of how long an asset has to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from media_contracts import AssetStatus
from media_records.tables import Asset, AssetWait
from media_runtime.http.links import LinkSigner
from media_runtime.settings import EdgeKeySettings
from sign_api.views import asset_view

NOW = datetime.now(UTC)
LINKS = LinkSigner(
    EdgeKeySettings.model_validate({"EDGE_KEYS": f"k1:{'s' * 32}"}), "http://edge",
    lifetime=timedelta(hours=1),
)  # fmt: skip


def seen(*, status=AssetStatus.PROCESSING, attempt: int = 1, left: float | None = 90):
    """Return the place and the seconds of an asset that was told so many seconds."""
    asset = Asset.of({
        **dict.fromkeys(Asset.model_fields),
        "id": UUID(int=2), "company_id": UUID(int=1), "status": status.value, "attempt": 2,
        "file_name": "f", "content_type": "video/mp4", "size": 9, "profile": "default",
        "profile_version": 1, "created_at": NOW, "updated_at": NOW, "warnings": [],
    })  # fmt: skip
    wait = AssetWait.of({
        "asset_id": asset.id, "company_id": asset.company_id, "attempt": attempt, "place": 3,
        "ready_at": None if left is None else datetime.now(UTC) + timedelta(seconds=left),
        "told_at": NOW,
    })  # fmt: skip
    view = asset_view(asset, (), LINKS, wait)
    return view.place, view.ready_in_seconds


def test_what_was_told_is_counted_down():
    place, seconds = seen(attempt=2)
    assert place == 3
    assert seconds in range(80, 91)


@pytest.mark.parametrize("left", [None, -5])
def test_without_a_time_that_is_to_come_there_is_a_place_alone(left):
    assert seen(attempt=2, left=left) == (3, None)


@pytest.mark.parametrize("status", [AssetStatus.READY, AssetStatus.FAILED, AssetStatus.DELETED])
def test_what_is_over_waits_no_more(status):
    assert seen(attempt=2, status=status) == (None, None)


def test_what_was_told_of_an_earlier_attempt_is_not_told_of_this_one():
    assert seen(attempt=1) == (None, None)
