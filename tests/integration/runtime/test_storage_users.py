"""What each service may do in storage with its own login, and that it may do nothing else."""

from __future__ import annotations

import asyncio
import io
import secrets
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from media_contracts import ObjectRef
from media_runtime.catalog import METRICS, PROVISIONER, STORAGE_USERS
from media_runtime.settings import ProvisionerSettings, StorageSettings
from media_runtime.storage.buckets import admin_client
from media_runtime.storage.keys import output_key
from media_runtime.storage.metrics import METRICS_PATH, metrics_token
from media_runtime.storage.presign import UploadSigner
from media_runtime.storage.store import (
    ObjectMissingError,
    ObjectStore,
    StorageUnavailableError,
    UnsafeLoginError,
    quarantine_key,
    upload_key,
)
from media_runtime.storage.users import access_key, make_users
from minio import Minio
from minio.error import MinioAdminException, S3Error
from minio.notificationconfig import NotificationConfig
from urllib3 import PoolManager

from support.buckets import our_store, remove_buckets
from support.http_clients import web

SECRETS = {user: secrets.token_hex(16) for user in STORAGE_USERS}
QUOTA = 10**9
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def admin() -> StorageSettings:
    return our_store()


@pytest.fixture(scope="module")
def users(admin):
    """Settings of each user, whose names and buckets are of this test's prefix."""
    make_users(admin, SECRETS)
    provisioner = {
        "s3_provisioner_access_key": access_key(admin.s3_bucket_prefix, PROVISIONER),
        "s3_provisioner_secret_key": SECRETS[PROVISIONER],
    }
    yield {
        user: (ProvisionerSettings if user == "watcher" else StorageSettings)(
            **admin.model_dump(exclude={"s3_access_key", "s3_secret_key"}),
            **provisioner,
            s3_access_key=access_key(admin.s3_bucket_prefix, user),
            s3_secret_key=SECRETS[user],
        )
        for user in STORAGE_USERS
    }
    remove_buckets(admin)
    client = admin_client(admin, PoolManager())
    for user in STORAGE_USERS:
        client.user_remove(access_key(admin.s3_bucket_prefix, user))
        client.policy_remove(access_key(admin.s3_bucket_prefix, user))


@pytest.fixture(scope="module")
def stores(users):
    found = {user: ObjectStore(settings) for user, settings in users.items()}
    yield found
    for store in found.values():
        store.close()


@pytest.fixture(scope="module")
async def company(stores) -> UUID:
    """A company whose bucket the watcher has made."""
    found = uuid4()
    await stores["watcher"].ensure_bucket(found, quota_bytes=QUOTA)
    return found


async def test_each_service_can_do_its_work(stores, users, company, tmp_path):
    asset, bucket = uuid4(), stores["sign_api"].bucket_of(company)
    key, output = upload_key(company, asset), output_key(company, asset, 1, "video.mp4")
    signer = UploadSigner(users["sign_api"], users["sign_api"].s3_endpoint_url)
    grant = signer.grant(bucket, key, content_type="image/png", size=8, lifetime=HOUR)
    async with web() as http:
        done = await http.put(grant.url, content=b"original", headers=grant.headers)
        assert done.status_code == 200, done.text

        stored = await stores["watcher"].stat(ObjectRef(bucket=bucket, key=key))
        original = ObjectRef(bucket=bucket, key=key, version_id=stored.version_id)
        for service in ("ingest", "thumbnailer"):
            path = tmp_path / service
            await stores[service].download(original, path)
            assert path.read_bytes() == b"original"
        await stores["ingest"].upload(
            bucket, output, tmp_path / "ingest", content_type="video/mp4", cache_control="x"
        )
        with pytest.raises(ObjectMissingError):
            await stores["thumbnailer"].stat(ObjectRef(bucket=bucket, key=f"{output}.jpg"))
        await stores["thumbnailer"].upload_bytes(
            bucket, f"{output}.jpg", b"jpg", content_type="image/jpeg", cache_control="x"
        )
        await stores["thumbnailer"].stat(ObjectRef(bucket=bucket, key=f"{output}.jpg"))
        served = tmp_path / "served"
        await stores["edge"].download(ObjectRef(bucket=bucket, key=output), served)
        assert served.read_bytes() == b"original"

    stores["ingest"]._client._create_multipart_upload(bucket, f"{output}.part", {})
    (abandoned,) = await stores["watcher"].unfinished_uploads(bucket)
    await stores["watcher"].abort_upload(abandoned)
    assert await stores["watcher"].unfinished_uploads(bucket) == []

    quarantined = quarantine_key(company, asset)
    version = await stores["watcher"].copy(original, quarantined)
    assert await stores["watcher"].delete_prefix(bucket, key) == 1
    moved = ObjectRef(bucket=bucket, key=quarantined, version_id=version)
    await stores["ingest"].download(moved, tmp_path / "again")
    assert {found.key for found in await stores["watcher"].objects(bucket)} == {
        output, f"{output}.jpg", quarantined,
    }  # fmt: skip
    assert await stores["watcher"].bucket_flaw(company, quota_bytes=QUOTA) is None
    for user in STORAGE_USERS:
        await stores[user].ping()


async def test_originals_are_served_to_nobody(stores, company, tmp_path):
    """Whatever link the edge takes: a browser never opens a stranger's own bytes."""
    asset, bucket = uuid4(), stores["edge"].bucket_of(company)
    for key in (upload_key(company, asset), quarantine_key(company, asset)):
        await stores["watcher"].upload_bytes(
            bucket, key, b"<script>", content_type="image/png", cache_control="x"
        )
        with pytest.raises(StorageUnavailableError, match="AccessDenied"):
            await stores["edge"].download(ObjectRef(bucket=bucket, key=key), tmp_path / "served")


