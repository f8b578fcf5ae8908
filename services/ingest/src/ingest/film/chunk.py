"""
One chunk of a film in all its sizes: one decode, one thread each, the same bytes each time.

A count of frames is blind to one that was lost while another was doubled, as a seek that lands
elsewhere does. So each chunk looks at one picture more than it encodes: two decodes that began
at different pictures must agree on the picture at their seam.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg
from ingest.domain import Size
from ingest.film.codecs import CODECS
from ingest.film.grid import Grid
from ingest.film.ladder import Chunk, Rung, gop_frames
from ingest.film.watermark import Mark, marked
from media_runtime.media.colour import Filter, apply, picture_filters, whole_frames
from media_runtime.media.info import VideoStream

# What makes whole pictures of fields looks at the pictures beside each: without them the first and
# last pictures of a chunk would be others than in one piece, and no seam would fit.
_LOOK_BESIDE, _BESIDE = {"bwdif", "yadif"}, 2
_SEAM_SIZE = {"w": 128, "h": 72, "flags": "area"}
# One fragment for each group of pictures, its time that of the whole film, and no edit list,
# which some players do not read.
_CMAF = "+cmaf+frag_keyframe+empty_moov+default_base_moof+frag_discont+negative_cts_offsets"
TELLS_SSIM = ("-loglevel", "info")
"""What makes ffmpeg say what ssims_in() reads."""
_SSIM = re.compile(r"^\[libx264 @ 0x[0-9a-f]+\] SSIM Mean Y:(\d\.\d+)", re.MULTILINE)


@dataclass(frozen=True)
class ChunkPlan:
    """
    A chunk to make of a film, in the sizes of *ladder*, the smallest first.

    *filters* make the picture of stream *track*, counted among all, in the largest size.
    ``starts_at`` is the time at which the source's container begins, in seconds: seeks count
    from there. *mark*, which is in the folder that is written into, lies on each frame. The
    source is decoded by *threads*, which take less time together, and make the same pictures.
    """

    track: int
    filters: Sequence[Filter]
    grid: Grid
    chunk: Chunk
    ladder: Sequence[Rung]
    preset: str
    crf: int
    starts_at: float = 0.0
    mark: Mark | None = None
    threads: int = 1


def chunk_command(
    source: Path, folder: Path, plan: ChunkPlan, input_options: Mapping[str, object]
) -> list[str]:
    """Return ffmpeg's arguments that write ``<track>.mp4`` of each size, and ``seam``."""
    chunk, ladder = plan.chunk, plan.ladder
    whole = pictures_of(source, folder, plan, input_options)
    streams = whole.filter_multi_output("split", len(ladder) + 1)
    outputs = [
        streams[number]
        .filter("trim", end_pts=chunk.first + chunk.frames)
        .filter("scale", rung.size.width, rung.size.height, flags="bicubic")
        .filter("setsar", 1)  # its width is rounded, which no player has to know
        .output(f"file:{folder / f'{rung.track}.mp4'}", **_encoding(plan, rung))
        for number, rung in enumerate(ladder)
    ]
    at_the_ends = streams[len(ladder)].filter("select", f"eq(n,0)+eq(n,{chunk.frames})")
    seam = at_the_ends.filter("scale", **_SEAM_SIZE).filter("format", "gray")
    outputs.append(seam.output(f"file:{folder / 'seam'}", f="framemd5", fps_mode="passthrough"))
    arguments: list[str] = ffmpeg.merge_outputs(*outputs).get_args()
    return ["-filter_complex_threads", "1", *arguments, *TELLS_SSIM]


def pictures_of(
    source: Path, folder: Path, plan: ChunkPlan, input_options: Mapping[str, object]
) -> ffmpeg.Stream:
    """Return a chunk's frames as they are encoded in the largest size, and the one after them."""
    chunk = plan.chunk
    options: dict[str, object] = {**reading(plan.grid, input_options), "copyts": None}
    options["threads"] = plan.threads
    if chunk.seek is not None:
        options |= {"noaccurate_seek": None, "ss": f"{float(chunk.seek) - plan.starts_at:.6f}"}
    pictures = ffmpeg.input(f"file:{source}", **options)[str(plan.track)]
    # Some filters, such as what makes whole pictures of fields, count time in halves of frames.
    on_clock = Filter("settb", {"expr": str(1 / plan.grid.rate)})
    beside = _BESIDE if any(one.name in _LOOK_BESIDE for one in plan.filters) else 0
    begun = [*_on_grid(plan.grid, chunk, beside), *plan.filters, on_clock]
    whole = apply(pictures, [*begun, *([_frames_of(plan.grid, chunk)] if beside else [])])
    return marked(whole, plan.mark, folder, plan.grid.rate, input_options)


