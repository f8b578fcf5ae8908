"""The command that gives agents the running stack as tools."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from mediactl.commands.media import DEMO_COMPANY
from mediactl.devstack.home import Home
from mediactl.devstack.published import read_variables
from mediactl.devstack.state import State
from mediactl.tokens import local_token, parse_ttl

_WEEK = str(7 * 24 * 3600)


def mcp(
    company: Annotated[
        str, typer.Option(metavar="UUID", help="Whose assets; by default the demo's.")
    ] = DEMO_COMPANY,
    ttl: Annotated[
        str, typer.Option(metavar="SECONDS", help="How long its token is valid.")
    ] = _WEEK,
) -> None:
    """Serve a company's assets to an agent: MCP over standard input and output."""
    home = Home.from_environment()
    variables = read_variables(home)
    token = local_token(
        State(home.state_file),
        {**variables, **os.environ},
        company=company,
        ttl_seconds=parse_ttl(ttl),
        subject="mcp",
    )
    sys.stdout.flush()
    command = [sys.executable, "-P", "-m", "media_pipeline_mcp"]
    # In place of this process: the client owns its standard input, and ends it by its id.
    os.execve(  # noqa: S606 - by path, no shell
        sys.executable, command, {**os.environ, "MEDIA_URL": variables["MEDIA_URL"], "TOKEN": token}
    )
