"""
Unfinished assets that somebody should look at again, the longest unseen first.

Invariant: each look says when the next one is due, so that what never moves is seen less and less.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from media_records.tables import Asset
from media_records.work import Reader, Tx

_UNFINISHED = """
    SELECT a.*, coalesce(t.has_work, false) AS has_work, t.ended_at
    FROM media_assets a CROSS JOIN LATERAL (
        SELECT bool_or(state IN ('blocked', 'queued', 'running')) AS has_work,
            max(finished_at) AS ended_at
        FROM tasks WHERE asset_id = a.id AND attempt = a.attempt
    ) t
    WHERE a.status IN ('pending', 'processing') AND a.check_at <= now() - make_interval(secs => $1)
    ORDER BY a.check_at LIMIT $2
"""
_LONG_EXPIRED = """
    SELECT a.*, false AS has_work, NULL::timestamptz AS ended_at FROM media_assets a
    WHERE a.status = 'expired' AND a.updated_at < now() - make_interval(secs => $1)
        AND a.check_at <= now()
        -- Of one whose parts may still be stored, the row is what tells of them.
        AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.asset_id = a.id AND NOT u.ended)
    ORDER BY a.updated_at LIMIT $2
"""
# The longer nothing happened, the longer the next look can wait.
_CHECKED = """
    UPDATE media_assets SET check_at = now() + least(now() - updated_at, make_interval(secs => $2)),
        found_at = CASE WHEN $3 THEN coalesce(found_at, now()) ELSE found_at END
    WHERE id = $1
"""
_REMOVE = "DELETE FROM media_assets WHERE id = $1"
_HURRY = """
    UPDATE media_assets SET check_at = now() - interval '1 day'
    WHERE status IN ('pending', 'processing')
"""


@dataclass(frozen=True)
class Unfinished:
    """An asset as it was read: whether its attempt has work to do, and when it last ended some."""

    asset: Asset
    has_work: bool
    ended_at: datetime | None

    @property
    def wants_look(self) -> bool:
        """Whether only storage can tell what it needs: its file may be there unannounced."""
        return self.asset.uploaded_at is None


async def assets_to_check(
    reader: Reader, limit: int, *, age_seconds: float, expired: bool
) -> list[Unfinished]:
    """Return what nobody looked at for so long, or *expired* so long ago without an upload."""
    rows = await reader.fetch(_LONG_EXPIRED if expired else _UNFINISHED, age_seconds, limit)
    return [_unfinished(**row) for row in rows]


async def checked(tx: Tx, asset_id: UUID, *, at_most_seconds: float, found: bool) -> None:
    """Let the next look at a locked asset wait; *found* says that storage has its file."""
    await tx.execute(_CHECKED, asset_id, at_most_seconds, found)


async def remove_asset(tx: Tx, asset_id: UUID) -> None:
    """Remove all rows of an asset that never had a file."""
    await tx.execute(_REMOVE, asset_id)


async def check_all_now(reader: Reader) -> None:
    """Make the look at all that is unfinished due."""
    await reader.fetch(_HURRY)


def _unfinished(*, has_work: bool, ended_at: datetime | None, **columns: Any) -> Unfinished:
    return Unfinished(Asset.of(columns), has_work, ended_at)
