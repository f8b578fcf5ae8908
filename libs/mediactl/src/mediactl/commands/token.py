"""The command that mints bearer tokens."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from mediactl.devstack.home import Home
from mediactl.devstack.published import read_dotenv
from mediactl.devstack.state import State
from mediactl.tokens import DEFAULT_PERMISSIONS, local_token, parse_ttl


def token(
    company: Annotated[str, typer.Option(metavar="UUID", help="The company it speaks for.")],
    permission: Annotated[
        list[str] | None,
        typer.Option(help=f"Repeatable. Default: {' and '.join(DEFAULT_PERMISSIONS)}."),
    ] = None,
    ttl: Annotated[str, typer.Option(metavar="SECONDS", help="How long it is valid.")] = "3600",
    subject: Annotated[str, typer.Option(help="Who it speaks of.")] = "mediactl",
) -> None:
    """Print a bearer token for local use, and nothing else."""
    home = Home.from_environment()
    state = State(home.state_file)
    # A stack of mediactl's own that is up comes before one that compose runs by hand.
    by_hand = {} if state.provider else read_dotenv(home)
    minted = local_token(
        state,
        {**by_hand, **os.environ},
        company=company,
        permissions=permission or DEFAULT_PERMISSIONS,
        ttl_seconds=parse_ttl(ttl),
        subject=subject,
    )
    sys.stdout.write(f"{minted}\n")
