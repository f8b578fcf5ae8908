"""The commands of ``./mediactl``: those of ``mediactl.commands``, and the watcher's own."""

from __future__ import annotations

import typer
from mediactl.commands import (
    agents,
    batches,
    development,
    events,
    inspection,
    lifecycle,
    media,
    supply,
    token,
    webhooks,
)
from mediactl.watcher_commands import WithOperators

app = typer.Typer(
    cls=WithOperators,
    help="Starts, stops and shows the media pipeline on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    *(lifecycle.up, lifecycle.down, inspection.status, inspection.logs, inspection.env),
    inspection.doctor,
    *(lifecycle.start, lifecycle.stop, lifecycle.restart, lifecycle.scale),
    *(inspection.settings, token.token),
    *(media.upload, media.uploads, media.play, media.demo, events.events),
    agents.mcp,
):
    app.command()(command)
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(batches.app, name="batch")
# What follows belongs to pytest and its kin, options included.
for command in (development.test, development.bench, development.chaos):
    app.command(context_settings={"ignore_unknown_options": True})(command)
for command in (
    development.generate,
    development.generate_sdk,
    development.lock,
    supply.audit,
    supply.licences,
    supply.sbom,
):
    app.command()(command)
