"""What clients are told of an upload: the facts of its media, as a contract's Probe. Pure."""

from __future__ import annotations

from media_contracts import Probe, SoundTrack
from media_runtime.media.info import MediaInfo
from media_runtime.media.pictures import ImageInfo


def of_video(info: MediaInfo) -> Probe:
    """Return the facts of a film."""
    video, sound = info.video, [info.audio] if info.audio else []
    return Probe(
        container=info.format_name,
        codec=video.codec if video else None,
        width=video.width if video else None,
        height=video.height if video else None,
        rotation=video.rotation if video else None,
        duration_seconds=info.duration_seconds,
        frame_rate=video.frame_rate if video else None,
        sound=[SoundTrack(codec=one.codec, channels=one.channels) for one in sound],
    )


def of_image(info: ImageInfo) -> Probe:
    """Return the facts of an image."""
    return Probe(
        container=info.format.lower(),
        codec=info.format.lower(),
        width=info.width,
        height=info.height,
        frames=info.frames,
    )
