"""The command that mints bearer tokens."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from mediactl.home import Home
from mediactl.state import State
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
    minted = local_token(
        State(Home.from_environment().state_file),
        os.environ,
        company=company,
        permissions=permission or DEFAULT_PERMISSIONS,
        ttl_seconds=parse_ttl(ttl),
        subject=subject,
    )
    sys.stdout.write(f"{minted}\n")
