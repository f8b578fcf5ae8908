"""The commands that manage a company's endpoints, through the API."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import httpx
import typer
from mediactl.client import checked
from mediactl.devstack.home import Home
from mediactl.devstack.published import read_variables
from mediactl.devstack.state import State
from mediactl.tokens import local_token
from rich.console import Console
from rich.table import Table

Company = Annotated[str, typer.Option(metavar="UUID", help="Whose endpoints they are.")]
Endpoint = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id.")]

app = typer.Typer(help="A company's webhooks: who hears of its events.", no_args_is_help=True)


@app.command("list")
def list_endpoints(company: Company) -> None:
    """List the endpoints."""
    columns = ("id", "url", "types", "enabled", "failing since")
    _print(
        columns,
        [
            (
                *(one["id"], one["url"], ", ".join(one["types"]) or "all"),
                *("yes" if one["enabled"] else "no", one["failingSince"] or ""),
            )
            for one in _ask(company, "GET")["items"]
        ],
    )


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="https://…")],
    company: Company,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Repeatable. Default: all events.")
    ] = None,
) -> None:
    """Add an endpoint and print it with its secret, which is told this once."""
    _dump(_ask(company, "POST", url=url, types=types or []))


@app.command()
def remove(endpoint: Endpoint, company: Company) -> None:
    """Remove an endpoint, and what waits for it."""
    _ask(company, "DELETE", f"/{endpoint}")


@app.command()
def enable(endpoint: Endpoint, company: Company) -> None:
    """Enable an endpoint that was given up; what waited for it is sent."""
    _dump(_ask(company, "PATCH", f"/{endpoint}", enabled=True))


@app.command()
def rotate(endpoint: Endpoint, company: Company) -> None:
    """Print a new secret; for 24 hours the one before it signs as well."""
    _dump(_ask(company, "POST", f"/{endpoint}/secret"))


@app.command()
def ping(endpoint: Endpoint, company: Company) -> None:
    """Have a test event sent."""
    _dump(_ask(company, "POST", f"/{endpoint}/ping"))


@app.command()
def log(
    endpoint: Endpoint,
    company: Company,
    state: Annotated[str | None, typer.Option(help="waiting, done or failed.")] = None,
) -> None:
    """Show the last 100 deliveries, newest first."""
    query = f"?limit=100{f'&state={state}' if state else ''}"
    items = _ask(company, "GET", f"/{endpoint}/deliveries{query}")["items"]
    columns = ("event", "type", "state", "tries", "answer", "created", "next try")
    rows = [
        (
            *(one["eventId"], one["type"], one["state"], str(one["tries"]), one["answer"] or ""),
            *(one["createdAt"], one["nextTryAt"] or ""),
        )
        for one in items
    ]
    _print(columns, rows)


@app.command()
def replay(
    endpoint: Endpoint,
    company: Company,
    event: Annotated[str | None, typer.Option(metavar="ID", help="One event.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="All since, as 2026-11-28T12:00:00Z.")
    ] = None,
) -> None:
    """Send events again, under their own ids."""
    wanted = {"eventId": event, "since": since}
    given = {name: value for name, value in wanted.items() if value}
    _dump(_ask(company, "POST", f"/{endpoint}/replay", **given))


def _ask(company: str, method: str, path: str = "", **body: object) -> dict[str, Any]:
    home = Home.from_environment()
    variables = read_variables(home)
    token = local_token(
        State(home.state_file),
        {**variables, **os.environ},
        company=company,
        permissions=("media:manage",),
    )

    async def ask() -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=variables["MEDIA_URL"], headers=headers) as http:
            answer = await http.request(
                method, f"/api/media/webhooks{path}", json=body if method != "GET" else None
            )
        return checked(answer, path or "webhooks") if answer.content else {}

    return asyncio.run(ask())


def _dump(found: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
