"""The commands about what the system is made of: audit, licences, sbom."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from mediactl.devstack.home import Home
from mediactl.repository import supply
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def audit() -> None:
    """
    Look for known vulnerabilities in the locked packages; 1 if there are any.

    Asks api.osv.dev, or the OSV database that MEDIACTL_OSV_URL names. While that cannot be
    reached nothing is audited, which is said, and the exit code is 0.
    """
    url = os.environ.get("MEDIACTL_OSV_URL") or supply.OSV_URL
    found = supply.audit(Home.from_environment().root, today=datetime.now(UTC).date(), url=url)
    if found.unreachable:
        typer.echo(f"Not audited: {url} cannot be reached ({found.unreachable}).")
        return
    for one in found.vulnerabilities:
        fixed = f"fixed in {', '.join(one.fixed_in)}" if one.fixed_in else "not fixed yet"
        accepted = f"; accepted: {one.accepted}" if one.accepted else ""
        typer.echo(f"{one.package} {one.version}: {one.id}, {fixed}{accepted}")
    typer.echo(
        f"{found.packages} packages, {len(found.vulnerabilities)} known vulnerabilities;"
        f" {found.skipped} packages could not be looked up."
    )
    if not found.passes:
        raise typer.Exit(1)


def licences(as_json: AsJson = False) -> None:
    """List the licences of all packages; 1 if there is one that the project does not accept."""
    found = supply.licences(Home.from_environment().root)
    if as_json:
        json.dump([asdict(one) for one in found], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        table = Table("package", "version", "licence", "")
        for one in found:
            table.add_row(one.package, one.version, one.licence, "" if one.accepted else "refused")
        Console().print(table)
    if not all(one.accepted for one in found):
        raise typer.Exit(1)


def sbom(
    service: Annotated[str | None, typer.Option(help="Of one service alone.")] = None,
    output: Annotated[Path | None, typer.Option(help="A file; else standard output.")] = None,
) -> None:
    """Write the bill of materials of what is locked or pinned, as CycloneDX JSON."""
    document = supply.bill_of_materials(Home.from_environment().root, service)
    if output is None:
        sys.stdout.write(document)
    else:
        output.write_text(document)
