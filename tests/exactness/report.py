"""The results as a table that a person can read."""

from __future__ import annotations

from collections.abc import Sequence

from exactness.examine import Result

_HEAD = (
    "film", "frames a second", "pieces", "pictures", "frames",
    "left out, doubled, held by the grid", "lost, doubled beyond", "gaps",
    "A/V ms: start, middle, end (worst)", "sound: step, join", "verdict",
)  # fmt: skip


def text(results: Sequence[Result]) -> str:
    """Return a table in Markdown, and what all of it comes to."""
    rows = [_HEAD, ["---"] * len(_HEAD), *map(_row, results)]
    heard = [one for one in results if one.changes]
    worst = max((one.worst for one in heard), default=0.0)
    told = (
        f"{len(results)} films, {sum(one.pieces == 0 for one in results)} of them in one piece: "
        f"{sum(one.lost for one in results)} pictures lost, {sum(one.again for one in results)} "
        f"doubled, {sum(one.gaps for one in results)} gaps, A/V changed by {worst:.1f} ms at most "
        f"({len(heard)} with sound), {sum(bool(one.faults) for one in results)} with faults."
    )
    return "\n".join([*("| " + " | ".join(row) + " |" for row in rows), "", told])


def _row(one: Result) -> list[str]:
    three = [one.changes[at] for at in (0, len(one.changes) // 2, -1)] if one.changes else []
    steps = [f"{each.degrees:.0f}°" for each in (one.steady, one.joined) if each]
    return [
        one.name,
        f"{float(one.rate):.6g}",
        str(one.pieces or f"one ({one.why})"),
        str(one.pictures),
        str(one.wanted),
        f"{one.dropped}, {one.doubled}, {one.held}",
        f"{one.lost}, {one.again}",
        str(one.gaps),
        f"{', '.join(f'{each:+.1f}' for each in three)} ({one.worst:.1f})" if three else "no sound",
        ", ".join(steps),
        "; ".join(one.faults) or "exact",
    ]
