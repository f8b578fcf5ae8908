"""The commands for who operates a stack: what waits, what failed, and what to do about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import typer
from mediactl.errors import MediactlError, UsageError
from mediactl.home import Home
from mediactl.published import wide_console
from mediactl.status import duration
from mediactl.watcher_commands import ask_watcher, watch_once
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
AssetIds = Annotated[list[UUID], typer.Argument(metavar="ASSET…")]
CompanyOption = Annotated[UUID | None, typer.Option(metavar="UUID", help="Only this company.")]

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAY_SECONDS = 86_400


def watch(
    once: Annotated[bool, typer.Option("--once", help="One round: exit code 2 on alert.")] = False,
) -> None:
    """Look at backlog, failures, quotas and all that waits, as the watcher does."""
    if not once:
        raise MediactlError(
            "The watcher runs with the stack: 'mediactl logs watcher -f' follows it, "
            "'mediactl watch --once' makes one round now."
        )
    raise typer.Exit(watch_once(Home.from_environment()))


def backlog(as_json: Json = False) -> None:
    """Show how many uploads wait for their outcome, by company."""
    _, rows = ask_watcher("backlog")
    _show(rows, {"company": "company_id", "waiting": "waiting", "oldest": _age}, as_json)


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
    _show(rows, columns, as_json)


def asset(
    asset_id: Annotated[UUID, typer.Argument(metavar="ASSET")], as_json: Json = False
) -> None:
    """Show everything that is known of one asset: its row, history, jobs, events and objects."""
    _, found = ask_watcher("asset", str(asset_id))
    if as_json:
        _print_json(found)
        return
    console = wide_console()
    facts = {**found["asset"], "trace_id": found["trace_id"]}
    console.print(_facts({name: value for name, value in facts.items() if value is not None}))
    for title, columns in _SECTIONS.items():
        console.print(Text(f"\n{title}", style="bold"))
        rows = found[title]
        if isinstance(rows, Mapping):
            console.print(Text(str(rows["error"])))
        elif rows:
            console.print(_table(rows, columns))
        else:
            console.print("none")


def retry(assets: AssetIds, as_json: Json = False) -> None:
    """Begin new attempts for failed assets; exit code 2 where one cannot be retried."""
    _act("retry", assets, as_json)


def cancel(assets: AssetIds, yes: Yes = False, as_json: Json = False) -> None:
    """Cancel unfinished assets: work on them stops, and their objects go."""
    _ask(f"Cancel {len(assets)} assets for good?", yes)
    _act("cancel", assets, as_json)


def delete(assets: AssetIds, yes: Yes = False, as_json: Json = False) -> None:
    """Delete assets and their objects."""
    _ask(f"Delete {len(assets)} assets and their files for good?", yes)
    _act("delete", assets, as_json)


def failed(  # noqa: PLR0917 - typer names them all
    since: Annotated[str, typer.Option(metavar="SPAN", help="Such as 90m, 12h, 30d, 4w.")] = "30d",
    company: CompanyOption = None,
    code: Annotated[str | None, typer.Option(help="Only failures with this code.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 1000,
    ids: Annotated[bool, typer.Option("--ids", help="Print ids alone, for retry.")] = False,
    as_json: Json = False,
) -> None:
    """List assets whose last attempt failed, the newest first: the monthly review."""
    days = parse_span(since).total_seconds() / _DAY_SECONDS
    words = ["--since", f"{days:.6f}", "--limit", str(limit)]
    words += ["--company", str(company)] if company else []
    words += ["--code", code] if code else []
    _, rows = ask_watcher("failed", *words)
    if ids:
        sys.stdout.write("".join(f"{row['asset_id']}\n" for row in rows))
        return
    columns = {
        "when": "processed_at",
        "asset": "asset_id",
        "company": "company_id",
        "attempt": "attempt",
        "code": "error_code",
        "why": "error_message",
    }
    _show(rows, columns, as_json)
    if not as_json:
        counted: dict[str, int] = {}
        for row in rows:
            counted[row["error_code"]] = counted.get(row["error_code"], 0) + 1
        told = ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
        sys.stdout.write(f"{len(rows)} failed since {since}{': ' if told else ''}{told}.\n")


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
        _ask(f"Give company {company} a quota of {quota_bytes:,} bytes?", yes)
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
    _show(rows, columns, as_json)


def lag(as_json: Json = False) -> None:
    """Show what consumers have not read, and open dead letters; exit code 2 for any of these."""
    code, found = ask_watcher("lag")
    if as_json:
        _print_json(found)
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
        wide_console().print(_table(rows, columns))
    raise typer.Exit(code)


def reconcile(as_json: Json = False) -> None:
    """Look now for uploads that nobody announced, and start what stands still."""
    _, effects = ask_watcher("reconcile")
    if as_json:
        _print_json(effects)
        return
    told = ", ".join(f"{count} {effect}" for effect, count in effects.items())
    sys.stdout.write(f"{sum(effects.values())} unfinished assets{': ' if told else ''}{told}.\n")


def retention(  # noqa: PLR0917 - typer names them all
    apply: Annotated[bool, typer.Option("--apply", help="Delete what is due, now.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show it, as without.")] = False,
    rate: Annotated[
        float | None, typer.Option(metavar="N", min=0.01, help="At most N assets a second.")
    ] = None,
    company: Annotated[
        UUID | None, typer.Option(metavar="UUID", help="Set this company's policy.")
    ] = None,
    days: Annotated[int, typer.Option(min=0, help="Its days; 0: as the settings say.")] = 0,
    keep_thumbnails: Annotated[
        bool | None, typer.Option("--keep-thumbnails/--remove-thumbnails")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Show what is too old to be kept; exit code 2 for any. --apply deletes it at once."""
    if apply and (dry_run or company):
        raise UsageError("--apply goes neither with --dry-run nor with --company.")
    if company is not None:
        _set_policy(company, days, keep_thumbnails, yes=yes, as_json=as_json)
        return
    code, plan = ask_watcher("retention")
    if not apply:
        _show_plan(plan, as_json)
        raise typer.Exit(code)
    if plan["companies"] and not as_json:
        _show_plan(plan, as_json)
    _ask("Delete all that is due, and its files, for good?", yes)
    _, done = ask_watcher("retention", "--apply", *(["--rate", str(rate)] if rate else []))
    if as_json:
        _print_json(done)
    else:
        sys.stdout.write(f"{done['deleted']} assets deleted; the watcher removes their files.\n")


