"""
The commands for what is old or nobody's: retention, cleanup, orphans.

Invariant: what would be deleted is shown first, and no more than that is deleted.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import typer
from media_records.companies import PolicyChange, policy_of, set_policy
from media_records.retention import Plan, plan_all
from media_runtime.storage.store import ObjectStore
from media_runtime.telemetry.terminal import (
    Json,
    UsageError,
    Yes,
    ask,
    duration,
    plain,
    print_json,
    print_table,
    show,
    table,
)
from watcher.cleanup.orphans import Orphan, find_orphans, remove_orphans
from watcher.cleanup.plan import plan_cleanup
from watcher.cleanup.retention import Retention
from watcher.operator.running import FOUND, QUIET, connected, open_operator, run
from watcher.rules import TEXTS
from watcher.settings import OrphanSettings, WatcherSettings

_ASSETS_COUNTED = 500

Rate = Annotated[
    float | None, typer.Option(metavar="N", min=0.01, help="Delete at most N a second.")
]


def retention(  # noqa: PLR0917 - typer names them all
    apply: Annotated[bool, typer.Option("--apply", help="Delete what is due, now.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing: show what would be deleted.")
    ] = False,
    rate: Rate = None,
    company: Annotated[
        UUID | None, typer.Option(metavar="UUID", help="This company's policy and plan.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Set how long it keeps assets.")
    ] = None,
    keep_thumbnails: Annotated[
        bool | None,
        typer.Option("--keep-thumbnails/--remove-thumbnails", help="Set what is left of them."),
    ] = None,
    default: Annotated[
        bool, typer.Option("--default", help="Drop its own policy: the settings' is in force.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """
    Show what is too old to be kept; exit code 2 for any. --apply deletes it at once.

    With --company, show or set its policy; what is not named stays as it is.
    """
    change = PolicyChange(days, keep_thumbnails, default)
    if default and (days is not None or keep_thumbnails is not None):
        raise UsageError("--default drops the whole policy: give it without the other two.")
    if change and company is None:
        raise UsageError("A policy is a company's: name it by --company.")
    if apply and (dry_run or company):
        raise UsageError("--apply goes neither with --dry-run nor with --company.")
    if rate is not None and not apply:
        raise UsageError("--rate goes with --apply.")
    if company is not None:
        _policy(company, change, dry_run=dry_run, yes=yes, as_json=as_json)
        return
    settings = WatcherSettings()
    plan = run(_plan(settings))
    shown = {**asdict(settings.policy), "at_once": settings.retention_batch, **plain(asdict(plan))}
    if apply:
        _apply(plan, shown, rate, yes=yes, as_json=as_json)
        return
    _show_plan(shown, as_json)
    raise typer.Exit(FOUND if plan.companies else QUIET)


def cleanup(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Show what each rule of the clean-up is to remove now; the watcher does it by itself."""
    if not dry_run:
        raise UsageError("The watcher cleans up in each round; --dry-run shows what is due.")

    async def read() -> list[dict[str, Any]]:
        settings = WatcherSettings()
        async with (
            connected(settings) as database,
            ObjectStore.connect(settings) as store,
        ):
            plan = await plan_cleanup(database, store, settings, assets=_ASSETS_COUNTED)
        return [{**asdict(due), "what": TEXTS[due.rule]} for due in plan]

    columns = {
        "rule": "rule",
        "due": "due",
        "oldest": lambda row: duration(row["oldest_seconds"]),
        "objects": "objects",
        "bytes": lambda row: None if row["bytes"] is None else f"{row['bytes']:,}",
        "what": "what",
    }
    show(plain(run(read())), columns, as_json)


def orphans(
    remove: Annotated[bool, typer.Option("--remove", help="Remove the versions found.")] = False,
    rate: Rate = None,
    min_age: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="What is younger may be on its way.")
    ] = 3600,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """List versions that nothing refers to, and assets whose files are gone; exit code 2 if any."""
    if rate is not None and not remove:
        raise UsageError("--rate goes with --remove.")
    found = run(_find_orphans(timedelta(seconds=min_age)))
    rows = [plain(asdict(orphan)) for orphan in found]
    columns = {
        "kind": "kind",
        "size": lambda row: f"{row['size']:,}",
        "key": "key",
        "version": "version_id",
        "why": "why",
    }
    if not as_json:
        show(rows, columns, as_json)
        size = sum(orphan.size for orphan in found)
        sys.stdout.write(f"{len(rows)} found, {size:,} bytes.\n")
    doomed = {number: one for number, one in enumerate(found) if one.kind == "object"}
    if remove and doomed:
        ask(f"Remove these {len(doomed)} versions for good?", yes)
        removed = run(_remove_orphans(list(doomed.values()), rate))
        for number, done in zip(doomed, removed, strict=True):
            rows[number]["removed"] = done
        if not as_json:
            sys.stdout.write(f"{sum(removed)} versions removed.\n")
    if as_json:
        print_json(rows)
    raise typer.Exit(FOUND if found else QUIET)


