"""
The topics as data: who writes, who reads, how they are laid out.

Invariant: a topic's partition count never changes, because records of one asset are ordered
only as long as its key maps to the same partition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from media_contracts.envelope import CloudEvent, Payload, parse_event
from media_contracts.messages import (
    AssetEstimated,
    AssetPlayable,
    AssetProgressed,
    AssetStatusChanged,
    BatchDecided,
    ImageChecked,
    ImageCheckRequested,
    MediaProcessed,
    ThumbnailFailed,
    ThumbnailMade,
    ThumbnailRequested,
    WebhookDisabled,
)

PARTITIONS = 12
_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Topic:
    """
    One topic. ``retention_ms`` is in milliseconds; ``key`` says what a record's key holds.

    ``messages`` is empty where the form of the messages is not ours (bucket notifications).
    ``group`` is the consumer group of ours that works on it; None where each reader has all.
    """

    name: str
    description: str
    key: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    messages: tuple[type[Payload], ...] = ()
    partitions: int = PARTITIONS
    retention_ms: int = 7 * _DAY_MS
    group: str | None = None

    @property
    def dlq(self) -> str:
        """Name of the topic that keeps what its consumers could not handle."""
        return f"{self.name}_dlq"

    def parse(self, value: bytes | None) -> CloudEvent[Any] | None:
        """
        Return the event in a record's value; raises ContractError where there is none.

        None is an event of a type that this version does not know: consumers pass over it.
        """
        return parse_event(value, {message.event_type: message for message in self.messages})


DLQ_PARTITIONS = 1
DLQ_RETENTION_MS = 30 * _DAY_MS
# A dead letter is a record as large as Kafka takes (1 MiB by default) and its reason.
DLQ_MAX_MESSAGE_BYTES = 2 * 1024 * 1024

MEDIA_INGEST = Topic(
    name="media_ingest",
    description="Bucket notifications of the object store; translated by ingest at once.",
    key="bucket/key of the object, or the asset id where a service asks for a look",
    producers=("minio", "sign_api", "watcher"),
    consumers=("ingest",),
    group="ingest",
)
MEDIA_THUMBNAIL = Topic(
    name="media_thumbnail",
    description="Images to check, and pictures that are wanted.",
    key="asset id",
    producers=("ingest",),
    consumers=("thumbnailer",),
    messages=(ImageCheckRequested, ThumbnailRequested),
    group="thumbnailer",
)
MEDIA_THUMBNAILED = Topic(
    name="media_thumbnailed",
    description="Images that were checked, and pictures that were made, or cannot be.",
    key="asset id",
    producers=("thumbnailer",),
    consumers=("ingest",),
    messages=(ImageChecked, ThumbnailMade, ThumbnailFailed),
    group="ingest_results",
)
MEDIA_STATUS = Topic(
    name="media_status",
    description="Every change of an asset's state, and its progress; batches that are decided.",
    key="asset id, or that of the event's other subject",
    producers=("sign_api", "ingest", "watcher", "notifier"),
    consumers=("notifier",),
    messages=(
        AssetStatusChanged,
        AssetProgressed,
        AssetPlayable,
        AssetEstimated,
        BatchDecided,
        WebhookDisabled,
    ),
    group="notifier_links",
)
MEDIA_PROCESSED = Topic(
    name="media_processed",
    description="The public outcome of each attempt: ready or failed.",
    key="asset id",
    producers=("ingest",),
    consumers=("notifier", "other teams"),
    messages=(MediaProcessed,),
    retention_ms=30 * _DAY_MS,
)

TOPICS: tuple[Topic, ...] = (
    MEDIA_INGEST,
    MEDIA_THUMBNAIL,
    MEDIA_THUMBNAILED,
    MEDIA_STATUS,
    MEDIA_PROCESSED,
)