def cleanup(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Show what each rule of the clean-up is to remove now; the watcher does it by itself."""
    if not dry_run:
        raise UsageError("The watcher cleans up in each round; --dry-run shows what is due.")
    _, rows = ask_watcher("cleanup-plan")
    columns = {
        "rule": "rule",
        "due": "due",
        "oldest": lambda row: duration(row["oldest_seconds"]),
        "objects": "objects",
        "bytes": lambda row: None if row["bytes"] is None else f"{row['bytes']:,}",
        "what": "what",
    }
    _show(rows, columns, as_json)


def orphans(
    remove: Annotated[bool, typer.Option("--remove", help="Remove the objects found.")] = False,
    min_age: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="What is younger may be on its way.")
    ] = 3600,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """List objects that nothing refers to, and assets whose files are gone; exit code 2 if any."""
    if remove:
        _ask("Remove every object that nothing refers to?", yes)
    words = ["--min-age", str(min_age), *(["--remove"] if remove else [])]
    code, rows = ask_watcher("orphans", *words)
    columns = {
        "kind": "kind",
        "size": lambda row: f"{row['size']:,}",
        "key": "key",
        "why": "why",
    }
    _show(rows, columns, as_json)
    if not as_json:
        size = sum(row["size"] for row in rows)
        sys.stdout.write(f"{len(rows)} found, {size:,} bytes{', removed' if remove else ''}.\n")
    raise typer.Exit(code)


COMMANDS = (backlog, oldest, asset, retry, cancel, delete, failed, quota, lag, reconcile,
            retention, cleanup, orphans)  # fmt: skip

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
        _print_json(rows)
    for row in [] if as_json else rows:
        told = row.get("error") or f"{row['status']}, attempt {row['attempt']}"
        sys.stdout.write(f"{row['asset_id']}: {told}\n")
    raise typer.Exit(code)


def _ask(question: str, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True, err=True)


def _set_policy(company: UUID, days: int, keeps: bool | None, *, yes: bool, as_json: bool) -> None:
    span = f"{days} days" if days else "as long as the settings say"
    _ask(f"Keep the assets of company {company} {span}?", yes)
    words = ["--company", str(company), "--days", str(days)]
    if keeps is not None:
        words += ["--keep-thumbnails", "yes" if keeps else "no"]
    _, policy = ask_watcher("retention", *words)
    if as_json:
        _print_json(policy)
    else:
        sys.stdout.write(f"Assets of {company} are kept {span}.\n")


def _show_plan(plan: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(plan)
        return
    columns = {
        "company": "company_id",
        "assets": "assets",
        "bytes": lambda row: f"{row['bytes']:,}",
        "kept thumbnails": "kept_thumbnails",
        "oldest": "oldest",
    }
    if plan["companies"]:
        wide_console().print(_table(plan["companies"], columns))
    total = sum(row["assets"] for row in plan["companies"])
    garbage = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in plan["other_garbage"].items()
    )
    sys.stdout.write(
        f"{total} assets are older than their company keeps them (by default {plan['days']} days);"
        f" a round deletes at most {plan['at_once']}.\nThe next rounds remove besides: {garbage}.\n"
    )


def _age(row: Mapping[str, Any]) -> str:
    return duration(row["oldest_seconds"])


def _show(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(rows)
    elif rows:
        wide_console().print(_table(rows, columns))
    else:
        sys.stdout.write("None.\n")


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]) -> Table:
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        cells = [pick(row) if callable(pick) else row.get(pick) for pick in columns.values()]
        # File names and errors are strangers' words: no markup, no control characters.
        table.add_row(*(Text(_printable(cell)) for cell in cells))
    return table


def _facts(facts: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in facts.items():
        table.add_row(name, Text(_printable(value)))
    return table


def _printable(value: object) -> str:
    text = "-" if value is None else str(value)
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _print_json(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
