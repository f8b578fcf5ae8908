"""The commands that look and act: what waits, what failed, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from media_records import backlog as unfinished
from media_records.actions import AssetNotFoundError
from media_records.checks import check_all_now
from media_records.companies import set_quota
from media_runtime.storage.store import ObjectStore
from media_runtime.telemetry.ops import configure_logging
from media_runtime.telemetry.terminal import (
    CommandError,
    Json,
    UsageError,
    Yes,
    ask,
    duration,
    facts,
    parse_span,
    plain,
    print_json,
    print_table,
    show,
    table,
    wide_console,
)
from rich.text import Text
from watcher.monitoring.lag import Standing, read_standing
from watcher.operator import operations
from watcher.operator.running import FOUND, QUIET, connected, open_operator, run, watch_once
from watcher.operator.timeline import read_history
from watcher.reconcile.assets import Reconciler
from watcher.settings import WatcherSettings, WatchSettings
from watcher.watch import CheckResult

AssetIds = Annotated[list[UUID], typer.Argument(metavar="ASSET…")]
CompanyOption = Annotated[UUID | None, typer.Option(metavar="UUID", help="Only this company.")]

_ROWS_SHOWN = 1000


def watch(
    once: Annotated[bool, typer.Option("--once", help="One round: exit code 2 on alert.")] = False,
    as_json: Json = False,
) -> None:
    """Look at backlog, failures, quotas and all that waits, as the watcher does."""
    if not once:
        raise CommandError(
            "The watcher runs with the stack: 'mediactl logs watcher -f' follows it, "
            "'mediactl watch --once' makes one round now."
        )
    if not as_json:
        look_once()
    seen = run(watch_once(WatchSettings()))
    findings = [asdict(finding) for finding in seen.findings]
    document = {"alert": seen.alert, "findings": findings, "blind": sorted(seen.blind)}
    print_json(plain(document))
    _end(seen)


def look_once() -> None:
    """Look once, the log on standard output, and exit with 2 on alert."""
    settings = WatchSettings()
    configure_logging("watcher", log_format=settings.log_format, level=settings.log_level)
    _end(asyncio.run(watch_once(settings)))


def _end(seen: CheckResult) -> None:
    raise typer.Exit(FOUND if seen.alert else QUIET)


def backlog(as_json: Json = False) -> None:
    """Show how many uploads wait for their outcome, by company."""

    async def read() -> list[dict[str, Any]]:
        async with connected(WatcherSettings()) as database:
            return await unfinished.backlog_of_each(database)

    columns = {
        "company": "company_id",
        "waiting": "waiting",
        "oldest": lambda row: duration(row["oldest_seconds"]),
    }
    show(plain(run(read())), columns, as_json)


def oldest(
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the oldest items of the backlog: where they stand, and what went wrong last."""

    async def read() -> list[dict[str, Any]]:
        async with connected(WatcherSettings()) as database:
            return [asdict(item) for item in await unfinished.oldest_items(database, limit)]

    columns = {
        "asset": "asset_id",
        "company": "company_id",
        "age": lambda row: duration(row["age_seconds"]),
        "status": "status",
        "stage": "stage",
        "task": "task",
        "tries": "tries",
        "last error": "last_error",
    }
    show(plain(run(read())), columns, as_json)


def asset(
    asset_id: Annotated[UUID, typer.Argument(metavar="ASSET")], as_json: Json = False
) -> None:
    """Show everything that is known of one asset: its row, history, jobs, events and objects."""

    async def read() -> Mapping[str, Any]:
        settings = WatcherSettings()
        async with (
            connected(settings) as database,
            ObjectStore.connect(settings) as store,
        ):
            try:
                return await read_history(database, store, settings, asset_id)
            except AssetNotFoundError as error:
                raise CommandError(f"There is no asset {asset_id}.") from error

    found = plain(run(read()))
    if as_json:
        print_json(found)
        return
    console = wide_console()
    known = {**found["asset"], "trace_id": found["trace_id"]}
    console.print(facts({name: value for name, value in known.items() if value is not None}))
    for title, columns in _SECTIONS.items():
        console.print(Text(f"\n{title}", style="bold"))
        rows = found[title]
        if isinstance(rows, Mapping):
            console.print(Text(str(rows["error"])))
        elif rows:
            print_table(table(rows, columns))
        else:
            console.print("none")


def retry(assets: AssetIds, as_json: Json = False) -> None:
    """Begin new attempts for failed assets; exit code 2 where one cannot be retried."""
    _act("retry", assets, as_json)


def cancel(assets: AssetIds, yes: Yes = False, as_json: Json = False) -> None:
    """Cancel unfinished assets: work on them stops, and their objects go."""
    ask(f"Cancel {len(assets)} assets for good?", yes)
    _act("cancel", assets, as_json)


def delete(assets: AssetIds, yes: Yes = False, as_json: Json = False) -> None:
    """Delete assets and their objects."""
    ask(f"Delete {len(assets)} assets and their files for good?", yes)
    _act("delete", assets, as_json)