def reading(grid: Grid, input_options: Mapping[str, object]) -> dict[str, object]:
    """Return the options of an input that is a film of this grid."""
    return {**input_options, **({"fflags": "+genpts"} if grid.is_filled else {})}


def ssims_in(said: str, sizes: int) -> list[float | None]:
    """
    Return how near each of so many *sizes* is to what was encoded, by what ffmpeg *said*.

    It is the mean SSIM of luma over all frames, 1 of equal ones (Wang et al., "Image quality
    assessment: from error visibility to structural similarity", 2004), as libx264 measures it. It
    tells what encoding has lost, and not that a smaller size shows less.
    """
    # Before them may stand what a file says of itself.
    found = [float(value) for value in _SSIM.findall(said)[-sizes:]]
    return [*found] if len(found) == sizes else [None] * sizes


def film_filters(video: VideoStream, size: Size) -> list[Filter]:
    """Return the filters that make whole pictures of *size*, in colours as players show them."""
    scaled = picture_filters(video, _scaling(video, size), fit=_fitting(video, size))
    return [*whole_frames(video), *scaled, Filter("setsar", {"sar": 1})]


def seam_of(text: str) -> tuple[str | None, str | None]:
    """Return what ``seam`` says: the first picture, and the one after the last; None for none."""
    rows = [line.split()[-1] for line in text.splitlines() if not line.startswith("#")]
    first, after = [*rows, None, None][:2]
    return first, after


def _frames_of(grid: Grid, chunk: Chunk, beside: int = 0) -> Filter:
    """Return what keeps the frames of a chunk, the one after it, and more *beside* them."""
    ends = chunk.first + chunk.frames
    after = ends + (ends < grid.frames) + beside
    return Filter("trim", {"start_pts": max(0, chunk.first - beside), "end_pts": after})


def _on_grid(grid: Grid, chunk: Chunk, beside: int) -> list[Filter]:
    ends = chunk.first + chunk.frames
    filters = [Filter("setpts", {"expr": f"PTS-({grid.tick})"})]
    is_last = ends >= grid.frames
    if is_last:
        # fps leaves out a last picture that is shorter than a frame: it is held, and cut below.
        filters.append(Filter("tpad", {"stop": -1, "stop_mode": "clone"}))
    words: dict[str, str | int | float] = {"fps": str(grid.rate), "eof_action": "pass"}
    if not chunk.first:
        words["start_time"] = 0
    filters.append(Filter("fps", words))
    filters.append(_frames_of(grid, chunk, beside))
    return filters


def _scaling(video: VideoStream, size: Size) -> dict[str, str | int]:
    if not video.changes_size:
        return {"w": size.width, "h": size.height}
    # The filters are made anew for each size: what is written here holds for all of them.
    scale = f"min({size.width}/(iw*sar),{size.height}/ih)"
    return {
        "w": f"max(2,trunc(iw*sar*{scale}/2+0.01)*2)",
        "h": f"max(2,trunc(ih*{scale}/2+0.01)*2)",
    }


def _fitting(video: VideoStream, size: Size) -> list[Filter]:
    if not video.changes_size:
        return []
    middle = {"x": "(ow-iw)/2", "y": "(oh-ih)/2"}
    return [Filter("pad", {"w": size.width, "h": size.height, **middle})]


def _encoding(plan: ChunkPlan, rung: Rung) -> dict[str, object]:
    return {
        **encoding(rung, plan.grid.rate, preset=plan.preset, crf=plan.crf),
        "threads:v": 1,
        "fps_mode": "passthrough",
        "fragment_index": plan.chunk.first // gop_frames(plan.grid.rate) + 1,
    }


def encoding(rung: Rung, rate: Fraction, *, preset: str, crf: int) -> dict[str, object]:
    """Return the options of an output that is one size of a film, in fragments."""
    group = gop_frames(rate)
    return {
        **CODECS[rung.codec].words(group, crf, preset, rung.kbits_per_second),
        "pix_fmt": "yuv420p",
        "g": group,
        "fflags": "+bitexact",
        "map_metadata": -1,
        "map_chapters": -1,
        "movflags": f"{_CMAF}+skip_trailer",
        "f": "mp4",
    }
