"""Bucket notifications: read as MinIO sends them, written as MinIO would have."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import (
    MalformedNotificationError,
    StoredObject,
    attempt_of,
    build_notification,
    output_prefix,
    parse_notification,
    upload_key,
)

AT = datetime(2026, 11, 23, 12, 0, 0, 123_456, tzinfo=UTC)
COMPANY = UUID("85babafe-f20f-4fe8-94de-edd889a4030e")
ASSET = UUID("1bd2de0d-ca5e-4587-b540-f52812ab34cd")

# Taken from MinIO's Kafka target, cut to the fields that matter.
REAL = {
    "EventName": "s3:ObjectCreated:Post",
    "Key": f"media-{COMPANY}/{COMPANY}/uploads/{ASSET}",
    "Records": [
        {
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-11-23T05:16:46.771Z",
            "eventName": "s3:ObjectCreated:Post",
            "userIdentity": {"principalId": "admin"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "Config",
                "bucket": {"name": f"media-{COMPANY}", "arn": f"arn:aws:s3:::media-{COMPANY}"},
                "object": {
                    "key": f"{COMPANY}%2Fuploads%2F{ASSET}",
                    "size": 1234,
                    "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                    "contentType": "image/png",
                    "userMetadata": {"content-type": "image/png"},
                    "versionId": "0bd2ff3e-5f5f-4b7c-8d43-2f9ab0ae0b7e",
                    "sequencer": "18A2B3C4D5E6F708",
                },
            },
            "source": {"host": "", "port": "", "userAgent": ""},
        }
    ],
}

objects = st.builds(
    StoredObject,
    bucket=st.text(st.characters(categories=["Ll", "Nd"]), min_size=1),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    version_id=st.none() | st.uuids().map(str),
    size=st.integers(0, 2**40),
    etag=st.text(st.characters(codec="ascii")),
    sequencer=st.text(st.characters(codec="ascii")),
)


def test_a_notification_of_minio_is_understood():
    (found,) = parse_notification(json.dumps(REAL).encode())
    assert found == StoredObject(
        bucket=f"media-{COMPANY}",
        key=f"{COMPANY}/uploads/{ASSET}",
        version_id="0bd2ff3e-5f5f-4b7c-8d43-2f9ab0ae0b7e",
        size=1234,
        etag="d41d8cd98f00b204e9800998ecf8427e",
        sequencer="18A2B3C4D5E6F708",
    )
    assert found.owner == (COMPANY, ASSET)


@given(objects)
def test_what_we_write_is_what_we_read(stored):
    assert parse_notification(build_notification(stored, source="t", at=AT)) == [stored]


@pytest.mark.parametrize(
    ("key", "escaped"),
    [
        ("a b", "a+b"),
        ("a+b", "a%2Bb"),
        ("a/b", "a%2Fb"),
        ("100%", "100%25"),
        ("ü", "%C3%BC"),
        ("a&b=c", "a%26b%3Dc"),
        ("~-_.", "~-_."),
    ],
)
def test_keys_are_escaped_as_go_escapes_queries(key, escaped):
    stored = StoredObject("b", key, None, 1, "e")
    written = json.loads(build_notification(stored, source="t", at=AT))
    assert written["Records"][0]["s3"]["object"]["key"] == escaped
    assert written["Key"] == f"b/{key}"


def test_time_is_written_in_utc():
    elsewhere = AT.astimezone(timezone(timedelta(hours=9)))
    written = json.loads(build_notification(StoredObject("b", "k", None, 1, "e"), source="t",
                                            at=elsewhere))  # fmt: skip
    assert written["Records"][0]["eventTime"].startswith("2026-11-23T12:00:00.123")


def test_a_removal_tells_of_no_object():
    removed = json.loads(json.dumps(REAL))
    removed["Records"][0]["eventName"] = "s3:ObjectRemoved:Delete"
    del removed["Records"][0]["s3"]["object"]["size"]
    del removed["Records"][0]["s3"]["object"]["eTag"]
    assert parse_notification(json.dumps(removed).encode()) == []


def test_every_record_of_a_notification_counts():
    several = {**REAL, "Records": REAL["Records"] * 3}
    assert len(parse_notification(json.dumps(several).encode())) == 3


def test_an_object_without_versions_has_none():
    plain = json.loads(json.dumps(REAL))
    del plain["Records"][0]["s3"]["object"]["versionId"]
    (found,) = parse_notification(json.dumps(plain).encode())
    assert found.version_id is None


def created(**s3: object) -> bytes:
    return json.dumps({"Records": [{"eventName": "s3:ObjectCreated:Put", "s3": s3}]}).encode()


@pytest.mark.parametrize(
    "value",
    [
        b"", b"{", b"null", b"7", b"[]", b"{}", b"\xff\xfe", b'{"Records": null}',
        b'{"Records": [7]}', b'{"Records": [{}]}', b'{"Records": [{"eventName": null}]}',
        b'{"Records": [{"eventName": "s3:ObjectCreated:Put"}]}',
        created(object={"key": "k", "size": 1}),
        created(bucket={"name": "b"}, object={"key": "k", "size": "many"}),
        created(bucket={"name": "b"}, object={"key": 7, "size": 1}),
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_notification_is_refused(value):
    with pytest.raises(MalformedNotificationError) as refused:
        parse_notification(value)
    assert refused.value.code == "malformed_notification"


@given(st.binary(max_size=60) | st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["Records", "eventName", "s3", "object", "bucket", "key", "name"]), inner
    )
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_nothing_else_is_raised_for_any_bytes(value):
    try:
        parse_notification(value)
    except MalformedNotificationError:
        return


def test_a_key_names_its_owner():
    assert StoredObject("b", upload_key(COMPANY, ASSET), None, 1, "").owner == (COMPANY, ASSET)


@pytest.mark.parametrize(
    "key",
    [
        "file.mp4",
        "",
        "//",
        f"{COMPANY}/uploads/",
        f"{COMPANY}/uploads/{ASSET}/x",
        f"{COMPANY}/uploads/{ASSET}.mp4",
        f"{COMPANY}/outputs/{ASSET}",
        f"x{COMPANY}/uploads/{ASSET}",
        f"{COMPANY}/uploads/..",
        f"/{COMPANY}/uploads/{ASSET}",
        output_key(COMPANY, ASSET, 1, "video.mp4", fence=1),
        output_key(COMPANY, ASSET, 1, "image"),
    ],
)
def test_a_foreign_key_has_no_owner(key):
    assert StoredObject("b", key, None, 1, "").owner is None


def test_outputs_of_other_attempts_and_workers_lie_elsewhere():
    pairs = [(attempt, fence) for attempt in (1, 2, 12) for fence in (None, 1, 2, 21)]
    keys = {
        output_key(COMPANY, ASSET, attempt, "x", fence=fence): attempt for attempt, fence in pairs
    }
    assert len(keys) == len(pairs)
    assert {key: attempt_of(key) for key in keys} == keys
    assert all(key.startswith(output_prefix(COMPANY, ASSET)) for key in keys)
    assert not upload_key(COMPANY, ASSET).startswith(output_prefix(COMPANY, ASSET))


@pytest.mark.parametrize(
    "key", ["", "x", upload_key(COMPANY, ASSET), f"{output_prefix(COMPANY, ASSET)}x-1/video.mp4"]
)
def test_other_keys_carry_no_attempt(key):
    assert attempt_of(key) is None
