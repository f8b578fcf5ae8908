"""Rows of assets, made as sign_api makes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from media_contracts.profiles import DEFAULT
from media_records.files import files_of
from media_records.lifecycle import find_asset
from media_records.tables import Asset, AssetFile
from media_runtime.database.postgres import Database
from media_runtime.storage.store import StoredObject, upload_key

SIGN = "SELECT * FROM sign_asset($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)"


PLAIN = DEFAULT.model_copy(
    update={
        "outputs": tuple(
            one.model_copy(update={"priority": 0})
            for one in DEFAULT.outputs
            if one.type != "responsive"
        )
    }
)
"""As the built-in profile, but for sizes, and in one task: image and thumbnail at once."""


async def sign_asset(
    sign_api: Database, company_id: UUID | None = None, *, content_type: str = "video/mp4"
) -> tuple[UUID, UUID]:
    """Insert a pending asset with sign_api's role and return its company and id."""
    company, asset = company_id or uuid4(), uuid4()
    await sign_api.fetchrow(
        SIGN, company, asset, "name", content_type, 1000, f"media-{company}",
        datetime.now(UTC) + timedelta(hours=1), None,
        None, None, None,
    )  # fmt: skip
    return company, asset


def stored(company: UUID, asset: UUID, *, version: str | None = "v1") -> StoredObject:
    """Return the object that a notification would tell of."""
    return StoredObject(
        bucket=f"media-{company}",
        key=upload_key(company, asset),
        version_id=version,
        size=1000,
        etag="e",
        sequencer="1",
    )


async def files_now(database: Database, asset_id: UUID) -> dict[str, AssetFile]:
    """Return the asset's files as they are, by name."""
    return {file.name: file for file in await files_of(database, asset_id)}


async def asset_now(database: Database, asset_id: UUID) -> Asset:
    """Return the asset as it is."""
    async with database.transaction() as connection:
        asset = await find_asset(connection, asset_id)
    assert asset is not None
    return asset
