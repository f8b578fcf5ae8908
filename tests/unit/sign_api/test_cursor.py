"""Cursors of the asset list: what was written is read, and nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_records.tables import Asset
from media_runtime.http.app import ApiError
from sign_api.views import decode_cursor, encode_cursor


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2999, 1, 1)),  # noqa: DTZ001 - zone is given below
    st.integers(-12, 14),
    st.uuids(),
)
def test_a_cursor_returns_to_its_place_to_the_microsecond(moment, zone, asset_id):
    created = moment.replace(tzinfo=timezone(timedelta(hours=zone)))
    cursor = encode_cursor(Asset(id=asset_id, created_at=created))
    assert decode_cursor(cursor) == (created, asset_id)
    assert cursor.isascii()
    assert not set(cursor) & set("=+/&?#% ")


def written(text: str) -> str:
    import base64

    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "====",
        "ü",
        "not base64!",
        "\0",
        "A" * 10_000,
        written(""),
        written("|"),
        written(f"{datetime(2026, 1, 1, tzinfo=UTC).isoformat()}|"),
        written(f"|{UUID(int=0)}"),
        written(f"yesterday|{UUID(int=1)}"),
        written(f"2026-13-01T00:00:00+00:00|{UUID(int=1)}"),
        written(f"0001-01-01T00:00:00+14:00|{UUID(int=1)}"),
        written("2026-01-01T00:00:00+00:00|not-a-uuid"),
    ],
)
def test_what_no_page_returned_is_refused(cursor):
    with pytest.raises(ApiError) as refused:
        decode_cursor(cursor)
    assert (refused.value.status, refused.value.code) == (400, "invalid_cursor")


@given(st.text(max_size=80))
def test_no_text_breaks_the_reading_of_a_cursor(cursor):
    try:
        moment, _ = decode_cursor(cursor)
    except ApiError:
        return
    assert moment.tzinfo is not None
