"""Every instrument of the thumbnailer."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

PICTURES = Counter(
    "thumbnailer_pictures_total", "Pictures that were asked for, by what became of them.",
    ["outcome"],
)  # fmt: skip
FOUND = Counter(
    "thumbnailer_pictures_found_total", "Pictures that an earlier delivery had stored already."
)
RENDER_SECONDS = Histogram(
    "thumbnailer_render_seconds",
    "Time to make the pictures of one request from a file on disk.",
    ["kind"],
    buckets=(0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1, 2, 5, 10, 30),
)
REQUEST_SECONDS = Histogram(
    "thumbnailer_request_seconds",
    "Time from receiving a request to its pictures being in storage.",
    ["kind"],
    buckets=(0.05, 0.1, 0.2, 0.35, 0.5, 1, 2, 5, 10, 30, 60),
)
BYTES = Counter(
    "thumbnailer_bytes_total", "Bytes of files fetched from storage, and put there.", ["direction"]
)
