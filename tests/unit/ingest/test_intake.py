"""In which order notifications are taken in."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from aiokafka import ConsumerRecord
from ingest.intake import MOST, TURNS, bucket_of, by_company
from media_runtime.kafka.turns import Lines
from media_runtime.storage.store import upload_key

from support.assets import stored

FLOODING, OTHER = uuid4(), uuid4()


def announced(key, offset=0):
    return ConsumerRecord("t", 0, offset, 0, 0, key, b"", None, 0, 0, ())


def key_of(company, asset):
    return f"media-{company}/{upload_key(company, asset)}".encode()


def test_whoever_comes_behind_a_flood_is_in_the_next_batch():
    lines = Lines(TURNS)
    flood = [announced(key_of(FLOODING, uuid4()), offset) for offset in range(5000)]
    photo = announced(key_of(OTHER, uuid4()), len(flood))
    lines.add([*flood, photo])
    assert photo in lines.hand_out(MOST)


def test_each_company_has_one_line_for_all_its_uploads():
    lines = {bucket_of(announced(key_of(FLOODING, uuid4()))) for _ in range(3)}
    assert len(lines) == 1
    assert bucket_of(announced(key_of(OTHER, uuid4()))) not in lines


@pytest.mark.parametrize("key", [None, b"", b"x", b"\xff\xfe", str(uuid4()).encode()])
def test_whatever_has_no_bucket_in_its_key_shares_a_line(key):
    assert bucket_of(announced(key)) == b""


def test_each_company_of_a_batch_has_its_uploads_taken_in_together():
    flood = [stored(FLOODING, uuid4()) for _ in range(20)]
    one = stored(OTHER, uuid4())
    begun = list(by_company([*flood[:10], one, *flood[10:]]))
    assert [company for company, _ in begun] == [FLOODING, OTHER]
    assert [list(announced.values()) for _, announced in begun] == [flood, [one]]


def test_what_is_told_of_one_asset_is_taken_in_order_and_one_at_a_time():
    asset = uuid4()
    told = [stored(OTHER, asset, version=version) for version in ("v1", "v2", "v1")]
    begun = [announced[asset].version_id for _, announced in by_company(told)]
    assert begun == ["v1", "v2", "v1"]


def test_what_is_no_upload_is_nobodys():
    assert list(by_company([replace(stored(OTHER, uuid4()), key="file.mp4")])) == []
