"""The commands for who operates a stack: watch and orphans."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Annotated, Any

import typer
from mediactl.credentials import stack_credentials
from mediactl.endpoints import endpoints_from_environment
from mediactl.errors import MediactlError
from mediactl.home import Home
from mediactl.published import read_variables, wide_console
from mediactl.services import Surroundings, service_environment
from mediactl.state import State
from rich.table import Table


def watch(
    once: Annotated[bool, typer.Option("--once", help="One round: exit code 2 on alert.")] = False,
) -> None:
    """Look at backlog and failures as the watcher does."""
    home = Home.from_environment()
    if not once:
        raise MediactlError(
            "The watcher runs with the stack: 'mediactl logs watcher -f' follows it, "
            "'mediactl watch --once' makes one round now."
        )
    raise typer.Exit(_watcher(home, "--once").returncode)


def orphans(
    remove: Annotated[bool, typer.Option("--remove", help="Remove the objects found.")] = False,
    min_age: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="What is younger may be on its way.")
    ] = 3600,
) -> None:
    """List objects that nothing refers to, and assets whose files are gone; exit code 2 if any."""
    home = Home.from_environment()
    options = ["orphans", "--min-age", str(min_age), *(["--remove"] if remove else [])]
    found = _watcher(home, *options, capture=True)
    rows = json.loads(found.stdout)
    if rows:
        wide_console().print(_orphan_table(rows))
    size = sum(row["size"] for row in rows)
    sys.stdout.write(f"{len(rows)} found, {size:,} bytes{', removed' if remove else ''}.\n")
    raise typer.Exit(found.returncode)


def _orphan_table(rows: list[dict[str, Any]]) -> Table:
    table = Table("kind", "size", "key", "why", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row["kind"], f"{row['size']:,}", row["key"], row["why"])
    return table


def _watcher(home: Home, *options: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
    environment = service_environment("watcher", 0, surroundings(home))
    environment["LOG_FORMAT"] = "auto"
    return subprocess.run(
        [sys.executable, "-P", "-m", "watcher", *options],
        env=environment,
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )


def surroundings(home: Home) -> Surroundings:
    """Return what services find around them in the stack of *home*; raises MediactlError."""
    variables = read_variables(home)
    endpoints = endpoints_from_environment(variables)
    if endpoints is None:
        raise MediactlError("The stack has published no endpoints: run './mediactl up' again.")
    return Surroundings(
        endpoints=endpoints,
        credentials=stack_credentials(State(home.state_file), os.environ),
        topic_prefix="",
        scratch=home.data / "scratch",
        environ=os.environ,
    )