def failed(  # noqa: PLR0917 - typer names them all
    since: Annotated[str, typer.Option(metavar="SPAN", help="Such as 90m, 12h, 30d, 4w.")] = "30d",
    company: CompanyOption = None,
    code: Annotated[str | None, typer.Option(help="Only failures with this code.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many at most. In the table: 1000.")
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Print ids alone, all, for retry.")] = False,
    as_json: Json = False,
) -> None:
    """List assets whose last attempt failed, the newest first: the monthly review."""
    wanted = unfinished.Failures(datetime.now(UTC) - parse_span(since), company, code)
    if ids:
        run(_print_ids(wanted))
        return
    counted, found = run(_read_failed(wanted, limit if limit or as_json else _ROWS_SHOWN))
    columns = {
        "when": "processed_at",
        "asset": "asset_id",
        "company": "company_id",
        "attempt": "attempt",
        "code": "error_code",
        "why": "error_message",
    }
    show(plain(found), columns, as_json)
    if not as_json:
        total = sum(counted.values())
        told = ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
        sys.stdout.write(f"{total} failed since {since}{': ' if told else ''}{told}.\n")
        if len(found) < total:
            sys.stdout.write(f"Only the newest {len(found)} are shown: --limit shows more.\n")


async def _print_ids(wanted: unfinished.Failures) -> None:
    async with connected(WatcherSettings()) as database:
        async for row in unfinished.failed_assets(database, wanted):
            sys.stdout.write(f"{row['asset_id']}\n")


async def _read_failed(
    wanted: unfinished.Failures, limit: int | None
) -> tuple[Mapping[str, int], list[operations.Row]]:
    found: list[operations.Row] = []
    async with connected(WatcherSettings()) as database:
        counted = await unfinished.count_failed(database, wanted)
        async for row in unfinished.failed_assets(database, wanted):
            if len(found) == limit:
                break
            found.append(row)
    return counted, found


def quota(
    company: CompanyOption = None,
    quota_bytes: Annotated[
        int | None, typer.Option("--set", metavar="BYTES", min=1, help="Give it this quota.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Show what companies use of their storage quota, the fullest first; --set changes one."""
    if quota_bytes is not None:
        if company is None:
            raise UsageError("--set needs --company.")
        ask(f"Give company {company} a quota of {quota_bytes:,} bytes?", yes)

    async def read() -> list[operations.Row]:
        async with connected(WatcherSettings()) as database:
            if company is not None and quota_bytes is not None:
                await set_quota(database, company, quota_bytes)
            return await operations.quotas(database)

    columns = {
        "company": "company_id",
        "used": lambda row: f"{row['used_bytes']:,}",
        "quota": lambda row: f"{row['quota_bytes']:,}",
        "%": "used_percent",
        "pending": "pending",
        "processing": "processing",
        "ready": "ready",
        "failed": "failed",
    }
    rows = [row for row in run(read()) if company in {None, row["company_id"]}]
    show(plain(rows), columns, as_json)


def lag(as_json: Json = False) -> None:
    """Show what consumers have not read, and open dead letters; exit code 2 for any of these."""

    async def read() -> Standing:
        settings = WatcherSettings()
        async with connected(settings) as database:
            return await read_standing(database, settings)

    standing = run(read())
    groups, dead = [asdict(one) for one in standing.behind], standing.dead_letters
    if as_json:
        print_json({"groups": groups, "dead_letters": dead})
    else:
        rows = [{**one, "dead": dead.get(one["topic"], 0)} for one in groups]
        known = {row["topic"] for row in rows}
        rows += [
            {"topic": topic, "group": "-", "records": "-", "dead": count}
            for topic, count in dead.items()
            if topic not in known
        ]
        columns = {"topic": "topic", "group": "group", "behind": "records", "dead letters": "dead"}
        print_table(table(rows, columns))
    raise typer.Exit(FOUND if any(dead.values()) else QUIET)


def reconcile(as_json: Json = False) -> None:
    """Look now for uploads that nobody announced, and start what stands still."""
    effects = run(_reconcile())
    if as_json:
        print_json(effects)
        return
    told = ", ".join(f"{count} {effect}" for effect, count in effects.items())
    sys.stdout.write(f"{sum(effects.values())} unfinished assets{': ' if told else ''}{told}.\n")


async def _reconcile() -> Mapping[str, int]:
    settings = WatcherSettings()
    async with open_operator(settings) as work, ObjectStore.connect(settings) as store:
        await check_all_now(work.database)
        return await Reconciler(work=work, store=store, settings=settings)()


COMMANDS = (watch, backlog, oldest, asset, retry, cancel, delete, failed, quota, lag, reconcile)

_SECTIONS: Mapping[str, Mapping[str, Any]] = {
    "transitions": {
        "at": "at", "attempt": "attempt", "from": "from_status", "to": "to_status",
        "service": "service",
    },
    "tasks": {
        "attempt": "attempt", "task": "name", "state": "state", "tries": "tries",
        "fence": "fence", "owner": "owner", "claimed": "claimed_at", "finished": "finished_at",
        "last error": "last_error",
    },
    "files": {"attempt": "attempt", "name": "name", "size": "size", "fence": "fence", "key": "key"},
    "outbox": {"since": "created_at", "producer": "producer", "topic": "topic"},
    "events": {
        "time": "time", "type": "type",
        "what": lambda row: row.get("error") or json.dumps(row["data"]),
    },
    "objects": {
        "modified": "modified_at", "size": "size", "latest": "is_latest", "key": "key",
    },
}  # fmt: skip


def _act(verb: str, assets: Sequence[UUID], as_json: bool) -> None:
    async def act() -> list[operations.Row]:
        async with open_operator(WatcherSettings()) as work:
            operator = operations.Operator(work)
            action = getattr(operator, verb)
            return [await action(asset) for asset in assets]

    rows = plain(run(act()))
    if as_json:
        print_json(rows)
    for row in [] if as_json else rows:
        told = row.get("error") or f"{row['status']}, attempt {row['attempt']}"
        sys.stdout.write(f"{row['asset_id']}: {told}\n")
    raise typer.Exit(FOUND if any("error" in row for row in rows) else QUIET)
