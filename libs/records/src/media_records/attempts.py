"""
Attempts beside the one that a ready asset is served by: which there are, and what they found.

Invariant: of one asset one runs at a time. Nothing of it is on the asset until it is complete: who
works on it sees the asset as it would be with it.
"""

from __future__ import annotations

from collections.abc import Collection

from media_contracts import AssetStatus, ErrorInfo, Probe
from media_contracts.warnings import WarningCode
from media_records.tables import Asset, Rerun
from media_records.work import Reader, Tx

_RUNNING = "SELECT * FROM reruns WHERE asset_id = $1 AND attempt = $2 AND state = 'running'"
_BEGIN = """
    INSERT INTO reruns (company_id, asset_id, attempt, profile, profile_version, own_profile)
    SELECT $1, $2, greatest($3::int, coalesce(max(attempt), 0)) + 1, $4, $5, $6
    FROM reruns WHERE asset_id = $2
    ON CONFLICT (asset_id) WHERE state = 'running' DO NOTHING
    RETURNING *
"""
_DESCRIBE = """
    UPDATE reruns SET probe = coalesce($3::jsonb, probe),
        warnings = ARRAY(SELECT DISTINCT unnest(warnings || $4::text[]) ORDER BY 1)
    WHERE asset_id = $1 AND attempt = $2 RETURNING *
"""
_END = """
    UPDATE reruns SET state = $3, error_code = $4, error_message = $5, ended_at = now()
    WHERE asset_id = $1 AND attempt = $2 AND state = 'running' RETURNING *
"""


def with_rerun(asset: Asset, rerun: Rerun) -> Asset:
    """Return a ready asset as it would be with an attempt that shall replace its own."""
    changed = {
        "attempt": rerun.attempt,
        "profile": rerun.profile,
        "profile_version": rerun.profile_version,
        "own_profile": rerun.own_profile,
        "probe": rerun.probe,
        "warnings": rerun.warnings,
    }
    return Asset.of({**{name: getattr(asset, name) for name in Asset.model_fields}, **changed})


async def beside(reader: Reader, asset: Asset, attempt: int) -> Asset | None:
    """Return a ready asset as an attempt beside its own sees it; None where that does not run."""
    if asset.status != AssetStatus.READY or attempt <= asset.attempt:
        return None
    row = await reader.fetchrow(_RUNNING, asset.id, attempt)
    return with_rerun(asset, Rerun.of(row)) if row else None


async def begin(tx: Tx, asset: Asset, profile: str, version: int, *, is_own: bool) -> Asset | None:
    """
    Begin an attempt beside that of a locked, ready asset; return the asset as that attempt sees it.

    None where one runs already.
    """
    terms = asset.company_id, asset.id, asset.attempt, profile, version, is_own
    row = await tx.fetchrow(_BEGIN, *terms)
    return with_rerun(asset, Rerun.of(row)) if row else None


async def found(
    tx: Tx, asset: Asset, probe: Probe | None, warnings: Collection[WarningCode]
) -> Asset:
    """Record what an attempt beside the asset's own found; return the asset as it is with it."""
    told = probe.model_dump_json(exclude_none=True) if probe else None
    codes = [code.value for code in warnings]
    row = await tx.fetchrow(_DESCRIBE, asset.id, asset.attempt, told, codes)
    return with_rerun(asset, Rerun.of(row)) if row else asset


async def end(tx: Tx, asset: Asset, error: ErrorInfo | None = None) -> bool:
    """End an attempt beside the asset's own, by *error* if any; False where it has ended."""
    state = "failed" if error else "done"
    why = (error.code, error.message) if error else (None, None)
    return await tx.fetchrow(_END, asset.id, asset.attempt, state, *why) is not None
