"""In which order a batch of notifications is taken in."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from ingest.intake import turns

from support.assets import stored

FLOODING, OTHER = uuid4(), uuid4()


def test_companies_take_turns_of_a_few_uploads():
    flood = [stored(FLOODING, uuid4()) for _ in range(500)]
    one = stored(OTHER, uuid4())
    begun = list(turns([*flood, one]))
    assert [company for company, _ in begun[:3]] == [FLOODING, OTHER, FLOODING]
    assert len(begun[0][1]) <= 50
    taken = [upload for company, turn in begun if company == FLOODING for upload in turn.values()]
    assert taken == flood


def test_what_is_told_of_one_asset_is_taken_in_order_and_one_at_a_time():
    asset = uuid4()
    told = [stored(OTHER, asset, version=version) for version in ("v1", "v2", "v1")]
    begun = [turn[asset].version_id for _, turn in turns(told)]
    assert begun == ["v1", "v2", "v1"]


def test_what_is_no_upload_has_no_turn():
    assert list(turns([replace(stored(OTHER, uuid4()), key="file.mp4")])) == []