def what_a_client_can_do(client: Minio, bucket: str, company: UUID) -> dict[str, object]:
    """Return calls by what they do, each with a key of its part of the bucket."""
    found = {}
    for part in ("uploads", "quarantine", "outputs", "elsewhere"):
        key = f"{company}/{part}/{uuid4()}"
        found |= {
            f"read {part}": lambda key=key: client.stat_object(bucket, key),
            f"write {part}": lambda key=key: client.put_object(bucket, key, io.BytesIO(b"x"), 1),
            f"delete {part}": lambda key=key: client.remove_object(bucket, key),
        }
    return found | {
        "list": lambda: list(client.list_objects(bucket)),
        "list versions": lambda: list(client.list_objects(bucket, include_version=True)),
        "make a bucket": lambda: client.make_bucket(f"{bucket}-2"),
        "remove the bucket": lambda: client.remove_bucket(bucket),
        "open the bucket": lambda: client.set_bucket_policy(bucket, "{}"),
        "silence the bucket": lambda: client.set_bucket_notification(bucket, NotificationConfig()),
        "make a foreign bucket": lambda: client.make_bucket(f"foreign-{uuid4()}"),
    }


MAY = {
    "sign_api": {"write uploads"},
    "edge": {"read outputs"},
    "ingest": {"read uploads", "read quarantine", "read outputs", "write outputs"},
    "thumbnailer": {"read uploads", "read quarantine", "read outputs", "write outputs"},
    "watcher": {
        "list", "list versions",
        *(f"{verb} {part}" for verb in ("read", "write", "delete")
          for part in ("uploads", "quarantine")),
        "read outputs", "delete outputs",
    },
    PROVISIONER: {"make a bucket", "silence the bucket"},
    METRICS: set(),
}  # fmt: skip


@pytest.mark.parametrize("user", STORAGE_USERS)
async def test_a_user_may_do_no_more(stores, company, user):
    client, bucket = stores[user]._client, stores[user].bucket_of(company)

    def allowed() -> set[str]:
        found = {}
        for what, call in what_a_client_can_do(client, bucket, company).items():
            try:
                call()
            except S3Error as error:
                found[what] = error.code
            else:
                found[what] = "done"
        assert set(found.values()) <= {"done", "AccessDenied", "NoSuchKey", "MethodNotAllowed"}
        return {what for what, end in found.items() if end != "AccessDenied"}

    assert await asyncio.to_thread(allowed) == MAY[user]


async def test_a_prefix_counts_at_its_place_alone(stores, company):
    """An asterisk in a policy would match slashes, too."""
    bucket = stores["sign_api"].bucket_of(company)
    for key in (f"{company}/outputs/{uuid4()}/uploads/x", "x/y/uploads/z", "uploads/x"):
        with pytest.raises(S3Error, match="AccessDenied"):
            stores["sign_api"]._client.put_object(bucket, key, io.BytesIO(b"x"), 1)


@pytest.mark.parametrize("user", sorted({*STORAGE_USERS} - {"watcher", PROVISIONER}))
async def test_the_watcher_alone_makes_buckets(stores, user):
    with pytest.raises(StorageUnavailableError, match="AccessDenied"):
        await stores[user].ensure_bucket(uuid4(), quota_bytes=QUOTA)


@pytest.mark.parametrize("user", STORAGE_USERS)
async def test_a_stolen_login_cannot_be_made_to_last(users, user):
    client = admin_client(users[user], PoolManager())
    for call in (
        lambda: client.user_add(users[user].s3_access_key, "another secret"),
        lambda: client.add_service_account(access_key="mallory0", secret_key="0123456789"),
    ):
        with pytest.raises(MinioAdminException, match="AccessDenied"):
            await asyncio.to_thread(call)


@pytest.mark.parametrize("user", STORAGE_USERS)
async def test_nobody_may_administer(users, user):
    client = admin_client(users[user], PoolManager())
    for call in (
        client.info,
        client.user_list,
        client.policy_list,
        lambda: client.user_add("mallory", "0123456789"),
        lambda: client.policy_set("consoleAdmin", user=users[user].s3_access_key),
    ):
        with pytest.raises(MinioAdminException, match="AccessDenied"):
            await asyncio.to_thread(call)


async def test_metrics_are_read_by_those_who_watch_alone(users):
    async def code(token: str | None) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with web() as client:
            url = users["watcher"].s3_endpoint_url + METRICS_PATH
            return (await client.get(url, headers=headers)).status_code

    def token(user: str, secret: str | None = None) -> str:
        own = users[user].s3_secret_key.get_secret_value()
        return metrics_token(users[user].s3_access_key, secret or own)

    assert {user for user in STORAGE_USERS if await code(token(user)) == 200} == {
        "watcher",
        METRICS,
    }
    assert await code(None) == 403
    assert await code(token(METRICS, "another secret")) == 403
    head, _, signature = token(METRICS).rpartition(".")
    unsigned = f"{head}.{signature[::-1]}"
    assert await code(unsigned) == 403


async def test_an_administrator_is_refused_in_production_alone(admin, users):
    with pytest.raises(UnsafeLoginError, match=r"storage\.users"):
        async with ObjectStore.connect(admin):
            pass
    async with ObjectStore.connect(admin.model_copy(update={"media_env": "development"})):
        pass
    for settings in users.values():
        async with ObjectStore.connect(settings):
            pass
    away = admin.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
    async with ObjectStore.connect(away):
        pass


async def test_making_users_again_changes_nothing_and_may_happen_at_once(admin, users, stores):
    await asyncio.gather(*(asyncio.to_thread(make_users, admin, SECRETS) for _ in range(2)))
    await stores["watcher"].ping()
    del users
