"""
The commands for dead letters: list, show, redrive, discard.

Invariant: what a letter holds reaches the terminal with its control characters escaped.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from media_contracts import TOPICS
from media_records.dead_letters import Letter, read_letters
from media_records.dead_letters import discard as discard_letter
from media_records.dead_letters import redrive as redrive_letter
from media_runtime.telemetry.terminal import (
    Json,
    UsageError,
    Yes,
    ask,
    print_json,
    printable,
    wide_console,
)
from rich.progress import track
from rich.table import Table
from rich.text import Text
from watcher.monitoring.dead_letters import Filter, file_dead_letters
from watcher.operator.running import connected, open_operator, run
from watcher.settings import WatcherSettings

app = typer.Typer(
    help="Dead letters: records that a consumer could not take.", no_args_is_help=True
)
_SHOWN_CHARACTERS = 20_000
_MESSAGE_CHARACTERS = 120

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID…]", help="As list shows them. Default: all.")
]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter", metavar="FIELD=TEXT",
        help="Only letters whose exception, message, company, asset or anything (any) has the "
        "text, or whose topic or reason is the text.",
    ),
]  # fmt: skip
Topic = Annotated[str | None, typer.Option(help="Only letters of this topic.")]
Reason = Annotated[str | None, typer.Option(help="malformed, rejected or unexpected.")]
Company = Annotated[str | None, typer.Option(metavar="UUID", help="Only this company's.")]
Asset = Annotated[str | None, typer.Option(metavar="UUID", help="Only this asset's.")]
Match = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only letters that have this text anywhere.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]


@app.command("list")
def list_letters(  # noqa: PLR0917 - typer names them all
    filters: Filters = None,
    topic: Topic = None,
    reason: Reason = None,
    company: Company = None,
    asset: Asset = None,
    match: Match = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are done with.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each.")] = False,
) -> None:
    """List the dead letters that nobody has dealt with."""
    wanted = _wanted(filters, topic=topic, reason=reason, company=company, asset=asset, any=match)
    letters = _chosen(_read(settled_too=all_), None, wanted, done_too=all_)
    if as_json:
        for letter in letters:
            sys.stdout.write(json.dumps(_as_json(letter)) + "\n")
        return
    if letters:
        wide_console().print(_table(letters))
    sys.stdout.write(f"{_counted(letters)}.\n")


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Show one dead letter: where it came from, why it is here, and its bytes."""
    (letter, *_) = _chosen(_read(settled_too=True), [name], [], done_too=True)
    if as_json:
        print_json({**_as_json(letter), **_contents(letter)})
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for title, text in (
        ("id", letter.id),
        ("since", letter.at.isoformat(timespec="seconds")),
        ("state", "done with" if letter.resolved else "open"),
        ("origin", _origin(letter)),
        ("key", _text(letter.key)),
        *((header, _text(value)) for header, value in letter.headers),
    ):
        table.add_row(Text(printable(title)), Text(printable(text)))
    wide_console().print(table)
    sys.stdout.write("\n" + _value(letter.value) + "\n")


