"""
The watcher's command line: ``python -m watcher COMMAND``, what ``mediactl`` shows to operators.

Each command prints JSON on standard output, the log goes to standard error, and the exit code is
0, or 2 where something needs attention, or 1 with ``{"error": …}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from media_records.actions import AssetNotFoundError
from media_records.lifecycle import Lifecycle
from media_runtime.errors import TransientError
from media_runtime.storage import ObjectStore
from watcher import operations
from watcher.backlog import oldest_items
from watcher.cleanup import plan_cleanup
from watcher.history import read_history
from watcher.lag import read_standing
from watcher.main import acting, connected, orphans_now
from watcher.reconcile import SERVICE, Reconciler, hurry
from watcher.retention import Retention, plan_retention
from watcher.rules import TEXTS
from watcher.settings import OrphanSettings, WatcherSettings
from watcher.sweep import count_due

QUIET, FAILED, FOUND = 0, 1, 2

Answer = tuple[int, Any]
Command = Callable[[argparse.Namespace], Awaitable[Answer]]


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add every command to *parser*; ``run`` is what they set."""
    commands = parser.add_subparsers(metavar="COMMAND")
    _add(commands, "backlog", _backlog, "what waits for its outcome, by company")
    oldest = _add(commands, "oldest", _oldest, "the oldest items of the backlog")
    oldest.add_argument("--limit", type=int, default=20)
    asset = _add(commands, "asset", _asset, "everything that is known of one asset")
    asset.add_argument("asset", type=UUID)
    for name, text in (
        ("retry", "begin new attempts for failed assets"),
        ("cancel", "cancel unfinished assets"),
        ("delete", "delete assets"),
    ):
        _add(commands, name, _act, text).add_argument("assets", type=UUID, nargs="+")
        commands.choices[name].set_defaults(action=name)
    failed = _add(commands, "failed", _failed, "assets whose last attempt failed")
    failed.add_argument("--since", type=float, default=30, help="days")
    failed.add_argument("--company", type=UUID)
    failed.add_argument("--code")
    failed.add_argument("--limit", type=int, default=1000)
    quota = _add(commands, "quota", _quota, "what companies use of their storage quota")
    quota.add_argument("--company", type=UUID)
    quota.add_argument("--set", type=int, metavar="BYTES", dest="quota_bytes")
    _add(commands, "lag", _lag, "what consumers have not read, and dead letters")
    _add(commands, "reconcile", _reconcile, "look for uploads that nobody announced, now")
    retention = _add(commands, "retention", _retention, "what is too old to be kept")
    retention.add_argument("--apply", action="store_true", help="delete it, batch by batch")
    retention.add_argument("--rate", type=float, help="assets a second, at most")
    retention.add_argument("--company", type=UUID, help="set this company's policy instead")
    retention.add_argument("--days", type=int, help="0 is what the settings say")
    retention.add_argument("--keep-thumbnails", choices=["yes", "no"])
    cleanup = _add(commands, "cleanup-plan", _cleanup_plan, "what the clean-up would remove now")
    cleanup.add_argument("--assets", type=int, default=500, help="whose objects are counted")
    orphans = _add(commands, "orphans", _orphans, "compare all of storage with all rows")
    orphans.add_argument("--remove", action="store_true")
    orphans.add_argument("--min-age", type=float, default=3600, help="seconds")


def answer(arguments: argparse.Namespace) -> int:
    """Run the command that was named, print what it says, and return the exit code."""
    code, document = asyncio.run(_answer(arguments.run, arguments))
    sys.stdout.write(json.dumps(document, default=_plain) + "\n")
    return code


async def _answer(command: Command, arguments: argparse.Namespace) -> Answer:
    try:
        return await command(arguments)
    except (TransientError, OSError) as error:
        return FAILED, {"error": str(error)}


def _add(commands: Any, name: str, run: Command, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value)


async def _backlog(arguments: argparse.Namespace) -> Answer:
    del arguments
    async with connected(WatcherSettings()) as database:
        rows = await operations.backlog_by_company(database)
    return QUIET, rows


async def _oldest(arguments: argparse.Namespace) -> Answer:
    async with connected(WatcherSettings()) as database:
        items = await oldest_items(database, arguments.limit)
    return QUIET, [asdict(item) for item in items]


