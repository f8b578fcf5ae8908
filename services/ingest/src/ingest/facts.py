"""What clients are told of an upload: the facts of its media, as a contract's Probe. Pure."""

from __future__ import annotations

from dataclasses import asdict

from media_contracts import Colour, ImageChecked, Probe, SoundTrack, TextTrack
from media_runtime.media.colour import is_hdr
from media_runtime.media.info import Colours, MediaInfo


def of_media(info: MediaInfo) -> Probe:
    """Return the facts of a film, or of sound alone."""
    video = info.video
    main = video or info.audio
    return Probe(
        container=info.format_name,
        codec=main.codec if main else None,
        width=video.width if video else None,
        height=video.height if video else None,
        rotation=video.rotation if video else None,
        duration_seconds=info.duration_seconds,
        frame_rate=video.frame_rate if video else None,
        colour=_colour(video.colours) if video else None,
        hdr=is_hdr(video) if video else None,
        sound=[
            SoundTrack(codec=one.codec, channels=one.channels, layout=one.layout)
            for one in info.audio_streams
        ],
        text=[TextTrack(codec=one.codec, language=one.language) for one in info.text_streams]
        or None,
    )


def of_image(checked: ImageChecked) -> Probe:
    """Return the facts of an image."""
    return Probe(
        container=checked.format.lower(),
        codec=checked.format.lower(),
        width=checked.width,
        height=checked.height,
        frames=checked.frames,
        hdr=checked.hdr,
    )


def _colour(said: Colours) -> Colour | None:
    return Colour(**asdict(said)) if any(asdict(said).values()) else None
