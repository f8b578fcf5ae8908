"""What operators ask and do, as data: each function answers one command of mediactl."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from media_records import actions
from media_records.actions import (
    AssetNotFoundError,
    NotFailedError,
    NotUnfinishedError,
    OriginalGoneError,
)
from media_records.companies import usage_of_each
from media_records.tables import Asset
from media_records.work import Tx, Work
from media_runtime.database.postgres import Database

_PERCENT = 100

Action = Callable[[Tx, UUID], Awaitable[Asset]]
Row = Mapping[str, Any]


async def quotas(database: Database) -> list[Row]:
    """Return what each company uses of its quota, the fullest first."""
    usages = sorted(await usage_of_each(database), key=lambda usage: -usage.used_ratio)
    return [
        {**asdict(usage), "used_percent": round(usage.used_ratio * _PERCENT, 1)} for usage in usages
    ]


class Operator:
    """Acts on assets, each in a unit of work of its own."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def retry(self, asset_id: UUID) -> Row:
        """Begin a new attempt for a failed asset."""
        return await self._act(asset_id, actions.retry, "only a failed asset can be retried")

    async def cancel(self, asset_id: UUID) -> Row:
        """Cancel an unfinished asset."""
        return await self._act(
            asset_id, actions.cancel, "only an unfinished asset can be cancelled"
        )

    async def delete(self, asset_id: UUID) -> Row:
        """Delete an asset."""
        return await self._act(asset_id, actions.delete, "")

    async def _act(self, asset_id: UUID, action: Action, rule: str) -> Row:
        try:
            async with self._work.begin() as tx:
                asset = await action(tx, asset_id)
        except AssetNotFoundError:
            return {"asset_id": asset_id, "error": "there is no such asset"}
        except OriginalGoneError:
            return {"asset_id": asset_id, "error": "its file is no longer kept"}
        except (NotFailedError, NotUnfinishedError):
            return {"asset_id": asset_id, "error": rule}
        return {"asset_id": asset_id, "status": asset.status, "attempt": asset.attempt}
