"""
A film in one piece: what becomes of one whose packets, or whose chunks, cannot be believed.

ffmpeg follows the source from its beginning and mends its clock on the way, as players do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import ffmpeg
from ingest.film.chunk import TELLS_SSIM, encoding, reading
from ingest.film.film import Film
from ingest.film.sound import Sound
from ingest.film.soundtrack import ENCODING, from_its_start
from ingest.film.watermark import marked
from media_runtime.media.colour import Filter, apply

SOUND = "sound"


def whole_command(
    source: Path,
    folder: Path,
    film: Film,
    input_options: Mapping[str, object],
    *,
    max_seconds: float,
    changes_size: bool,
    louder: Sequence[Filter] = (),
) -> list[str]:
    """
    Return ffmpeg's arguments that write ``<track>.mp4`` of each size, and ``sound.mp4``.

    They end after *max_seconds*, whatever the source claims to last. *louder* are the filters that
    make the sound as loud as others.
    """
    media = ffmpeg.input(f"file:{source}", **reading(film.grid, input_options))
    rate = film.grid.rate
    later = Filter("setpts", {"expr": f"PTS-{film.shift:.6f}/TB"})
    pictures = apply(media[str(film.track)], [later, *film.filters])
    clock: dict[str, object] = {"fps_mode": "passthrough"}
    if changes_size:
        # The filters are made anew with each size: one that counts frames would begin anew.
        clock = {"fps_mode": "cfr", "r": str(rate)}
    else:
        pictures = pictures.filter("fps", fps=str(rate), start_time=0)
    pictures = marked(pictures, film.mark, folder, rate, input_options)
    streams = pictures.filter_multi_output("split", len(film.ladder))
    until: dict[str, object] = {"t": f"{max_seconds:.3f}"}
    outputs = [
        streams[number]
        .filter("scale", rung.size.width, rung.size.height, flags="bicubic")
        .filter("setsar", 1)
        .output(
            f"file:{folder / f'{rung.track}.mp4'}",
            **encoding(rung, rate, preset=film.preset, crf=film.crf), **clock, **until,
        )
        for number, rung in enumerate(film.ladder)
    ]  # fmt: skip
    if film.sound:
        heard, filtered = _sound(media, film.sound, film.shift, louder)
        outputs.append(heard.output(f"file:{folder / SOUND}.mp4", **ENCODING, **filtered, **until))
    return [*ffmpeg.merge_outputs(*outputs).get_args(), *TELLS_SSIM]


def _sound(
    media: ffmpeg.Stream, sound: Sound, shift: float, louder: Sequence[Filter]
) -> tuple[ffmpeg.Stream, dict[str, object]]:
    """Return the sound to write, and the options that it needs."""
    tracks = [media[str(track)] for track in sound.tracks]
    later = Filter("asetpts", {"expr": f"PTS-{shift:.6f}/TB"})
    chain = [later, *from_its_start(louder)]
    if sound.is_joined:
        return apply(ffmpeg.filter(tracks, "amerge", inputs=len(tracks)), chain), {}
    # In a graph of its own: that of the picture is made anew when its size changes.
    written = [
        f"{one.name}=" + ":".join(f"{name}={value}" for name, value in one.words.items())
        for one in chain
    ]
    return tracks[0], {"af": ",".join([sound.filters, *written])}
