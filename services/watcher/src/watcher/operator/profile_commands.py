"""
The commands for profiles: list, show, set, rm.

Invariant: what is published has the form of the contract, and never changes: set and rm decide
what uploads get that are signed from then on.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import typer
from media_contracts.profiles import (
    DEFAULT,
    MAX_PROFILE_BYTES,
    NAME_PATTERN,
    Profile,
    ProfileError,
    read_profile,
    stored_profile,
)
from media_records import profiles
from media_records.companies import quota_of
from media_records.files import image_of
from media_records.prices import Price, prices_of
from media_records.profiles import NoSuchProfileError, TooManyProfilesError
from media_records.tables import ProfileVersion
from media_runtime.telemetry.terminal import (
    Json,
    UsageError,
    Yes,
    ask,
    duration,
    plain,
    print_json,
    printable,
    show,
)
from watcher.operator.running import connected, open_operator, run
from watcher.settings import WatcherSettings

app = typer.Typer(help="Profiles: what is made of a company's uploads.", no_args_is_help=True)


def named(text: str) -> str:
    """Return a name that a profile may have; raises UsageError."""
    if not re.fullmatch(NAME_PATTERN, text):
        raise UsageError(f"No profile can be named {printable(text)}.")
    return text


Company = Annotated[UUID, typer.Option(metavar="UUID", help="Whose profile it is.")]
Whose = Annotated[
    UUID | None, typer.Option("--company", metavar="UUID", help="Without it: the built-in one.")
]
Version = Annotated[int | None, typer.Option("--version", min=1, help="Default: the newest.")]
Name = Annotated[str, typer.Argument(metavar="NAME", parser=named)]


def _built_in(name: str, version: int | None) -> Profile:
    if name != DEFAULT.name or version not in {None, DEFAULT.version}:
        raise UsageError("Only the built-in profile is everybody's: name a company.")
    return DEFAULT


_BUILT_IN = "Ingest's settings say how large the outputs of the built-in profile are."


@app.command("list")
def list_profiles(
    company: Annotated[
        UUID | None, typer.Option(metavar="UUID", help="Only this company's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List profiles in their newest versions; the built-in one comes first."""

    async def read() -> Sequence[ProfileVersion]:
        async with connected(WatcherSettings()) as database:
            return await profiles.newest_profiles(database, company)

    offered = [one for one in run(read()) if one.body is not None]
    own = [
        {
            "name": one.name,
            "version": one.version,
            "company_id": one.company_id,
            "created_at": one.created_at,
            "outputs": _names(one),
        }
        for one in offered
    ]
    built_in = {
        "name": DEFAULT.name,
        "version": DEFAULT.version,
        "company_id": None,
        "created_at": None,
        "outputs": [output.name for output in DEFAULT.outputs],
    }
    columns = {
        "name": "name",
        "version": "version",
        "company": lambda row: row["company_id"] or "all, built in",
        "since": "created_at",
        "outputs": lambda row: ", ".join(row["outputs"] or ["cannot be used"]),
    }
    show(plain([built_in, *own]), columns, as_json)


@app.command("show")
def show_profile(
    name: Name, company: Whose = None, version: Version = None, as_json: Json = False
) -> None:
    """Show a profile as JSON, in a form that set takes."""
    if company is None:
        found = _built_in(name, version)
        if not as_json:
            sys.stderr.write(f"{_BUILT_IN}\n")
    else:
        found = run(_find(company, name, version))
    print_json(found.model_dump(mode="json", by_alias=True))


