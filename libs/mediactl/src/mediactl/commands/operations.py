"""The commands for who operates a stack: what waits, what failed, and what to do about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import typer
from mediactl.answers import Json, Yes, ask, facts, print_json, print_table, show, table
from mediactl.errors import MediactlError, UsageError
from mediactl.home import Home
from mediactl.published import wide_console
from mediactl.status import duration
from mediactl.watcher_commands import ask_watcher, list_failed, watch_once
from rich.text import Text

AssetIds = Annotated[list[UUID], typer.Argument(metavar="ASSET…")]
CompanyOption = Annotated[UUID | None, typer.Option(metavar="UUID", help="Only this company.")]

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAY_SECONDS = 86_400
_ROWS_SHOWN = 1000


def watch(
    once: Annotated[bool, typer.Option("--once", help="One round: exit code 2 on alert.")] = False,
    as_json: Json = False,
) -> None:
    """Look at backlog, failures, quotas and all that waits, as the watcher does."""
    if not once:
        raise MediactlError(
            "The watcher runs with the stack: 'mediactl logs watcher -f' follows it, "
            "'mediactl watch --once' makes one round now."
        )
    if not as_json:
        raise typer.Exit(watch_once(Home.from_environment()))
    code, seen = ask_watcher("watch")
    print_json(seen)
    raise typer.Exit(code)


def backlog(as_json: Json = False) -> None:
    """Show how many uploads wait for their outcome, by company."""
    _, rows = ask_watcher("backlog")
    show(rows, {"company": "company_id", "waiting": "waiting", "oldest": _age}, as_json)


def oldest(
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the oldest items of the backlog: where they stand, and what went wrong last."""
    _, rows = ask_watcher("oldest", "--limit", str(limit))
    columns = {
        "asset": "asset_id",
        "company": "company_id",
        "age": lambda row: duration(row["age_seconds"]),
        "status": "status",
        "stage": "stage",
        "job": "job",
        "tries": "tries",
        "last error": "last_error",
    }
    show(rows, columns, as_json)


def asset(
    asset_id: Annotated[UUID, typer.Argument(metavar="ASSET")], as_json: Json = False
) -> None:
    """Show everything that is known of one asset: its row, history, jobs, events and objects."""
    _, found = ask_watcher("asset", str(asset_id))
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
    days = parse_span(since).total_seconds() / _DAY_SECONDS
    words = ["--since", f"{days:.6f}"]
    words += ["--company", str(company)] if company else []
    words += ["--code", code] if code else []
    if ids:
        list_failed(*words)
        return
    limit = limit if limit or as_json else _ROWS_SHOWN
    _, found = ask_watcher("failed", *words, *(["--limit", str(limit)] if limit else []))
    rows = found["assets"]
    columns = {
        "when": "processed_at",
        "asset": "asset_id",
        "company": "company_id",
        "attempt": "attempt",
        "code": "error_code",
        "why": "error_message",
    }
    show(rows, columns, as_json)
    if not as_json:
        told = ", ".join(f"{name} {count}" for name, count in sorted(found["codes"].items()))
        sys.stdout.write(f"{found['total']} failed since {since}{': ' if told else ''}{told}.\n")
        if len(rows) < found["total"]:
            sys.stdout.write(f"Only the newest {len(rows)} are shown: --limit shows more.\n")


def quota(
    company: CompanyOption = None,
    quota_bytes: Annotated[
        int | None, typer.Option("--set", metavar="BYTES", min=1, help="Give it this quota.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Show what companies use of their storage quota, the fullest first; --set changes one."""
    words = ["--company", str(company)] if company else []
    if quota_bytes is not None:
        if company is None:
            raise UsageError("--set needs --company.")
        ask(f"Give company {company} a quota of {quota_bytes:,} bytes?", yes)
        words += ["--set", str(quota_bytes)]
    _, rows = ask_watcher("quota", *words)
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
    show(rows, columns, as_json)


def lag(as_json: Json = False) -> None:
    """Show what consumers have not read, and open dead letters; exit code 2 for any of these."""
    code, found = ask_watcher("lag")
    if as_json:
        print_json(found)
    else:
        rows = [
            {**one, "dead": found["dead_letters"].get(one["topic"], 0)} for one in found["groups"]
        ]
        known = {row["topic"] for row in rows}
        rows += [
            {"topic": topic, "group": "-", "records": "-", "dead": count}
            for topic, count in found["dead_letters"].items()
            if topic not in known
        ]
        columns = {"topic": "topic", "group": "group", "behind": "records", "dead letters": "dead"}
        print_table(table(rows, columns))
    raise typer.Exit(code)


def reconcile(as_json: Json = False) -> None:
    """Look now for uploads that nobody announced, and start what stands still."""
    _, effects = ask_watcher("reconcile")
    if as_json:
        print_json(effects)
        return
    told = ", ".join(f"{count} {effect}" for effect, count in effects.items())
    sys.stdout.write(f"{sum(effects.values())} unfinished assets{': ' if told else ''}{told}.\n")


COMMANDS = (watch, backlog, oldest, asset, retry, cancel, delete, failed, quota, lag, reconcile)

_SECTIONS: Mapping[str, Mapping[str, Any]] = {
    "transitions": {
        "at": "at", "attempt": "attempt", "from": "from_status", "to": "to_status",
        "service": "service",
    },
    "jobs": {
        "attempt": "attempt", "state": "state", "tries": "tries", "fence": "fence",
        "owner": "owner", "claimed": "claimed_at", "finished": "finished_at",
        "last error": "last_error",
    },
    "results": {"at": "at", "attempt": "attempt", "part": "part", "fence": "job_fence"},
    "outbox": {"since": "created_at", "producer": "producer", "topic": "topic"},
    "events": {
        "time": "time", "type": "type",
        "what": lambda row: row.get("error") or json.dumps(row["data"]),
    },
    "objects": {
        "modified": "modified_at", "size": "size", "latest": "is_latest", "key": "key",
    },
}  # fmt: skip


def parse_span(text: str) -> timedelta:
    """Return the span that ``30d`` means; raises UsageError."""
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in _UNITS:
        raise UsageError(f"A span is a number and m, h, d or w, such as 30d; not {text!r}.")
    try:
        return timedelta(**{_UNITS[unit]: int(number)})
    except OverflowError as error:
        raise UsageError(f"{text} is longer than any span.") from error


def _act(verb: str, assets: Sequence[UUID], as_json: bool) -> None:
    code, rows = ask_watcher(verb, *map(str, assets))
    if as_json:
        print_json(rows)
    for row in [] if as_json else rows:
        told = row.get("error") or f"{row['status']}, attempt {row['attempt']}"
        sys.stdout.write(f"{row['asset_id']}: {told}\n")
    raise typer.Exit(code)


def _age(row: Mapping[str, Any]) -> str:
    return duration(row["oldest_seconds"])
