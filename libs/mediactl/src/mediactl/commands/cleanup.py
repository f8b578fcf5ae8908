"""
The commands for what is old or nobody's: retention, cleanup, orphans.

Invariant: what would be deleted is shown first, and no more than that is deleted.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import typer
from mediactl.answers import Json, Yes, ask, print_json, print_table, show, table
from mediactl.errors import UsageError
from mediactl.status import duration
from mediactl.watcher_commands import ask_watcher

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
    words = ["--days", str(days)] if days is not None else []
    if keep_thumbnails is not None:
        words += ["--keep-thumbnails", "yes" if keep_thumbnails else "no"]
    if default and words:
        raise UsageError("--default drops the whole policy: give it without the other two.")
    words += ["--default"] if default else []
    if words and company is None:
        raise UsageError("A policy is a company's: name it by --company.")
    if apply and (dry_run or company):
        raise UsageError("--apply goes neither with --dry-run nor with --company.")
    if rate is not None and not apply:
        raise UsageError("--rate goes with --apply.")
    if company is not None:
        _policy(company, words, dry_run=dry_run, yes=yes, as_json=as_json)
        return
    code, plan = ask_watcher("retention")
    if apply:
        _apply(plan, rate, yes=yes, as_json=as_json)
        return
    _show_plan(plan, as_json)
    raise typer.Exit(code)


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
    show(rows, columns, as_json)


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
    code, rows = ask_watcher("orphans", "--min-age", str(min_age))
    columns = {
        "kind": "kind",
        "size": lambda row: f"{row['size']:,}",
        "key": "key",
        "version": "version_id",
        "why": "why",
    }
    if not as_json:
        show(rows, columns, as_json)
        size = sum(row["size"] for row in rows)
        sys.stdout.write(f"{len(rows)} found, {size:,} bytes.\n")
    doomed = [row for row in rows if row["kind"] == "object"]
    if remove and doomed:
        ask(f"Remove these {len(doomed)} versions for good?", yes)
        words = ["--rate", str(rate)] if rate else []
        _, removed = ask_watcher("orphans", "--remove", *words, document=doomed)
        for row, done in zip(doomed, removed, strict=True):
            row["removed"] = done
        if not as_json:
            sys.stdout.write(f"{sum(removed)} versions removed.\n")
    if as_json:
        print_json(rows)
    raise typer.Exit(code)


COMMANDS = (retention, cleanup, orphans)


def _policy(company: UUID, words: list[str], *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Show a company's policy and plan, as they are or would be; change it after a yes."""
    ask_for = ["retention", "--company", str(company), *words]
    is_change = bool(words) and not dry_run
    code, found = ask_watcher(*ask_for, "--dry-run")
    if not as_json:
        _show_policy(found)
        sys.stdout.write("With the policy that you name:\n" if words else "")
        _show_shares(found)
    if is_change:
        ask(f"Change the policy of company {company}? The watcher deletes what it makes due.", yes)
        code, found = ask_watcher(*ask_for)
        if not as_json:
            _show_policy(found)
    if as_json:
        print_json(found)
    raise typer.Exit(code)


def _apply(plan: Mapping[str, Any], rate: float | None, *, yes: bool, as_json: bool) -> None:
    if not as_json:
        _show_plan(plan, as_json)
    deleted = 0
    if total := _total(plan):
        ask(f"Delete these {total} assets, and their files, for good?", yes)
        words = ["--rate", str(rate)] if rate else []
        _, done = ask_watcher("retention", "--apply", *words, document=plan)
        deleted = done["deleted"]
    if as_json:
        print_json({**plan, "deleted": deleted})
    else:
        sys.stdout.write(f"{deleted} assets deleted; the watcher removes their files.\n")


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
