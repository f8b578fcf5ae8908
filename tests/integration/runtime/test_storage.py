"""The object store: buckets with their settings, grants that hold, objects that go for good."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from media_contracts import ObjectRef
from media_runtime.settings import StorageSettings
from media_runtime.storage import buckets as bucket_setup
from media_runtime.storage import presign
from media_runtime.storage.buckets import BucketSetupError
from media_runtime.storage.presign import Presigner, UploadGrant, UploadSigner
from media_runtime.storage.store import (
    ContentChangedError,
    ObjectMissingError,
    ObjectStore,
    QuotaExceededError,
    StorageUnavailableError,
    output_prefix,
    upload_key,
)

from support.buckets import our_store, remove_buckets, replace
from support.http_clients import web

QUOTA = 10**9
HOUR = timedelta(hours=1)
PNG = "image/png"


@pytest.fixture(scope="module")
def settings() -> StorageSettings:
    return our_store()


@pytest.fixture(scope="module")
async def store(settings) -> AsyncIterator[ObjectStore]:
    found = ObjectStore(settings)
    yield found
    found.close()
    remove_buckets(settings)


@pytest.fixture(scope="module")
async def company(store) -> UUID:
    company_id = uuid4()
    await store.ensure_bucket(company_id, quota_bytes=QUOTA)
    return company_id


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with web() as client:
        yield client


async def put(
    http: httpx.AsyncClient, grant: UploadGrant, data: bytes, **changed: str
) -> tuple[int, str]:
    headers = {**grant.headers, **{n.replace("_", "-"): value for n, value in changed.items()}}
    answer = await http.put(grant.url, content=data, headers=headers)
    return answer.status_code, answer.text


def granted(store: ObjectStore, company: UUID, *, size: int = 100, lifetime=HOUR):
    """Return a key, and a grant of the store itself: what it refuses without an edge before it."""
    key = upload_key(company, uuid4())
    signer = UploadSigner(store._settings, store._settings.s3_endpoint_url)
    bucket = store.bucket_of(company)
    return key, signer.grant(bucket, key, content_type=PNG, size=size, lifetime=lifetime)


async def versions(store: ObjectStore, bucket: str, prefix: str) -> int:
    listed = store._client.list_objects(bucket, prefix=prefix, recursive=True, include_version=True)
    return len(list(listed))


async def test_a_bucket_has_versions_and_both_notifications_and_its_quota(store, company, settings):
    bucket = store.bucket_of(company)
    assert bucket == f"{settings.s3_bucket_prefix}{company}"
    assert store._client.get_bucket_versioning(bucket).status == "Enabled"
    targets = store._client.get_bucket_notification(bucket).queue_config_list
    assert {target.queue.split(":")[-2] for target in targets} == {"INGEST", "FAST"}
    for target in targets:
        assert target.events == ["s3:ObjectCreated:*"]
        assert target.prefix_filter_rule.value == f"{company}/uploads/"
        assert target.suffix_filter_rule is None
    assert f'"quota":{QUOTA}' in store._setup._admin().bucket_quota_get(bucket).replace(" ", "")


async def test_a_bucket_can_be_ensured_again_with_another_quota(store, company):
    bucket = await store.ensure_bucket(company, quota_bytes=2 * QUOTA)
    assert str(2 * QUOTA) in store._setup._admin().bucket_quota_get(bucket)
    await store.ensure_bucket(company, quota_bytes=QUOTA)


async def test_settings_that_did_not_take_are_an_error(store, monkeypatch):
    """A bucket without notification would swallow uploads in silence."""
    monkeypatch.setattr(store._setup._client, "set_bucket_notification", lambda *_: None)
    with pytest.raises(BucketSetupError, match="notification was not stored"):
        await store.ensure_bucket(uuid4(), quota_bytes=QUOTA)


async def test_a_quota_that_did_not_take_is_an_error(store, company, monkeypatch):
    monkeypatch.setattr(bucket_setup.MinioAdmin, "bucket_quota_set", lambda *_: None)
    with pytest.raises(BucketSetupError, match="quota was not stored"):
        await store.ensure_bucket(company, quota_bytes=3 * QUOTA)


async def test_an_unknown_notification_target_is_an_error(settings):
    wrong = settings.model_copy(update={"s3_notification_arns": "arn:minio:sqs::NONE:kafka"})
    store = ObjectStore(wrong)
    with pytest.raises(StorageUnavailableError, match="InvalidArgument"):
        await store.ensure_bucket(uuid4(), quota_bytes=QUOTA)
    store.close()


@pytest.mark.parametrize("size", [1, 100])
async def test_what_was_granted_is_stored_as_it_was_sent(store, company, http, tmp_path, size):
    key, grant = granted(store, company, size=size)
    data = os.urandom(size)
    assert (await put(http, grant, data))[0] == 200
    ref = ObjectRef(bucket=store.bucket_of(company), key=key)
    found = await store.stat(ref)
    assert (found.size, found.content_type, bool(found.version_id)) == (size, PNG, True)
    await store.download(ref, tmp_path / "stored")
    assert (tmp_path / "stored").read_bytes() == data


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        pytest.param(b"x" * 101, {}, id="one byte more than declared"),
        pytest.param(b"x" * 99, {}, id="one byte less"),
        pytest.param(b"", {}, id="nothing"),
        pytest.param(b"x" * 100, {"Content_Type": "text/html"}, id="another type"),
    ],
)
async def test_what_was_not_granted_is_refused(store, company, http, data, changed):
    key, grant = granted(store, company)
    status, text = await put(http, grant, data, **changed)
    assert (status, "SignatureDoesNotMatch" in text) == (403, True), text
    assert await versions(store, store.bucket_of(company), key) == 0


@pytest.mark.parametrize(
    ("part", "other"),
    [
        pytest.param("/uploads/", "/outputs/", id="another key"),
        pytest.param("X-Amz-Expires=3600", "X-Amz-Expires=36000", id="more time"),
        pytest.param("X-Amz-Signature=", "X-Amz-Signature=0", id="another signature"),
        pytest.param("?", "?versionId=null&", id="a version"),
    ],
)
async def test_a_url_that_was_changed_is_refused(store, company, http, part, other):
    key, grant = granted(store, company)
    changed = UploadGrant(grant.url.replace(part, other, 1), grant.headers, grant.expires_at)
    status, text = await put(http, changed, b"x" * 100)
    assert status == 403, text
    assert await versions(store, store.bucket_of(company), key) == 0


async def test_a_grant_is_of_no_use_in_another_companys_bucket(store, company, http):
    other = uuid4()
    await store.ensure_bucket(other, quota_bytes=QUOTA)
    _, grant = granted(store, company)
    elsewhere = UploadGrant(
        grant.url.replace(str(company), str(other), 1), grant.headers, grant.expires_at
    )
    status, _ = await put(http, elsewhere, b"x" * 100)
    assert status == 403
    assert await versions(store, store.bucket_of(other), "") == 0


async def test_an_expired_grant_is_refused(store, company, http, monkeypatch):
    class Earlier(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(hours=2)

    monkeypatch.setattr(presign, "datetime", Earlier)
    key, grant = granted(store, company)
    status, text = await put(http, grant, b"x" * 100)
    assert (status, "expired" in text.lower()) == (403, True), text
    assert await versions(store, store.bucket_of(company), key) == 0


async def test_an_upload_in_parts_and_its_download_need_nothing_but_presigned_urls(
    store, company, http
):
    signer = Presigner(store._settings, store._settings.s3_endpoint_url)
    bucket, key = store.bucket_of(company), f"{upload_key(company, uuid4())} in parts, ü+&=?"
    first, last = b"1" * 5 * 1024**2, b"2" * 7

    async def ask(method, query, content=b""):
        now = datetime.now(UTC)
        url = signer.url(method, f"/{bucket}/{key}", query=query, lifetime=HOUR, now=now)
        answer = await http.request(method, url, content=content)
        assert answer.status_code == 200, answer.text
        return answer

    begun = await ask("POST", {"uploads": ""})
    (upload_id,) = re.findall("<UploadId>(.*)</UploadId>", begun.text)
    assert [one.key for one in await store.unfinished_uploads(bucket)] == [key]
    etags = [
        (await ask("PUT", {"partNumber": str(n), "uploadId": upload_id}, part)).headers["etag"]
        for n, part in ((1, first), (2, last))
    ]
    told = "".join(
        f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>"
        for n, etag in enumerate(etags, start=1)
    )
    done = f"<CompleteMultipartUpload>{told}</CompleteMultipartUpload>"
    await ask("POST", {"uploadId": upload_id}, done.encode())

    (found,) = await store.objects(bucket, key, all_versions=True)
    assert (await ask("GET", {"versionId": found.version_id})).content == first + last
    assert await store.unfinished_uploads(bucket) == []


async def test_an_upload_in_parts_can_be_aborted_more_than_once(store, company, http):
    signer = Presigner(store._settings, store._settings.s3_endpoint_url)
    bucket, key = store.bucket_of(company), f"{upload_key(company, uuid4())} ü+&=?"
    now = datetime.now(UTC)
    url = signer.url("POST", f"/{bucket}/{key}", query={"uploads": ""}, lifetime=HOUR, now=now)
    assert (await http.post(url)).status_code == 200

    (upload,) = await store.unfinished_uploads(bucket)
    assert (upload.key, upload.begun_at > now - HOUR) == (key, True)
    for _ in range(2):
        await store.abort_upload(upload)
        assert await store.unfinished_uploads(bucket) == []
    with pytest.raises(ObjectMissingError):
        await store.unfinished_uploads(store.bucket_of(uuid4()))


async def test_what_a_bucket_does_not_hold_is_told_as_that(store, tmp_path):
    """An output that is too large ends its asset at once; nobody tries again for a day."""
    company_id, path = uuid4(), tmp_path / "output"
    bucket = await store.ensure_bucket(company_id, quota_bytes=1000)
    await store.upload_bytes(bucket, "a", b"x" * 500, content_type=PNG, cache_control="no-store")
    path.write_bytes(bytes(2000))
    with pytest.raises(QuotaExceededError) as full:
        await store.upload(bucket, "b", path, content_type=PNG, cache_control="no-store")
    assert full.value.code == "quota_exceeded"
    with pytest.raises(QuotaExceededError):
        await store.upload_bytes(bucket, "c", bytes(2000), content_type=PNG, cache_control="x")
    assert [found.key for found in await store.objects(bucket)] == ["a"]


async def test_all_versions_under_a_prefix_are_removed_and_no_others(store, company):
    bucket, mine, other = store.bucket_of(company), uuid4(), uuid4()
    for asset in (mine, mine, other):
        key = f"{output_prefix(company, asset)}1-1/video.mp4"
        await store.upload_bytes(bucket, key, b"x", content_type=PNG, cache_control="no-store")
    assert await store.delete_prefix(bucket, output_prefix(company, mine)) == 2
    assert await versions(store, bucket, output_prefix(company, mine)) == 0
    assert await versions(store, bucket, output_prefix(company, other)) == 1
    assert await store.delete_prefix(bucket, output_prefix(company, mine)) == 0


async def test_a_deleted_objects_old_versions_and_markers_go_too(store, company):
    bucket, key = store.bucket_of(company), upload_key(company, uuid4())
    await store.upload_bytes(bucket, key, b"x", content_type=PNG, cache_control="no-store")
    store._client.remove_object(bucket, key)
    assert await versions(store, bucket, key) == 2
    assert await store.delete_prefix(bucket, key) == 2
    assert await versions(store, bucket, key) == 0


async def test_a_version_is_read_although_a_newer_one_was_uploaded(store, company, tmp_path):
    bucket, key = store.bucket_of(company), upload_key(company, uuid4())
    await store.upload_bytes(bucket, key, b"first", content_type=PNG, cache_control="no-store")
    first = await store.stat(ObjectRef(bucket=bucket, key=key))
    await store.upload_bytes(bucket, key, b"second", content_type=PNG, cache_control="no-store")
    path = tmp_path / "f"
    await store.download(ObjectRef(bucket=bucket, key=key, version_id=first.version_id), path)
    assert path.read_bytes() == b"first"


async def test_other_bytes_than_those_that_were_checked_are_refused(store, company, tmp_path):
    """A version is immutable, but for whoever uploads with its id."""
    bucket, key = store.bucket_of(company), upload_key(company, uuid4())
    await store.upload_bytes(bucket, key, b"checked", content_type=PNG, cache_control="no-store")
    version = (await store.stat(ObjectRef(bucket=bucket, key=key))).version_id
    ref = ObjectRef(bucket=bucket, key=key, version_id=version)
    checked = await store.download(ref, tmp_path / "f")
    assert checked == hashlib.sha256(b"checked").hexdigest()
    pinned = ref.model_copy(update={"sha256": checked})
    assert await store.download(pinned, tmp_path / "f") == checked
    replace(store, ref, b"another")
    with pytest.raises(ContentChangedError) as refused:
        await store.download(pinned, tmp_path / "f")
    assert refused.value.code == "content_changed"


@pytest.mark.parametrize("version", [None, str(UUID(int=1))])
@pytest.mark.parametrize("bucket", ["", "absent"])
async def test_what_is_missing_is_missing(store, company, tmp_path, bucket, version):
    ref = ObjectRef(bucket=store.bucket_of(company) + bucket, key=f"{uuid4()}", version_id=version)
    with pytest.raises(ObjectMissingError) as missing:
        await store.stat(ref)
    assert missing.value.code == "object_missing"
    with pytest.raises(ObjectMissingError):
        await store.download(ref, tmp_path / "f")


async def test_removing_from_a_bucket_that_is_missing_says_so(store):
    with pytest.raises(ObjectMissingError):
        await store.delete_prefix(store.bucket_of(uuid4()), "x")


async def test_a_store_that_is_away_is_worth_waiting_for(settings, tmp_path):
    away = ObjectStore(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"}))
    ref = ObjectRef(bucket="b" * 5, key="k")
    with pytest.raises(StorageUnavailableError):
        await away.download(ref, tmp_path / "f")
    with pytest.raises(StorageUnavailableError):
        await away.ping()
    with pytest.raises(StorageUnavailableError):
        await away.ensure_bucket(uuid4(), quota_bytes=QUOTA)
    away.close()


async def test_wrong_credentials_are_worth_waiting_for(settings):
    secret = type(settings.s3_secret_key)(secrets.token_hex(8))
    wrong = ObjectStore(settings.model_copy(update={"s3_secret_key": secret}))
    with pytest.raises(StorageUnavailableError):
        await wrong.stat(ObjectRef(bucket="b" * 5, key="k"))
    wrong.close()
