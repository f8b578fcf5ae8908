"""
Ends links to the files of deleted assets: the edge is told of each deletion.

Invariant: a deletion that an edge did not hear of is told again until it has; what a link leads
to is then refused, whether or not a copy is in a cache.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Sequence
from uuid import UUID

import structlog
from media_contracts import AssetStatus, AssetStatusChanged, CloudEvent
from media_runtime.errors import TransientError
from media_runtime.links import LinkKind
from notifier.metrics import LINKS_ENDED

log = structlog.get_logger(__name__)

_SECONDS = 3.0


class EdgeUnavailableError(TransientError):
    """An edge cannot be told for now."""


class EndLinks:
    """Handles events of media_status: a deletion goes to each of *edge_urls*, others nowhere."""

    def __init__(self, edge_urls: Sequence[str]) -> None:
        self._edge_urls = edge_urls

    async def __call__(self, event: CloudEvent[AssetStatusChanged]) -> None:
        """Raise EdgeUnavailableError where an edge does not take it; doing so again is free."""
        changed = event.data
        if not isinstance(changed, AssetStatusChanged) or changed.status != AssetStatus.DELETED:
            return
        kinds = [LinkKind.MEDIA] if changed.thumbnail_kept else list(LinkKind)
        for url in self._edge_urls:
            for kind in kinds:
                await asyncio.to_thread(_tell, url, kind, event.subject)
        LINKS_ENDED.inc()
        log.info("links_ended", asset_id=str(event.subject), kinds=kinds)


def _tell(edge_url: str, kind: LinkKind, asset_id: UUID) -> None:
    address = f"{edge_url.rstrip('/')}/revoked/{kind}/{asset_id}"
    request = urllib.request.Request(address, data=b"", method="PUT")  # noqa: S310 - our own setting
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=_SECONDS).close()
    except OSError as error:
        raise EdgeUnavailableError(f"{edge_url}: {error}") from error
