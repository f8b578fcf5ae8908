"""
Ends links to the files of deleted assets: the edge is told of each deletion.

Invariant: a deletion that an edge did not hear of is told again until it has; what a link leads
to is then refused, whether or not a copy is in a cache.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import structlog
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker
from media_contracts import MEDIA_STATUS, AssetStatus, AssetStatusChanged
from media_runtime.errors import TransientError
from media_runtime.http.links import LinkKind
from media_runtime.kafka.consumer import known_event, make_broker, on_batches
from media_runtime.kafka.producer import Producer
from media_runtime.kafka.turns import BY_COMPANY
from notifier.metrics import LINKS_ENDED
from notifier.settings import NotifierSettings

log = structlog.get_logger(__name__)

_SECONDS = 3.0
_PAUSE_SECONDS = 2.0
_MOST = 100


class EdgeUnavailableError(TransientError):
    """An edge cannot be told for now."""


class EndLinks:
    """Takes records of media_status: a deletion goes to each of *edge_urls*, others nowhere."""

    def __init__(self, edge_urls: Sequence[str]) -> None:
        self._edge_urls = edge_urls

    async def __call__(self, values: Sequence[bytes]) -> None:
        """
        Tell of each deletion; doing so again is free.

        Raises EdgeUnavailableError where an edge does not take it, and ContractError.
        """
        for value in values:
            event = known_event(MEDIA_STATUS, value)
            if event is not None and isinstance(event.data, AssetStatusChanged):
                await self._take(event.subject, event.data)

    async def _take(self, asset_id: UUID, changed: AssetStatusChanged) -> None:
        if changed.status != AssetStatus.DELETED:
            return
        kinds = [LinkKind.MEDIA] if changed.thumbnail_kept else list(LinkKind)
        for url in self._edge_urls:
            for kind in kinds:
                await asyncio.to_thread(_tell, url, kind, asset_id)
        LINKS_ENDED.inc()
        log.info("links_ended", asset_id=str(asset_id), kinds=kinds)


@asynccontextmanager
async def ending_links(
    settings: NotifierSettings, producer: Producer, *, name: str
) -> AsyncIterator[None]:
    """
    Tell the edges of *settings* of deletions for the block; each goes to one of all replicas.

    While Kafka is away nothing is told, and the block begins all the same.
    """
    edge_urls = [url.strip() for url in settings.edge_urls.split(",") if url.strip()]
    if not edge_urls:
        yield
        return
    broker = make_broker(settings, producer, name=name)
    handler = EndLinks(edge_urls)
    # Few are deletions: one at a time, most of the work would be to commit what is of no use here.
    on_batches(broker, MEDIA_STATUS, handler, settings=settings, most=_MOST, turns=BY_COMPANY)
    starting = asyncio.create_task(_start(broker))
    try:
        yield
    finally:
        starting.cancel()
        await asyncio.wait([starting])
        await broker.stop()


async def _start(broker: KafkaBroker) -> None:
    while True:
        try:
            return await broker.start()
        except KafkaError as error:
            log.warning("links_wait_for_kafka", error=repr(error))
            await asyncio.sleep(_PAUSE_SECONDS)


def _tell(edge_url: str, kind: LinkKind, asset_id: UUID) -> None:
    address = f"{edge_url.rstrip('/')}/revoked/{kind}/{asset_id}"
    request = urllib.request.Request(address, data=b"", method="PUT")  # noqa: S310 - our own setting
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=_SECONDS).close()
    except OSError as error:
        raise EdgeUnavailableError(f"{edge_url}: {error}") from error
