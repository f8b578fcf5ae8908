"""The commands for dead letters: list, show, redrive, discard."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from mediactl.dead_letters import DeadLetters, Filter, Letter
from mediactl.errors import MediactlError
from mediactl.home import Home
from mediactl.published import read_variables, wide_console
from rich.progress import track
from rich.table import Table

app = typer.Typer(
    help="Dead letters: records that a consumer could not take.", no_args_is_help=True
)
_SHOWN_BYTES = 4000

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID…]", help="As list shows them. Default: all.")
]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter", metavar="FIELD=TEXT",
        help="Only letters whose topic, reason, exception, message, company or asset has the text.",
    ),
]  # fmt: skip
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("list")
def list_letters(
    filters: Filters = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are done with.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each.")] = False,
) -> None:
    """List the dead letters that nobody has dealt with."""
    letters = _chosen(_read(), None, filters, done_too=all_)
    if as_json:
        for letter in letters:
            sys.stdout.write(json.dumps(_as_json(letter)) + "\n")
        return
    if letters:
        wide_console().print(_table(letters))
    sys.stdout.write(f"{_counted(letters)}.\n")


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show one dead letter: where it came from, why it is here, and its bytes."""
    (letter,) = _chosen(_read(), [name], None, done_too=True)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("id", letter.id)
    table.add_row("since", letter.at.isoformat(timespec="seconds"))
    table.add_row("state", "done with" if letter.resolved else "open")
    table.add_row("key", _text(letter.key))
    for header, value in letter.headers:
        table.add_row(header, _text(value))
    wide_console().print(table)
    sys.stdout.write("\n" + _value(letter) + "\n")


@app.command()
def redrive(  # noqa: PLR0917 - typer names them all
    ids: Ids = None,
    filters: Filters = None,
    dry_run: DryRun = False,
    rate: Annotated[
        float | None, typer.Option(metavar="N", min=0.01, help="At most N letters a second.")
    ] = None,
    max_redrives: Annotated[
        int, typer.Option(metavar="N", min=1, help="Leave those that came back N times.")
    ] = 3,
    yes: Yes = False,
) -> None:
    """Send dead letters to their topic again, byte for byte; consumers absorb repetitions."""
    letters = _chosen(_read(), ids, filters)
    tired = [letter for letter in letters if letter.redrives >= max_redrives]
    fresh = [letter for letter in letters if letter.redrives < max_redrives]
    if tired:
        sys.stdout.write(
            f"{_counted(tired)} came back {max_redrives} times already, and are left alone.\n"
        )
    if _is_to_do(fresh, "send again", dry_run=dry_run, yes=yes):
        asyncio.run(_redrive(fresh, rate))
        sys.stdout.write(f"{_counted(fresh)} sent again.\n")


@app.command()
def discard(
    ids: Ids = None, filters: Filters = None, dry_run: DryRun = False, yes: Yes = False
) -> None:
    """Count dead letters as done with, without sending them; Kafka keeps them for its time."""
    letters = _chosen(_read(), ids, filters)
    if _is_to_do(letters, "discard", dry_run=dry_run, yes=yes):
        asyncio.run(_stack().letters().resolve(letters))
        sys.stdout.write(f"{_counted(letters)} discarded.\n")


@dataclass(frozen=True)
class _Kafka:
    servers: str
    prefix: str

    def letters(self) -> DeadLetters:
        return DeadLetters(self.servers, self.prefix)


def _stack() -> _Kafka:
    """Return the broker that the environment names, or that of the stack that was started."""
    prefix = os.environ.get("KAFKA_TOPIC_PREFIX", "")
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        return _Kafka(given, prefix)
    return _Kafka(read_variables(Home.from_environment())["KAFKA_BOOTSTRAP_SERVERS"], prefix)


def _read() -> list[Letter]:
    return asyncio.run(_stack().letters().read())


def _chosen(
    letters: Sequence[Letter],
    ids: Sequence[str] | None,
    filters: Sequence[str] | None,
    *,
    done_too: bool = False,
) -> list[Letter]:
    """Return the letters that were asked for; raises MediactlError for an unknown id."""
    unknown = set(ids or ()) - {letter.id for letter in letters}
    if unknown:
        raise MediactlError(
            f"There is no dead letter {', '.join(sorted(unknown))}: see 'mediactl dlq list --all'."
        )
    wanted = [Filter.parse(wish) for wish in filters or ()]
    return [
        letter
        for letter in letters
        if (not ids or letter.id in ids)
        and (done_too or not letter.resolved)
        and all(one.accepts(letter) for one in wanted)
    ]


def _is_to_do(letters: Sequence[Letter], what: str, *, dry_run: bool, yes: bool) -> bool:
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
    sent = _stack().letters().redrive(letters, rate=rate)
    for _ in track(range(len(letters)), "sending", transient=True):
        await anext(sent)
    async for _ in sent:
        raise AssertionError("more letters were sent than asked for")


def _table(letters: Sequence[Letter]) -> Table:
    table = Table(
        "id", "age", "reason", "exception", "message", "asset", "tries", "redrives", box=None,
        pad_edge=False,
    )  # fmt: skip
    for letter in letters:
        table.add_row(
            letter.id,
            _age(letter.at),
            letter.field("reason") + (" (done)" if letter.resolved else ""),
            letter.field("exception"),
            letter.field("message")[:80],
            letter.field("asset")[:40],
            letter.about.get("attempts", ""),
            str(letter.redrives or ""),
        )
    return table


def _as_json(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "topic": letter.topic,
        "at": letter.at.isoformat(),
        "resolved": letter.resolved,
        "company": letter.field("company"),
        "asset": letter.field("asset"),
        "redrives": letter.redrives,
        **{name: text for name, text in letter.about.items() if name != "redrives"},
    }


def _counted(letters: Sequence[Letter]) -> str:
    return "1 dead letter" if len(letters) == 1 else f"{len(letters)} dead letters"


def _age(at: datetime) -> str:
    seconds = int((datetime.now(UTC) - at).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _text(value: bytes | None) -> str:
    return "(null)" if value is None else value.decode(errors="backslashreplace")


def _value(letter: Letter) -> str:
    if letter.event:
        return json.dumps(letter.event, indent=2, ensure_ascii=False)
    text = _text(letter.value)
    left = len(text) - _SHOWN_BYTES
    return text if left <= 0 else f"{text[:_SHOWN_BYTES]}… and {left} more"
