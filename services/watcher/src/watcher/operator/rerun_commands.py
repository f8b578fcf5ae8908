"""
The commands for making ready assets again: rerun, which begins it, and reruns, which shows it.

Invariant: what is begun is what the question before it counted, unless it has changed since.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from media_contracts.profiles import DEFAULT
from media_records import profiles, reruns
from media_records.prices import prices_of
from media_records.reruns import Plan, Target
from media_records.work import Reader
from media_runtime.telemetry.terminal import (
    Json,
    UsageError,
    Yes,
    ask,
    duration,
    plain,
    print_json,
    printable,
    show,
)
from watcher.operator.profile_commands import named
from watcher.operator.running import connected, open_operator, run
from watcher.settings import WatcherSettings

# Of assets that one transaction locks.
_BATCH = 50
_MINUTE = 60
_ROWS_SHOWN = 1000

ProfileOption = Annotated[
    str, typer.Option("--profile", metavar="NAME", parser=named, help="By its newest version.")
]
CompanyOption = Annotated[
    UUID | None,
    typer.Option(metavar="UUID", help="Only this company's. Default: all that have it."),
]


def rerun(  # noqa: PLR0917 - typer names them all
    profile: ProfileOption,
    company: CompanyOption = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Only of uploads that were signed since, in UTC."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("-n", "--limit", min=1, help="So many of each company, the newest."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and begin nothing.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make ready assets again by the newest version of their profile, behind all uploads."""
    counted = run(_count(profile, company, since, limit))
    if not as_json:
        show([one.told() for one in counted], _COLUMNS, as_json=False)
    if dry_run or not any(one.total for one in counted):
        _end(counted, as_json)
        return
    total = sum(one.total for one in counted)
    ask(f"Make {total} assets again by profile {profile}?", yes)
    run(_begin(counted, limit))
    _end(counted, as_json)
    if not as_json:
        begun = sum(one.begun or 0 for one in counted)
        sys.stdout.write(f"{begun} have begun: 'mediactl reruns' shows how they stand.\n")


def show_reruns(
    company: CompanyOption = None,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", parser=named, help="Only by this profile.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="List those that failed, and why.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how many assets are being made again, have been, or could not be."""

    async def read() -> Sequence[Mapping[str, Any]]:
        async with connected(WatcherSettings()) as database:
            if failed:
                return await reruns.failed(database, company, profile, limit=_ROWS_SHOWN)
            return await reruns.standing(database, company, profile)

    columns = _FAILED_COLUMNS if failed else _STANDING_COLUMNS
    show(plain(run(read())), columns, as_json)


@dataclass
class _Counted:
    """What is made again of one company, what it takes where that is known, and what has begun."""

    target: Target
    plan: Plan
    cpu_seconds: float | None = None
    begun: int | None = None

    @property
    def total(self) -> int:
        return sum(self.plan.assets.values())

    def told(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "company_id": str(self.target.company_id),
            "profile": self.target.profile,
            "version": self.target.version,
            "assets": dict(self.plan.assets),
            "seconds": dict(self.plan.seconds),
            "originals_gone": self.plan.originals_gone,
            "under_way": self.plan.under_way,
            "cpu_seconds": self.cpu_seconds,
            "begun": self.begun,
        }


_COLUMNS = {
    "company": "company_id",
    "version": "version",
    "videos": lambda row: row["assets"].get("video", 0),
    "sounds": lambda row: row["assets"].get("audio", 0),
    "images": lambda row: row["assets"].get("image", 0),
    "length": lambda row: duration(sum(row["seconds"].values())),
    "CPU": lambda row: None if row["cpu_seconds"] is None else duration(row["cpu_seconds"]),
    "original gone": "originals_gone",
    "under way": "under_way",
}
_STANDING_COLUMNS = {
    "company": "company_id",
    "profile": "profile",
    "version": "profile_version",
    "state": "state",
    "assets": "assets",
}
_FAILED_COLUMNS = {
    "when": "ended_at",
    "asset": "asset_id",
    "company": "company_id",
    "attempt": "attempt",
    "code": "error_code",
    "why": "error_message",
}


def _end(counted: Sequence[_Counted], as_json: bool) -> None:
    if as_json:
        print_json([one.told() for one in counted])


async def _count(
    profile: str,
    company: UUID | None,
    since: datetime | None,
    limit: int | None,
) -> list[_Counted]:
    moment = since.replace(tzinfo=UTC) if since else None
    async with connected(WatcherSettings()) as database:
        return [
            await _counted(database, target, limit)
            for target in await _targets(database, profile, company, moment)
        ]


async def _counted(reader: Reader, target: Target, limit: int | None) -> _Counted:
    plan = await reruns.plan(reader, target, limit=limit)
    whose = target.company_id if target.is_own else None
    prices = await prices_of(reader, whose, target.profile, target.version)
    a_second = {one.kind: one.cpu_seconds_a_second for one in prices}
    # Images have no length, and cost ffmpeg nothing.
    lasting = {kind: seconds for kind, seconds in plan.seconds.items() if seconds}
    if not a_second.keys() >= lasting.keys():
        return _Counted(target, plan)
    seconds = sum(a_second[kind] * seconds for kind, seconds in lasting.items())
    return _Counted(target, plan, round(seconds, 1))


async def _targets(
    reader: Reader, name: str, company: UUID | None, since: datetime | None
) -> Sequence[Target]:
    newest = await profiles.newest_profiles(reader, company)
    own = [one for one in newest if one.name == name and one.body is not None]
    if own:
        return [Target(one.company_id, name, one.version, is_own=True, since=since) for one in own]
    if company is not None and name == DEFAULT.name:
        return [Target(company, name, DEFAULT.version, is_own=False, since=since)]
    whose = "No company" if company is None else f"Company {company}"
    raise UsageError(f"{whose} has a profile {printable(name)} of its own.")


async def _begin(counted: Sequence[_Counted], limit: int | None) -> None:
    async with open_operator(WatcherSettings()) as work:
        for one in counted:
            ids = await reruns.chosen(work.database, one.target, limit=limit)
            one.begun = 0
            for start in range(0, len(ids), _BATCH):
                async with work.begin() as tx:
                    begun = await reruns.begin(tx, one.target, ids[start : start + _BATCH])
                one.begun += begun
