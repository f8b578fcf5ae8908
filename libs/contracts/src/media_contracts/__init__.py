"""
The pipeline's public contracts: topics, envelope and messages. Depends on Pydantic alone.

To read a topic: ``MEDIA_PROCESSED.parse(record.value)`` gives a CloudEvent with typed ``data``, or
None for an event of a type that this version does not know: pass over it.
"""

from media_contracts.envelope import (
    CloudEvent,
    ContractError,
    Data,
    MalformedEventError,
    Payload,
    derived_id,
    new_event,
)
from media_contracts.files import FileKind, Fit, MediaFile, MediaKind, Stream, Track
from media_contracts.messages import (
    AssetPlayable,
    AssetProgressed,
    AssetStatus,
    AssetStatusChanged,
    ErrorInfo,
    MediaProcessed,
    ObjectRef,
    Picture,
    PictureSpec,
    Rendition,
    Stage,
    ThumbnailFailed,
    ThumbnailMade,
    ThumbnailRequested,
    WarningInfo,
    played_or_shown,
)
from media_contracts.probe import Colour, Probe, SoundTrack
from media_contracts.profiles import AudioOutput, PictureOutput, Profile, ProfileRef, VideoOutput
from media_contracts.topics import (
    DLQ_MAX_MESSAGE_BYTES,
    DLQ_PARTITIONS,
    DLQ_RETENTION_MS,
    MEDIA_INGEST,
    MEDIA_PROCESSED,
    MEDIA_STATUS,
    MEDIA_THUMBNAIL,
    MEDIA_THUMBNAILED,
    TOPICS,
    Topic,
)

__all__ = [
    "DLQ_MAX_MESSAGE_BYTES",
    "DLQ_PARTITIONS",
    "DLQ_RETENTION_MS",
    "MEDIA_INGEST",
    "MEDIA_PROCESSED",
    "MEDIA_STATUS",
    "MEDIA_THUMBNAIL",
    "MEDIA_THUMBNAILED",
    "TOPICS",
    "AssetPlayable",
    "AssetProgressed",
    "AssetStatus",
    "AssetStatusChanged",
    "AudioOutput",
    "CloudEvent",
    "Colour",
    "ContractError",
    "Data",
    "ErrorInfo",
    "FileKind",
    "Fit",
    "MalformedEventError",
    "MediaFile",
    "MediaKind",
    "MediaProcessed",
    "ObjectRef",
    "Payload",
    "Picture",
    "PictureOutput",
    "PictureSpec",
    "Probe",
    "Profile",
    "ProfileRef",
    "Rendition",
    "SoundTrack",
    "Stage",
    "Stream",
    "ThumbnailFailed",
    "ThumbnailMade",
    "ThumbnailRequested",
    "Topic",
    "Track",
    "VideoOutput",
    "WarningInfo",
    "derived_id",
    "new_event",
    "played_or_shown",
]
