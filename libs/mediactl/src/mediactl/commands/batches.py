"""The commands of batches: many files that are sent, followed, cancelled and retried as one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer
from mediactl.client import RefusedError
from mediactl.devstack.home import Home
from mediactl.devstack.published import read_variables
from mediactl.devstack.state import State
from mediactl.errors import MediactlError, UsageError
from mediactl.tokens import local_token
from rich.console import Console
from rich.table import Table

from media_pipeline import MediaError, MediaPipeline
from media_pipeline.api.api.batches import list_batches
from media_pipeline.api.models import BatchPage, BatchView
from media_pipeline.api.types import UNSET

Company = Annotated[str, typer.Option(metavar="UUID", help="Whose files they are.")]
Batch = Annotated[str, typer.Argument(metavar="ID", help="The batch's id.")]
Metadata = Annotated[
    list[str] | None,
    typer.Option(metavar="WORD=TEXT", help="What to find it by. Repeatable."),
]
_COUNTS = ("pending", "processing", "ready", "failed", "expired", "cancelled", "deleted")

app = typer.Typer(help="Batches: up to 1,000 files that belong together.", no_args_is_help=True)


@app.command()
def send(
    files: Annotated[list[Path], typer.Argument(help="Videos, images and sound.")],
    company: Company,
    metadata: Metadata = None,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="0 does not wait.")] = 900,
) -> None:
    """Upload files as one batch and wait until it is decided; again it goes on with it."""
    with _media(company) as media:
        batch_id = media.upload_batch(files, metadata=_words(metadata))
        batch = media.wait_batch(batch_id, seconds=wait) if wait else media.batch(batch_id)
    _print([batch])
    raise typer.Exit(0 if not wait or batch.counts.ready == batch.uploads else 1)


@app.command("list")
def list_all(company: Company, metadata: Metadata = None) -> None:
    """List the last 100 batches, newest first."""
    wanted = [f"{word}:{text}" for word, text in _words(metadata).items()]
    with _media(company) as media:
        answer = list_batches.sync(client=media.api, limit=100, metadata=wanted or UNSET)
    if not isinstance(answer, BatchPage):
        raise RefusedError(answer.detail if answer else "The API did not answer.")
    _print(answer.items)


@app.command()
def show(batch: Batch, company: Company) -> None:
    """Show how far a batch is."""
    with _media(company) as media:
        _print([media.batch(batch)])


@app.command()
def cancel(batch: Batch, company: Company) -> None:
    """Cancel what of a batch is not decided."""
    with _media(company) as media:
        _print([media.cancel_batch(batch)])


@app.command()
def retry(batch: Batch, company: Company) -> None:
    """Process what of a batch has failed again."""
    with _media(company) as media:
        _print([media.retry_batch(batch)])


@contextmanager
def _media(company: str) -> Iterator[MediaPipeline]:
    home = Home.from_environment()
    variables = read_variables(home)
    token = local_token(State(home.state_file), {**variables, **os.environ}, company=company)
    with MediaPipeline(variables["MEDIA_URL"], token) as media:
        try:
            yield media
        except MediaError as error:
            raise RefusedError(f"{error} ({error.code})") from error
        except TimeoutError as error:
            raise RefusedError(str(error)) from error
        except httpx.TransportError as error:
            raise MediactlError("The pipeline does not answer: look at 'status'.") from error
        except OSError as error:
            raise UsageError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _words(metadata: Sequence[str] | None) -> dict[str, str]:
    given = [one.partition("=") for one in metadata or ()]
    if not all(sign for _, sign, _ in given):
        raise UsageError("--metadata takes a word and a text, as --metadata shoot=harbour.")
    return {word: text for word, _, text in given}


def _print(found: Sequence[BatchView]) -> None:
    table = Table("batch", "uploads", *_COUNTS, "decided", "metadata", box=None)
    for one in found:
        counts = one.counts.to_dict()
        words = ", ".join(f"{word}={text}" for word, text in one.metadata.to_dict().items())
        numbers = (str(counts[name]) for name in _COUNTS)
        decided = str(one.decided_at or "no")
        table.add_row(str(one.batch_id), str(one.uploads), *numbers, decided, words)
    Console(width=None if sys.stdout.isatty() else 200).print(
        table if found else "There is no such batch."
    )