@app.command("price")
def price_profile(
    name: Name,
    company: Whose = None,
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Show what a minute of what was made by a profile took on the CPU, and in storage."""

    async def read() -> tuple[int, Sequence[Price]]:
        wanted = await _find(company, name, version) if company else _built_in(name, version)
        async with connected(WatcherSettings()) as database:
            return wanted.version, await prices_of(database, company, name, wanted.version)

    newest, found = run(read())
    rows = [
        {
            "kind": one.kind,
            "assets": one.assets,
            "seconds": one.seconds,
            "output": output,
            "cpu_seconds_a_minute": round(_MINUTE * seconds / one.seconds, 3),
            "bytes_a_minute": round(_MINUTE * one.bytes / one.seconds) if output == _ALL else None,
        }
        for one in found
        for output, seconds in [*one.cpu_seconds.items(), (_ALL, sum(one.cpu_seconds.values()))]
    ]
    if not rows and not as_json:
        sys.stdout.write(f"Nothing has been made by {name}, version {newest}, yet.\n")
        return
    show(plain(rows), _PRICE_COLUMNS, as_json)


_MINUTE, _MEGABYTE, _ALL = 60, 1_000_000, "all"
_PRICE_COLUMNS: dict[str, Any] = {
    "kind": "kind",
    "assets": "assets",
    "length": lambda row: duration(row["seconds"]),
    "output": "output",
    "CPU s a minute": lambda row: f"{row['cpu_seconds_a_minute']:.2f}",
    "MB a minute": lambda row: (
        "" if row["bytes_a_minute"] is None else f"{row['bytes_a_minute'] / _MEGABYTE:.2f}"
    ),
}


@app.command("set")
def set_profile(
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(metavar="FILE.json", help="Or - for standard input.")
    ],
    company: Company,
    as_json: Json = False,
) -> None:
    """Publish the next version of the profile that a file describes."""
    try:
        wanted = read_profile(file.read(MAX_PROFILE_BYTES + 1))
    except ProfileError as error:
        raise UsageError(f"{printable(file.name)} is no profile. {printable(error)}") from error
    published, is_known = run(_publish(company, wanted))
    if not is_known:
        sys.stderr.write(f"Company {company} has no bucket yet: is the id right?\n")
    if as_json:
        print_json({"name": published.name, "version": published.version})
        return
    sys.stdout.write(f"{published.name}, version {published.version}.\n")


@app.command("rm")
def remove_profile(name: Name, company: Company, yes: Yes = False, as_json: Json = False) -> None:
    """Offer a profile no longer; assets that were signed with it keep it."""
    ask(f"Offer profile {name} of company {company} to no upload from now on?", yes)
    run(_withdraw(company, name))
    if as_json:
        print_json({"name": name, "offered": False})
        return
    instead = " The built-in one is in its place." if name == DEFAULT.name else ""
    sys.stdout.write(f"{name} is no longer offered.{instead}\n")


async def _find(company: UUID, name: str, version: int | None) -> Profile:
    async with connected(WatcherSettings()) as database:
        if version is None:
            found = await profiles.newest_profile(database, company, name)
        else:
            found = await profiles.version_of_profile(database, company, name, version)
    if found is None or found.body is None:
        wanted = name if version is None else f"{name}, version {version}"
        raise UsageError(f"Company {company} has no profile {wanted} of its own.")
    try:
        return stored_profile(found.name, found.version, found.body)
    except ProfileError as error:
        raise UsageError(f"It cannot be used any more. {printable(error)}") from error


async def _publish(company: UUID, wanted: Profile) -> tuple[Profile, bool]:
    """Publish, and return what is published and whether the company has a bucket."""
    try:
        async with open_operator(WatcherSettings()) as work, work.begin() as tx:
            known = await quota_of(tx, company) is not None
            for asset_id in wanted.watermarks:
                if await image_of(tx, company, asset_id) is None:
                    raise UsageError(f"Its watermark {asset_id} is no image that is ready.")
            return await profiles.publish(tx, company, wanted), known
    except TooManyProfilesError as error:
        raise UsageError(str(error)) from error


async def _withdraw(company: UUID, name: str) -> None:
    try:
        async with open_operator(WatcherSettings()) as work, work.begin() as tx:
            await profiles.withdraw(tx, company, name)
    except NoSuchProfileError as error:
        raise UsageError(str(error)) from error


def _names(found: ProfileVersion) -> list[str] | None:
    """Return the names of its outputs; None where this program cannot use it."""
    try:
        outputs = stored_profile(found.name, found.version, found.body or "").outputs
    except ProfileError:
        return None
    return [output.name for output in outputs]
