"""The life of assets as their events tell it, and how it is shown while it happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mediactl.client import Event
from rich.table import Table
from rich.text import Text

STAGES = ("signed", "uploaded", "processing", "transcoded", "thumbnailed", "ready")
FINAL = frozenset({"ready", "failed", "expired", "cancelled", "deleted"})


@dataclass
class Track:
    """One file on its way. ``reached`` holds when each stage was reached."""

    name: str
    asset_id: str = ""
    sent_bytes: int = 0
    size: int = 0
    percent: float | None = None
    status: str = "waiting"
    error: str | None = None
    reached: dict[str, datetime] = field(default_factory=dict)
    asset: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in FINAL

    def mark(self, stage: str, moment: datetime | None = None) -> None:
        """Note when *stage* was reached; the first time counts."""
        self.reached.setdefault(stage, moment or datetime.now(UTC))

    def take(self, event: Event) -> None:
        """Learn from one event of this asset."""
        moment = datetime.fromisoformat(event.time)
        status, stage = event.data.get("status"), event.data.get("stage")
        if event.kind == "media_processed":
            self._end(event.data["outcome"], event.data.get("error"), moment)
        elif stage == "transcoding":
            self.percent = event.data.get("percent")
        elif stage in STAGES:
            self.mark(stage, moment)
        elif status == "processing":
            self.status = "processing"
            self.mark("processing", moment)
        elif status in FINAL:
            self._end(status, event.data.get("error"), moment)

    def _end(self, status: str, error: dict[str, str] | None, moment: datetime) -> None:
        self.status = status
        self.mark(status, moment)
        if error:
            self.error = f"{error['code']}: {error['message']}"


def timeline_table(tracks: list[Track]) -> Table:
    """Return one row a file: each stage with the seconds since the one before it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", no_wrap=True, max_width=36)
    for stage in STAGES:
        table.add_column(stage, justify="right", no_wrap=True)
    table.add_column("total", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for track in tracks:
        table.add_row(track.name, *_cells(track), _state(track))
    return table


def _cells(track: Track) -> list[Text]:
    reached = sorted(
        (moment, STAGES.index(stage)) for stage, moment in track.reached.items() if stage in STAGES
    )
    cells = [Text("·", style="dim") for _ in STAGES]
    for before, (moment, stage) in zip([None, *reached], reached, strict=False):
        waited = f"+{(moment - before[0]).total_seconds():.2f} s" if before else "✓"
        cells[stage] = Text(waited, style="green")
    total = f"{(reached[-1][0] - reached[0][0]).total_seconds():.2f} s" if reached else ""
    return [*cells, Text(total, style="bold")]


def _state(track: Track) -> Text:
    if track.error:
        return Text(track.error, style="red")
    if track.status == "ready":
        return Text("ready", style="bold green")
    if track.sent_bytes < track.size:
        return Text(f"uploading {100 * track.sent_bytes // track.size} %", style="yellow")
    if track.percent is not None and "transcoded" not in track.reached:
        return Text(f"transcoding {track.percent:.0f} %", style="yellow")
    return Text(track.status, style="yellow")