async def _asset(arguments: argparse.Namespace) -> Answer:
    settings = WatcherSettings()
    async with connected(settings) as database, ObjectStore.connect(settings) as store:
        try:
            return QUIET, await read_history(database, store, settings, arguments.asset)
        except AssetNotFoundError:
            return FAILED, {"error": f"There is no asset {arguments.asset}."}


async def _act(arguments: argparse.Namespace) -> Answer:
    async with acting(WatcherSettings()) as (database, outbox):
        operator = operations.Operator(database, outbox, service=SERVICE)
        act = getattr(operator, arguments.action)
        results = [await act(asset) for asset in arguments.assets]
    return (FOUND if any("error" in result for result in results) else QUIET), results


async def _failed(arguments: argparse.Namespace) -> Answer:
    async with connected(WatcherSettings()) as database:
        rows = await operations.failed_assets(
            database,
            since=datetime.now(UTC) - timedelta(days=arguments.since),
            company=arguments.company,
            code=arguments.code,
            limit=arguments.limit,
        )
    return QUIET, rows


async def _quota(arguments: argparse.Namespace) -> Answer:
    async with connected(WatcherSettings()) as database:
        if arguments.quota_bytes is not None:
            if arguments.company is None or arguments.quota_bytes < 1:
                return FAILED, {"error": "--set needs --company and a number of bytes."}
            try:
                await operations.set_quota(database, arguments.company, arguments.quota_bytes)
            except operations.CompanyNotFoundError:
                return FAILED, _no_company(arguments.company)
        rows = await operations.quotas(database)
    return QUIET, [row for row in rows if arguments.company in {None, row["company_id"]}]


async def _lag(arguments: argparse.Namespace) -> Answer:
    del arguments
    standing = await read_standing(WatcherSettings())
    document = {
        "groups": [asdict(one) for one in standing.behind],
        "dead_letters": standing.dead_letters,
    }
    return (FOUND if any(standing.dead_letters.values()) else QUIET), document


async def _reconcile(arguments: argparse.Namespace) -> Answer:
    del arguments
    settings = WatcherSettings()
    async with acting(settings) as (database, outbox), ObjectStore.connect(settings) as store:
        await hurry(database)
        effects = await Reconciler(
            database=database,
            store=store,
            outbox=outbox,
            lifecycle=Lifecycle(outbox, service=SERVICE),
            settings=settings,
        )()
    return QUIET, effects


async def _retention(arguments: argparse.Namespace) -> Answer:
    if arguments.company is not None:
        return await _set_policy(arguments)
    settings = WatcherSettings()
    async with acting(settings) as (database, outbox):
        if arguments.apply:
            lifecycle = Lifecycle(outbox, service=SERVICE)
            retention = Retention(database, outbox, lifecycle, settings)
            return QUIET, {"deleted": await retention.all(rate=arguments.rate)}
        plan = operations.retention_plan(await plan_retention(database, settings))
        due = await count_due(database, settings)
    return (FOUND if plan else QUIET), {
        "days": settings.retention_days,
        "keeps_thumbnails": settings.retention_keeps_thumbnails,
        "at_once": settings.retention_batch,
        "companies": plan,
        "other_garbage": due,
    }


async def _cleanup_plan(arguments: argparse.Namespace) -> Answer:
    settings = WatcherSettings()
    async with connected(settings) as database, ObjectStore.connect(settings) as store:
        plan = await plan_cleanup(database, store, settings, assets=arguments.assets)
    return QUIET, [{**asdict(due), "what": TEXTS[due.rule]} for due in plan]


async def _set_policy(arguments: argparse.Namespace) -> Answer:
    keeps = None if arguments.keep_thumbnails is None else arguments.keep_thumbnails == "yes"
    async with connected(WatcherSettings()) as database:
        try:
            await operations.set_policy(
                database, arguments.company, days=arguments.days or None, keeps_thumbnails=keeps
            )
        except operations.CompanyNotFoundError:
            return FAILED, _no_company(arguments.company)
    return QUIET, {"company_id": arguments.company, "days": arguments.days or None,
                   "keeps_thumbnails": keeps}  # fmt: skip


async def _orphans(arguments: argparse.Namespace) -> Answer:
    found = orphans_now(
        OrphanSettings(),
        min_age=timedelta(seconds=arguments.min_age),
        remove=arguments.remove,
    )
    rows = [asdict(orphan) async for orphan in found]
    return (FOUND if rows else QUIET), rows


def _no_company(company: UUID) -> Mapping[str, str]:
    return {"error": f"No company {company} has a bucket."}
