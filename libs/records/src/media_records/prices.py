"""What was made by profiles took: seconds on the CPU and bytes, as they were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from media_records.work import Reader

# Of the newest assets: machines, programs and films change.
_MOST_ASSETS = 500
_MADE = """
    WITH made AS (
        SELECT a.id, a.attempt, split_part(a.content_type, '/', 1) AS kind, f.seconds, f.bytes
        FROM media_assets a, LATERAL (
            SELECT max(duration_seconds) FILTER (WHERE kind IN ('video', 'audio')) AS seconds,
                sum(size) AS bytes
            FROM asset_files WHERE asset_id = a.id AND attempt = a.attempt
        ) f
        WHERE ($1::uuid IS NULL OR a.company_id = $1) AND a.status = 'ready' AND f.seconds > 0
            AND (a.profile, a.profile_version, a.own_profile) = ($2, $3, $4)
        ORDER BY a.processed_at DESC LIMIT $5
    ), total AS (
        SELECT kind, count(*) AS assets, sum(seconds) AS seconds, sum(bytes)::float8 AS bytes
        FROM made GROUP BY kind
    )
    SELECT total.*, step.output, step.cpu_seconds FROM total, LATERAL (
        SELECT coalesce(t.params::json ->> 'stream', t.name) AS output,
            sum(t.cpu_seconds) AS cpu_seconds
        FROM made JOIN tasks t ON t.asset_id = made.id AND t.attempt = made.attempt
        WHERE made.kind = total.kind AND t.state = 'done' AND t.cpu_seconds IS NOT NULL
        GROUP BY output
    ) step ORDER BY kind DESC, output
"""


@dataclass(frozen=True)
class Price:
    """
    What uploads of one kind took by a profile: so many *assets*, of so many *seconds* together.

    ``cpu_seconds`` are those of ffmpeg's processes for each output, by its name, and for
    ``inspect``; ``bytes`` are of all that was made.
    """

    kind: str
    assets: int
    seconds: float
    bytes: float
    cpu_seconds: Mapping[str, float]

    @property
    def cpu_seconds_a_second(self) -> float:
        """What a second of such an upload took on the CPU, all outputs together."""
        return sum(self.cpu_seconds.values()) / self.seconds


async def prices_of(
    reader: Reader, company_id: UUID | None, profile: str, version: int
) -> Sequence[Price]:
    """
    Return what a version of a company's profile took, or of the built-in one, of the newest assets.

    There is none of a kind of which nothing was made by it.
    """
    own = company_id is not None
    rows = await reader.fetch(_MADE, company_id, profile, version, own, _MOST_ASSETS)
    taken: dict[tuple[str, int, float, float], dict[str, float]] = {}
    for row in rows:
        total = row["kind"], row["assets"], row["seconds"], row["bytes"]
        taken.setdefault(total, {})[row["output"]] = row["cpu_seconds"]
    return [Price(*total, cpu_seconds) for total, cpu_seconds in taken.items()]
