"""What tasks of ingest have made, stored in one way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ingest.metrics import BYTES, timed
from media_records.tables import Asset
from media_records.tasks import Task
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import ObjectStore

# The bytes under a key never change, but a deleted asset is not to be served for long.
_CACHE_CONTROL = "public, max-age=3600"


async def store_output(
    store: ObjectStore, task: Task, asset: Asset, path: Path, *, name: str, content_type: str
) -> dict[str, Any]:
    """
    Store the file at *path*, which *task* has made, under a key that ends with *name*.

    Returns what a MediaFile says of it: its ``key``, ``content_type``, ``size`` and ``sha256``.
    """
    key = output_key(asset.company_id, asset.id, asset.attempt, name, fence=task.fence)
    with timed("upload"):
        stored = await store.upload(
            asset.bucket, key, path, content_type=content_type, cache_control=_CACHE_CONTROL
        )
    BYTES.labels("out").inc(stored.size)
    return {"key": key, "content_type": content_type, **stored._asdict()}
