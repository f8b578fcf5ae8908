"""
The commands of operators: ``python -m watcher COMMAND``, and ``mediactl``, which mounts them.

Each works with the settings of the environment, prints tables, or JSON where that is asked for,
and ends with 0, or with 2 where something needs attention.
"""

from __future__ import annotations

import typer
from watcher.operator import (
    cleanup_commands,
    commands,
    dead_letter_commands,
    profile_commands,
    rerun_commands,
)

app = typer.Typer(
    help="Watches the pipeline, and shows and does what its operators ask.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (*commands.COMMANDS, *cleanup_commands.COMMANDS):
    app.command()(command)
app.command()(rerun_commands.rerun)
app.command("reruns")(rerun_commands.show_reruns)
app.add_typer(dead_letter_commands.app, name="dlq")
app.add_typer(profile_commands.app, name="profile")
