"""
The plan: which tasks give one source what its profile wants of it. Pure.

Each kind of output has a module in ``ingest.outputs`` that plans its tasks, and a line here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ingest.outputs import animation, audio, pictures, video
from ingest.outputs.source import Planner, Source
from media_contracts import (
    AnimationOutput,
    AudioOutput,
    PictureOutput,
    PreviewOutput,
    Profile,
    ResponsiveOutput,
    VideoOutput,
)
from media_contracts.errors import ErrorCode
from media_contracts.profiles import Output
from media_records.tasks import NewTask, Pool
from media_runtime.errors import PermanentError

PLANNERS: Mapping[type[Output] | tuple[type[Output], ...], Planner] = {
    (VideoOutput, PreviewOutput): video.plan,
    AudioOutput: audio.plan,
    (PictureOutput, ResponsiveOutput): pictures.plan,
    AnimationOutput: animation.plan,
}
"""Who plans the outputs of which types."""
# Fetching as much a second time, for the thumbnailer, takes as long as making what is played first.
_LARGE_BYTES = 64_000_000


def plan(profile: Profile, source: Source) -> tuple[NewTask, ...]:
    """
    Return the tasks that make of *source* what *profile* wants, as far as it fits.

    Raises PermanentError where two of them would have one name: the second would never be made.
    """
    tasks = tuple(
        task
        for types, planner in PLANNERS.items()
        for task in planner([one for one in profile.outputs if isinstance(one, types)], source)
    )
    if len({task.name for task in tasks}) < len(tasks):
        raise PermanentError(
            ErrorCode.INVALID_PROFILE, name=profile.name, version=profile.version,
            detail=f"tasks of one name in {sorted(task.name for task in tasks)}",
        )  # fmt: skip
    return _beginning_first(tasks) if source.size >= _LARGE_BYTES else tasks


def plan_something(profile: Profile, source: Source) -> tuple[NewTask, ...]:
    """Return what plan() does; raises PermanentError also where that is nothing."""
    tasks = plan(profile, source)
    if not tasks:
        raise PermanentError(ErrorCode.NOTHING_WANTED, name=profile.name, kind=source.kind)
    return tasks


def _beginning_first(tasks: Sequence[NewTask]) -> tuple[NewTask, ...]:
    """Return the tasks with pictures that leave the machine to the beginning of their film."""
    first = video.beginning(tasks)
    if first is None:
        return tuple(tasks)
    return tuple(
        replace(task, needs=(*task.needs, first.name)) if task.pool == Pool.PICTURES else task
        for task in tasks
    )