COMMANDS = (retention, cleanup, orphans)


async def _plan(settings: WatcherSettings) -> Plan:
    async with connected(settings) as database:
        return await plan_all(database, settings.policy)


async def _find_orphans(min_age: timedelta) -> list[Orphan]:
    settings = OrphanSettings()
    async with (
        ObjectStore.connect(settings) as store,
        connected(settings) as database,
    ):
        return [orphan async for orphan in find_orphans(database, store, min_age=min_age)]


async def _remove_orphans(doomed: list[Orphan], rate: float | None) -> list[bool]:
    settings = OrphanSettings()
    async with (
        ObjectStore.connect(settings) as store,
        connected(settings) as database,
    ):
        return [done async for done in remove_orphans(database, store, doomed, rate=rate)]


def _policy(
    company: UUID, change: PolicyChange, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Show a company's policy and plan, as they are or would be; change it after a yes."""
    found = plain(run(_of_company(company, change, is_tried=True)))
    code = FOUND if found["companies"] else QUIET
    if not as_json:
        _show_policy(found)
        sys.stdout.write("With the policy that you name:\n" if change else "")
        _show_shares(found)
    if change and not dry_run:
        ask(f"Change the policy of company {company}? The watcher deletes what it makes due.", yes)
        found, code = plain(run(_of_company(company, change, is_tried=False))), QUIET
        if not as_json:
            _show_policy(found)
    if as_json:
        print_json(found)
    raise typer.Exit(code)


async def _of_company(company: UUID, change: PolicyChange, *, is_tried: bool) -> dict[str, Any]:
    """Return its policy, and what the change makes due; it is made unless *is_tried*."""
    settings = WatcherSettings()
    instead = settings.policy if change.default else change
    async with connected(settings) as database:
        if change and not is_tried:
            await set_policy(database, company, change)
        own = await policy_of(database, company)
        plan = await plan_all(database, settings.policy, company=company, instead=instead)
    return {
        "company_id": company,
        **asdict(own),
        "default": asdict(settings.policy),
        "changed": bool(change) and not is_tried,
        **asdict(plan),
    }


def _apply(
    plan: Plan, shown: Mapping[str, Any], rate: float | None, *, yes: bool, as_json: bool
) -> None:
    if not as_json:
        _show_plan(shown, as_json)
    deleted = 0
    if total := _total(shown):
        ask(f"Delete these {total} assets, and their files, for good?", yes)
        deleted = run(_delete(plan, rate))
    if as_json:
        print_json({**shown, "deleted": deleted})
    else:
        sys.stdout.write(f"{deleted} assets deleted; the watcher removes their files.\n")


async def _delete(plan: Plan, rate: float | None) -> int:
    settings = WatcherSettings()
    async with open_operator(settings) as work:
        return await Retention(work, settings).apply(plan, rate=rate)


def _show_policy(found: Mapping[str, Any]) -> None:
    default = found["default"]
    days = f"{found['days'] or default['days']} days"
    keeps = default["keeps_thumbnails"]
    if found["keeps_thumbnails"] is not None:
        keeps = found["keeps_thumbnails"]
    thumbnails = "keeps" if keeps else "removes"
    sys.stdout.write(
        f"Company {found['company_id']} keeps assets for {days}{_by(found['days'])} and "
        f"{thumbnails} their thumbnails{_by(found['keeps_thumbnails'])}.\n"
    )


def _by(own: object) -> str:
    return " (the default)" if own is None else " (its own policy)"


def _show_plan(plan: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    _show_shares(plan)
    sys.stdout.write(
        f"The default is {plan['days']} days; a round deletes at most {plan['at_once']}. "
        "What else is due: mediactl cleanup --dry-run.\n"
    )


def _show_shares(plan: Mapping[str, Any]) -> None:
    columns = {
        "company": "company_id",
        "assets": "assets",
        "bytes": lambda row: f"{row['bytes']:,}",
        "oldest": "oldest",
        "kept for": lambda row: f"{row['days']} days",
        "thumbnails": lambda row: (
            f"{row['kept_thumbnails']} kept" if row["keeps_thumbnails"] else "removed"
        ),
    }
    if plan["companies"]:
        print_table(table(plan["companies"], columns))
    size = sum(row["bytes"] for row in plan["companies"])
    sys.stdout.write(f"{_total(plan)} assets, {size:,} bytes, are older than they are kept.\n")


def _total(plan: Mapping[str, Any]) -> int:
    return sum(row["assets"] for row in plan["companies"])
