"""What is told of an asset while Kafka takes its time."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from media_records.tables import Asset
from watcher.operator import timeline


async def test_events_that_cannot_be_read_in_time_are_an_answer(kafka_settings, monkeypatch):
    asset = Asset(id=uuid4(), created_at=datetime(2020, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(timeline, "_SECONDS", 0.001)
    found = await timeline._events(kafka_settings, asset)
    assert "were not read in time" in found["error"]
