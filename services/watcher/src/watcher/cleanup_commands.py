"""
The commands of the watcher's that delete, retention and orphans, or show what it deletes itself.

Invariant: each lists first and changes nothing; what ``--apply`` or ``--remove`` then delete is
what standard input says was listed, and no more.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from media_records.lifecycle import Lifecycle
from media_runtime.storage import ObjectStore
from watcher import answers, operations
from watcher.answers import FOUND, QUIET, Answer
from watcher.cleanup import plan_cleanup
from watcher.main import acting, connected
from watcher.orphans import Orphan, find_orphans, remove_orphans
from watcher.reconcile import SERVICE
from watcher.retention import Plan, Retention, Share, plan_all
from watcher.rules import TEXTS
from watcher.settings import OrphanSettings, WatcherSettings


def add_commands(commands: Any) -> None:
    """Add the commands to the parser's *commands*."""
    retention = answers.add(commands, "retention", _retention, "what is too old to be kept")
    retention.add_argument("--apply", action="store_true", help="delete the plan on stdin")
    retention.add_argument("--rate", type=float, help="assets a second, at most")
    retention.add_argument("--company", type=UUID, help="this company alone")
    retention.add_argument("--days", type=int, help="set its policy")
    retention.add_argument("--keep-thumbnails", choices=["yes", "no"], help="set its policy")
    retention.add_argument("--default", action="store_true", help="drop its policy")
    retention.add_argument("--dry-run", action="store_true", help="what that would delete")
    cleanup = answers.add(commands, "cleanup-plan", _cleanup_plan, "what the clean-up would remove")
    cleanup.add_argument("--assets", type=int, default=500, help="whose objects are counted")
    orphans = answers.add(commands, "orphans", _orphans, "compare all of storage with all rows")
    orphans.add_argument("--remove", action="store_true", help="remove those on stdin")
    orphans.add_argument("--rate", type=float, help="objects a second, at most")
    orphans.add_argument("--min-age", type=float, default=3600, help="seconds")


async def _retention(arguments: argparse.Namespace) -> Answer:
    settings = WatcherSettings()
    if arguments.apply:
        return await _apply(settings, _planned(json.load(sys.stdin)), arguments.rate)
    if arguments.company is not None:
        return await _of_company(settings, arguments)
    async with connected(settings) as database:
        plan = await plan_all(database, settings)
    return (FOUND if plan.companies else QUIET), {
        **_default(settings),
        "at_once": settings.retention_batch,
        **asdict(plan),
    }


async def _apply(settings: WatcherSettings, plan: Plan, rate: float | None) -> Answer:
    async with acting(settings) as (database, outbox):
        lifecycle = Lifecycle(outbox, service=SERVICE)
        retention = Retention(database, outbox, lifecycle, settings)
        return QUIET, {"deleted": await retention.apply(plan, rate=rate)}


async def _of_company(settings: WatcherSettings, arguments: argparse.Namespace) -> Answer:
    """Show a company's policy and plan; change the policy where it is told to."""
    keeps = None if arguments.keep_thumbnails is None else arguments.keep_thumbnails == "yes"
    change = operations.PolicyChange(arguments.days, keeps, arguments.default)
    company = arguments.company
    async with connected(settings) as database:
        try:
            own = await operations.read_policy(database, company)
            if change and not arguments.dry_run:
                await operations.set_policy(database, company, change)
                own = await operations.read_policy(database, company)
        except operations.CompanyNotFoundError:
            return answers.no_company(company)
        days, keeps_thumbnails = change.days, change.keeps_thumbnails
        if change.default:
            days, keeps_thumbnails = settings.retention_days, settings.retention_keeps_thumbnails
        plan = await plan_all(
            database, settings, company=company, days=days, keeps_thumbnails=keeps_thumbnails
        )
    changed = bool(change) and not arguments.dry_run
    return (FOUND if plan.companies and not changed else QUIET), {
        "company_id": company,
        **own,
        "default": _default(settings),
        "changed": changed,
        **asdict(plan),
    }


def _default(settings: WatcherSettings) -> dict[str, Any]:
    return {
        "days": settings.retention_days,
        "keeps_thumbnails": settings.retention_keeps_thumbnails,
    }


def _planned(document: Any) -> Plan:
    """Return the plan that an earlier command printed."""
    return Plan(
        at=datetime.fromisoformat(document["at"]),
        companies=[
            Share(
                **{
                    **share,
                    "company_id": UUID(share["company_id"]),
                    "before": datetime.fromisoformat(share["before"]),
                    "oldest": datetime.fromisoformat(share["oldest"]),
                }
            )
            for share in document["companies"]
        ],
    )


async def _cleanup_plan(arguments: argparse.Namespace) -> Answer:
    settings = WatcherSettings()
    async with connected(settings) as database, ObjectStore.connect(settings) as store:
        plan = await plan_cleanup(database, store, settings, assets=arguments.assets)
    return QUIET, [{**asdict(due), "what": TEXTS[due.rule]} for due in plan]


async def _orphans(arguments: argparse.Namespace) -> Answer:
    settings = OrphanSettings()
    async with ObjectStore.connect(settings) as store, connected(settings) as database:
        if arguments.remove:
            listed = [_listed(row) for row in json.load(sys.stdin)]
            removing = remove_orphans(database, store, listed, rate=arguments.rate)
            return FOUND, [removed async for removed in removing]
        min_age = timedelta(seconds=arguments.min_age)
        found = [asdict(orphan) async for orphan in find_orphans(database, store, min_age=min_age)]
    return (FOUND if found else QUIET), found


def _listed(row: Any) -> Orphan:
    """Return an orphan that an earlier command printed."""
    at = row["modified_at"]
    return Orphan(
        **{
            **row,
            "company_id": UUID(row["company_id"]),
            "modified_at": None if at is None else datetime.fromisoformat(at),
        }
    )