@app.command()
def redrive(  # noqa: PLR0917 - typer names them all
    ids: Ids = None,
    filters: Filters = None,
    topic: Topic = None,
    reason: Reason = None,
    company: Company = None,
    asset: Asset = None,
    match: Match = None,
    dry_run: DryRun = False,
    rate: Annotated[
        float | None, typer.Option(metavar="N", min=0.01, help="At most N letters a second.")
    ] = None,
    max_redrives: Annotated[
        int, typer.Option(metavar="N", min=1, help="Leave those that came back N times.")
    ] = 3,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Send dead letters to their topic again, byte for byte; consumers absorb repetitions."""
    wanted = _wanted(filters, topic=topic, reason=reason, company=company, asset=asset, any=match)
    letters = _chosen(_read(settled_too=bool(ids)), ids, wanted)
    tired = [letter for letter in letters if letter.redrives >= max_redrives]
    fresh = [letter for letter in letters if letter.redrives < max_redrives]
    if tired and not as_json:
        sys.stdout.write(
            f"{_counted(tired)} came back {max_redrives} times already, and are left alone.\n"
        )
    done = _is_to_do(fresh, "send again", dry_run=dry_run, yes=yes, as_json=as_json)
    if done:
        run(_redrive(fresh, rate))
    if as_json:
        document = {"sent": done, "letters": _all_as_json(fresh), "left_alone": _all_as_json(tired)}
        print_json(document)
    elif done:
        sys.stdout.write(f"{_counted(fresh)} sent again.\n")


@app.command()
def discard(  # noqa: PLR0917 - typer names them all
    ids: Ids = None,
    filters: Filters = None,
    topic: Topic = None,
    reason: Reason = None,
    company: Company = None,
    asset: Asset = None,
    match: Match = None,
    all_: Annotated[bool, typer.Option("--all", help="Each that is open.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Count dead letters as done with, without sending them; they are kept for 30 days."""
    wanted = _wanted(filters, topic=topic, reason=reason, company=company, asset=asset, any=match)
    if not (ids or wanted or all_):
        raise UsageError("Say which to discard: ids, filters, or --all.")
    letters = _chosen(_read(settled_too=bool(ids)), ids, wanted)
    done = _is_to_do(letters, "discard", dry_run=dry_run, yes=yes, as_json=as_json)
    if done:
        run(_discard(letters))
    if as_json:
        print_json({"discarded": done, "letters": _all_as_json(letters)})
    elif done:
        sys.stdout.write(f"{_counted(letters)} discarded.\n")


def _wanted(filters: Sequence[str] | None, **named: str | None) -> list[Filter]:
    """Return all filters; *named* are those that have an option of their own, by field."""
    topic, known = named["topic"], [one.name for one in TOPICS]
    if topic is not None:
        named["topic"] = topic.removesuffix("_dlq")
        if named["topic"] not in known:
            raise UsageError(f"There is no topic {topic!r}: known are {', '.join(known)}.")
    return [
        *(Filter.parse(wish) for wish in filters or ()),
        *(Filter(field, text) for field, text in named.items() if text is not None),
    ]


def _read(*, settled_too: bool = False) -> list[Letter]:
    return run(_read_filed(settled_too))


async def _read_filed(settled_too: bool) -> list[Letter]:
    settings = WatcherSettings()
    async with connected(settings) as database:
        await file_dead_letters(database, settings)
        return await read_letters(database, settled_too=settled_too)


def _chosen(
    letters: Sequence[Letter],
    ids: Sequence[str] | None,
    filters: Sequence[Filter],
    *,
    done_too: bool = False,
) -> list[Letter]:
    """Return the letters that were asked for; raises UsageError for an id that cannot be meant."""
    unknown = set(ids or ()) - {letter.id for letter in letters}
    if unknown:
        raise UsageError(
            f"There is no dead letter {', '.join(sorted(unknown))}: see 'mediactl dlq list --all'."
        )
    done = [letter.id for letter in letters if ids and letter.id in ids and letter.resolved]
    if done and not done_too:
        raise UsageError(f"Done with already: {', '.join(done)}.")
    return [
        letter
        for letter in letters
        if (not ids or letter.id in ids)
        and (done_too or not letter.resolved)
        and all(one.accepts(letter) for one in filters)
    ]


def _is_to_do(
    letters: Sequence[Letter], what: str, *, dry_run: bool, yes: bool, as_json: bool
) -> bool:
    """Show what would be done, unless as JSON, and return whether to do it; asks where it must."""
    if as_json:
        if letters and not dry_run:
            ask(f"{what.capitalize()}: {_counted(letters)}?", yes)
        return bool(letters) and not dry_run
    if not letters:
        sys.stdout.write(f"There is nothing to {what}.\n")
        return False
    if dry_run or not yes:
        wide_console().print(_table(letters))
    if dry_run:
        sys.stdout.write(f"{_counted(letters)} to {what}; this was a dry run.\n")
        return False
    return yes or typer.confirm(f"{what.capitalize()}: {_counted(letters)}?")


async def _redrive(letters: Sequence[Letter], rate: float | None) -> None:
    in_order = sorted(letters, key=lambda one: (one.topic, one.partition, one.offset))
    async with open_operator(WatcherSettings()) as work:
        for number in track(range(len(in_order)), "sending", transient=True):
            if rate and number:
                await asyncio.sleep(1 / rate)
            async with work.begin() as tx:
                await redrive_letter(tx, in_order[number])
            # One by one: a relay's batch of large letters would not fit into its memory.
            await work.flush()


async def _discard(letters: Sequence[Letter]) -> None:
    async with open_operator(WatcherSettings()) as work, work.begin() as tx:
        for letter in letters:
            await discard_letter(tx, letter)


def _table(letters: Sequence[Letter]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("id", "age", "reason", "why", "company", "asset or key", "tries", "redrives"):
        table.add_column(title, no_wrap=title == "id")
    for letter in letters:
        why = ": ".join(filter(None, (letter.field("exception"), letter.field("message"))))
        texts = (
            letter.id,
            _age(letter.at),
            letter.field("reason") + (" (done)" if letter.resolved else ""),
            why if len(why) <= _MESSAGE_CHARACTERS else why[:_MESSAGE_CHARACTERS] + "…",
            letter.field("company")[:36],
            letter.field("asset")[:80],
            letter.about.get("attempts", "")[:5],
            str(letter.redrives or ""),
        )
        table.add_row(*(Text(printable(text)) for text in texts))
    return table


def _as_json(letter: Letter) -> dict[str, Any]:
    return {
        **letter.about,
        "id": letter.id,
        "topic": letter.topic,
        "at": letter.at.isoformat(),
        "resolved": letter.resolved,
        "company": letter.field("company"),
        "asset": letter.field("asset"),
        "redrives": letter.redrives,
    }


def _all_as_json(letters: Sequence[Letter]) -> list[dict[str, Any]]:
    return [_as_json(letter) for letter in letters]


def _contents(letter: Letter) -> dict[str, Any]:
    """Return all that a letter holds; bytes that are no text have backslashes for them."""
    return {
        "key": None if letter.key is None else _text(letter.key),
        "value": None if letter.value is None else _text(letter.value),
        "headers": [
            [name, None if value is None else _text(value)] for name, value in letter.headers
        ],
    }


def _counted(letters: Sequence[Letter]) -> str:
    return "1 dead letter" if len(letters) == 1 else f"{len(letters)} dead letters"


def _age(at: datetime) -> str:
    seconds = int((datetime.now(UTC) - at).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _origin(letter: Letter) -> str:
    stamp = letter.about.get("timestamp", "")
    try:
        at = datetime.fromtimestamp(int(stamp) / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        at = "an unknown time"
    where = [letter.about.get(name, "?") for name in ("topic", "partition", "offset")]
    return f"{':'.join(where)}, written at {at}"


def _text(value: bytes | None) -> str:
    return "(null)" if value is None else value.decode(errors="backslashreplace")


def _value(value: bytes | None) -> str:
    if not value:
        return "(null)" if value is None else "(empty)"
    try:
        text = json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = _text(value)
    shown = "\n".join(printable(line) for line in text[:_SHOWN_CHARACTERS].split("\n"))
    left = len(text) - _SHOWN_CHARACTERS
    return shown if left <= 0 else f"{shown}… and {left} characters more"
