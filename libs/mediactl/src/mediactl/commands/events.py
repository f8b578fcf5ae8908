"""The command that prints what happened, as Kafka has kept it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from media_runtime.telemetry.terminal import parse_span
from mediactl.devstack.home import Home
from mediactl.devstack.published import read_variables
from mediactl.errors import UsageError
from mediactl.tokens import parse_company


def events(
    since: Annotated[
        str, typer.Option(metavar="TIME", help="As 30m, 24h, 7d or 2026-11-28T12:00:00Z.")
    ] = "1h",
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Repeatable. Default: all types.")
    ] = None,
    company: Annotated[str | None, typer.Option(metavar="UUID", help="Of this one alone.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until stopped.")] = False,
) -> None:
    """Print the events that companies and other teams heard of, a line of JSON each."""
    variables = read_variables(Home.from_environment())
    of_company = parse_company(company) if company else None
    moment = _moment(since)
    from mediactl.history import print_events  # it takes a while, which other commands need not pay

    print_events(variables, moment, types=frozenset(types or ()), company=of_company, follow=follow)


def _moment(text: str) -> datetime:
    if text[:-1].isdecimal():
        return datetime.now(UTC) - parse_span(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--since {text}: give 30m, 24h, 7d, or a time of ISO 8601.") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
