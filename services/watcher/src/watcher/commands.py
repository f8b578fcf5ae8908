"""
The watcher's command line: ``python -m watcher COMMAND``, what ``mediactl`` shows to operators.

Each command prints JSON on standard output (``failed --ids`` lines), the log goes to standard
error, and the exit code is 0, or 2 where something needs attention, or 1 with ``{"error": …}``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import UUID

from media_records.actions import AssetNotFoundError
from media_records.lifecycle import Lifecycle
from media_runtime.errors import TransientError
from media_runtime.storage import ObjectStore
from watcher import answers, cleanup_commands, operations
from watcher.answers import FAILED, FOUND, QUIET, Answer, Command
from watcher.backlog import oldest_items
from watcher.history import read_history
from watcher.lag import read_standing
from watcher.main import acting, connected, watch_once
from watcher.reconcile import SERVICE, Reconciler, hurry
from watcher.settings import WatcherSettings, WatchSettings


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add every command to *parser*; ``run`` is what they set."""
    commands = parser.add_subparsers(metavar="COMMAND")
    answers.add(commands, "watch", _watch, "what is wrong now")
    answers.add(commands, "backlog", _backlog, "what waits for its outcome, by company")
    oldest = answers.add(commands, "oldest", _oldest, "the oldest items of the backlog")
    oldest.add_argument("--limit", type=int, default=20)
    asset = answers.add(commands, "asset", _asset, "everything that is known of one asset")
    asset.add_argument("asset", type=UUID)
    for name, text in (
        ("retry", "begin new attempts for failed assets"),
        ("cancel", "cancel unfinished assets"),
        ("delete", "delete assets"),
    ):
        answers.add(commands, name, _act, text).add_argument("assets", type=UUID, nargs="+")
        commands.choices[name].set_defaults(action=name)
    failed = answers.add(commands, "failed", _failed, "assets whose last attempt failed")
    failed.add_argument("--since", type=float, default=30, help="days")
    failed.add_argument("--company", type=UUID)
    failed.add_argument("--code")
    failed.add_argument("--limit", type=int, help="so many of them; all are counted")
    failed.add_argument("--ids", action="store_true", help="a line for each, as they are read")
    quota = answers.add(commands, "quota", _quota, "what companies use of their storage quota")
    quota.add_argument("--company", type=UUID)
    quota.add_argument("--set", type=int, metavar="BYTES", dest="quota_bytes")
    answers.add(commands, "lag", _lag, "what consumers have not read, and dead letters")
    answers.add(commands, "reconcile", _reconcile, "look for uploads that nobody announced, now")
    cleanup_commands.add_commands(commands)


def answer(arguments: argparse.Namespace) -> int:
    """Run the command that was named, print what it says, and return the exit code."""
    code, document = asyncio.run(_answer(arguments.run, arguments))
    if document is not None:
        sys.stdout.write(answers.as_json(document) + "\n")
    return code


async def _answer(command: Command, arguments: argparse.Namespace) -> Answer:
    try:
        return await command(arguments)
    except (TransientError, OSError) as error:
        return FAILED, {"error": str(error)}


async def _watch(arguments: argparse.Namespace) -> Answer:
    del arguments
    seen = await watch_once(WatchSettings())
    return (FOUND if seen.alert else QUIET), {
        "alert": seen.alert,
        "findings": [asdict(finding) for finding in seen.findings],
        "blind": sorted(seen.blind),
    }


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
    wanted = operations.Failures(
        since=datetime.now(UTC) - timedelta(days=arguments.since),
        company=arguments.company,
        code=arguments.code,
    )
    async with connected(WatcherSettings()) as database:
        if arguments.ids:
            async for row in operations.failed_assets(database, wanted):
                sys.stdout.write(f"{row['asset_id']}\n")
            return QUIET, None
        counted = await operations.count_failed(database, wanted)
        rows: list[operations.Row] = []
        async for row in operations.failed_assets(database, wanted):
            if len(rows) == arguments.limit:
                break
            rows.append(row)
    return QUIET, {"total": sum(counted.values()), "codes": counted, "assets": rows}


async def _quota(arguments: argparse.Namespace) -> Answer:
    async with connected(WatcherSettings()) as database:
        if arguments.quota_bytes is not None:
            if arguments.company is None or arguments.quota_bytes < 1:
                return FAILED, {"error": "--set needs --company and a number of bytes."}
            try:
                await operations.set_quota(database, arguments.company, arguments.quota_bytes)
            except operations.CompanyNotFoundError:
                return answers.no_company(arguments.company)
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
