"""What object storage has left, as MinIO's own metrics tell it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import httpx
from media_runtime.errors import TransientError
from media_runtime.storage.metrics import METRICS_PATH, metrics_token
from prometheus_client.parser import text_string_to_metric_families
from watcher.metrics import SPACE
from watcher.monitoring.findings import Finding, Kind, Severity
from watcher.settings import WatchSettings

_TOTAL = "minio_cluster_capacity_usable_total_bytes"
_FREE = "minio_cluster_capacity_usable_free_bytes"
_SECONDS = 10.0
_PERCENT = 100


class StorageAwayError(TransientError):
    """Object storage does not tell how it is."""


@dataclass(frozen=True)
class Space:
    """What object storage has for files, in all and left, in bytes."""

    total_bytes: float
    free_bytes: float


async def read_space(settings: WatchSettings) -> Space:
    """Return what is left; raises StorageAwayError."""
    try:
        text = await ask_metrics(settings, METRICS_PATH)
        told = {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        return Space(told[_TOTAL], told[_FREE])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise StorageAwayError(f"object storage tells no metrics: {error!r}") from error


async def ask_metrics(settings: WatchSettings, path: str) -> str:
    """Return what the store tells at *path* of its metrics; raises httpx.HTTPError."""
    async with httpx.AsyncClient(
        base_url=settings.s3_endpoint_url, timeout=_SECONDS, verify=_trusted()
    ) as client:
        answer = await client.get(path, headers=_login(settings))
        answer.raise_for_status()
        return answer.text


@cache
def _trusted() -> ssl.SSLContext:
    """Return whom to believe; reading all authorities takes longer than all else in a round."""
    return ssl.create_default_context()


def _login(settings: WatchSettings) -> dict[str, str]:
    given = settings.s3_metrics_token
    own = metrics_token(settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    return {"Authorization": f"Bearer {given.get_secret_value() if given else own}"}


class SpaceCheck:
    """Tells how much object storage has left."""

    kinds = frozenset({Kind.SPACE, Kind.STORAGE_AWAY})

    def __init__(self, settings: WatchSettings) -> None:
        self._settings = settings

    async def __call__(self) -> Sequence[Finding]:
        """Look once; raises StorageAwayError."""
        space = await read_space(self._settings)
        SPACE.labels("total").set(space.total_bytes)
        SPACE.labels("free").set(space.free_bytes)
        free = space.free_bytes / space.total_bytes if space.total_bytes else 0.0
        if free >= self._settings.space_alert_ratio:
            return ()
        summary = f"Object storage has {free * _PERCENT:.1f} % of its space left."
        details = {"free_bytes": space.free_bytes, "total_bytes": space.total_bytes}
        return (Finding(Kind.SPACE, Severity.PAGE, summary, details=details),)
