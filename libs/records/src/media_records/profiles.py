"""
What companies want of uploads: their profiles, in versions.

Invariant: a version never changes, and whoever goes by it finds it for ever. A name that is
withdrawn keeps its versions, and is offered to no upload until its next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from media_contracts.errors import ErrorCode
from media_contracts.profiles import DEFAULT, Profile, ProfileError, stored_profile
from media_records.tables import Asset, ProfileVersion
from media_records.work import Reader, Tx
from media_runtime.errors import PermanentError

MAX_PROFILES = 100
"""Names that a company offers at a time."""

# One publisher of a company at a time: versions have no gaps, and the limit holds.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('profiles of ' || $1::uuid::text, 0))"
_NEWEST = """
    SELECT DISTINCT ON (company_id, name) * FROM profiles
    WHERE ($1::uuid IS NULL OR company_id = $1) AND ($2::text IS NULL OR name = $2)
    ORDER BY company_id, name, version DESC
"""
_VERSION = "SELECT * FROM profiles WHERE company_id = $1 AND name = $2 AND version = $3"
_ADD = "INSERT INTO profiles (company_id, name, version, body) VALUES ($1, $2, $3, $4)"


class TooManyProfilesError(Exception):
    """The company offers as many names as it may."""

    def __init__(self) -> None:
        super().__init__(f"The company has {MAX_PROFILES} profiles, which is all that it may have.")


class NoSuchProfileError(Exception):
    """The company has no such profile."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The company has no profile {name} of its own.")


async def publish(tx: Tx, company_id: UUID, profile: Profile) -> Profile:
    """
    Publish the next version of a company's profile of that name, and return it.

    One that is the same as the newest is that one. Raises TooManyProfilesError.
    """
    await tx.execute(_LOCK, company_id)
    newest = {one.name: one for one in await newest_profiles(tx, company_id)}
    before = newest.get(profile.name)
    if before is not None and before.body is not None and _is_same(before, profile):
        return profile.model_copy(update={"version": before.version})
    offered = sum(one.body is not None for one in newest.values())
    if offered >= MAX_PROFILES and (before is None or before.body is None):
        raise TooManyProfilesError
    published = profile.model_copy(update={"version": _next_version(profile.name, before)})
    await tx.execute(_ADD, company_id, published.name, published.version, published.body())
    return published


async def withdraw(tx: Tx, company_id: UUID, name: str) -> None:
    """Offer a company's profile to no upload from now on; raises NoSuchProfileError."""
    await tx.execute(_LOCK, company_id)
    before = await newest_profile(tx, company_id, name)
    if before is None or before.body is None:
        raise NoSuchProfileError(name)
    await tx.execute(_ADD, company_id, name, _next_version(name, before), None)


async def newest_profiles(
    reader: Reader, company_id: UUID | None = None
) -> Sequence[ProfileVersion]:
    """Return the newest version of each name, of a company or of all, withdrawn ones too."""
    return [ProfileVersion.of(row) for row in await reader.fetch(_NEWEST, company_id, None)]


async def newest_profile(reader: Reader, company_id: UUID, name: str) -> ProfileVersion | None:
    """Return the newest version of a name, also of one that is withdrawn."""
    row = await reader.fetchrow(_NEWEST, company_id, name)
    return ProfileVersion.of(row) if row else None


async def version_of_profile(
    reader: Reader, company_id: UUID, name: str, version: int
) -> ProfileVersion | None:
    """Return one version of a company's profile."""
    row = await reader.fetchrow(_VERSION, company_id, name, version)
    return ProfileVersion.of(row) if row else None


async def profile_of(reader: Reader, asset: Asset, built_in: Profile) -> Profile:
    """
    Return what is wanted of an asset's upload: the version that it was signed with, or *built_in*.

    Raises PermanentError where that version makes no sense to this program.
    """
    if not asset.own_profile:
        return built_in
    found = await version_of_profile(reader, asset.company_id, asset.profile, asset.profile_version)
    try:
        if found is not None and found.body is not None:
            return stored_profile(found.name, found.version, found.body)
        why = "there is no such version"
    except ProfileError as error:
        why = str(error)
    raise PermanentError(
        ErrorCode.INVALID_PROFILE, name=asset.profile, version=asset.profile_version, detail=why
    )


def _is_same(row: ProfileVersion, profile: Profile) -> bool:
    try:
        return stored_profile(row.name, row.version, row.body or "").outputs == profile.outputs
    except ProfileError:
        return False


def _next_version(name: str, before: ProfileVersion | None) -> int:
    # A number says which one is meant, also where the built-in one has the same name.
    built_in = DEFAULT.version if name == DEFAULT.name else 0
    return max(before.version if before else 0, built_in) + 1
