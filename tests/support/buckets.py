"""An object store of a test's own: its buckets share a prefix by which they are removed."""

from __future__ import annotations

import os
import secrets
from datetime import timedelta

import httpx
from media_contracts import ObjectRef
from media_runtime.settings import StorageSettings
from media_runtime.storage.store import ObjectStore
from minio.deleteobjects import DeleteObject


def our_store() -> StorageSettings:
    """Return settings of the object store with a bucket prefix of their own."""
    missing = [name for name in _VARIABLES if not os.environ.get(name)]
    assert not missing, f"set {', '.join(missing)}, or run ./mediactl test"
    return StorageSettings(s3_bucket_prefix=f"t{secrets.token_hex(4)}-")


def replace(store: ObjectStore, ref: ObjectRef, data: bytes) -> None:
    """Store *data* as this version of an object, in the place of what it has."""
    assert ref.version_id
    url = store._client.get_presigned_url(
        "PUT", ref.bucket, ref.key, expires=timedelta(minutes=1), version_id=ref.version_id
    )
    answer = httpx.put(url, content=data, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-amz-version-id"] == ref.version_id


def remove_buckets(settings: StorageSettings) -> None:
    """Remove the buckets of these settings and all that is in them."""
    store = ObjectStore(settings)
    client = store._client
    for bucket in client.list_buckets():
        if bucket.name.startswith(settings.s3_bucket_prefix):
            found = client.list_objects(bucket.name, recursive=True, include_version=True)
            objects = [DeleteObject(one.object_name or "", one.version_id) for one in found]
            problems = list(client.remove_objects(bucket.name, objects))
            assert not problems, problems
            client.remove_bucket(bucket.name)
    store.close()


_VARIABLES = ("S3_ENDPOINT_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY")
