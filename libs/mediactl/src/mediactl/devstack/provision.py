"""
The one step between infrastructure and services: database, storage users, topics and their users.

Repeating it changes nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import partial

from mediactl.devstack.parallel import run_all
from mediactl.devstack.services import StackContext, inherited, makes_kafka_users
from mediactl.errors import MediactlError
from mediactl.progress import Progress, step

_TIMEOUT_SECONDS = 180
_LINES_SHOWN = 12


def provision(around: StackContext, progress: Progress, *, first_login: str | None = None) -> None:
    """
    Bring the database, the storage users and the topics up to date; raises MediactlError.

    *first_login* is the mechanism by which Kafka's administrator comes in before there are users.
    """
    topics = partial(_create_topics, first_login=first_login)
    steps = (_migrate, _make_storage_users, topics)
    run_all([partial(one, around, progress) for one in steps])


def _migrate(around: StackContext, progress: Progress) -> None:
    env = {
        **inherited(around.environ),
        **around.credentials.password_variables(),
        "DATABASE_URL": around.endpoints.database_url,
    }
    with step(progress, "migrations", "bringing the database up to date", done="done"):
        _run("media_records.migrate", env)


def _make_storage_users(around: StackContext, progress: Progress) -> None:
    env = {
        **inherited(around.environ),
        **around.credentials.storage_variables(),
        **({"METRICS_TOKEN_PATH": str(around.metrics_token)} if around.metrics_token else {}),
        "S3_REGION": around.environ.get("S3_REGION") or "us-east-1",
        **{k: v for k, v in around.endpoints.variables().items() if k.startswith("S3_")},
    }
    with step(progress, "storage users", "making what is missing", done="done"):
        _run("media_runtime.storage.users", env)


def _create_topics(
    around: StackContext, progress: Progress, *, first_login: str | None = None
) -> None:
    env = {
        **inherited(around.environ),
        "KAFKA_TOPIC_PREFIX": around.topic_prefix,
        **{k: v for k, v in around.endpoints.variables().items() if k.startswith("KAFKA_")},
        **({"KAFKA_SASL_MECHANISM": first_login} if first_login else {}),
        **(around.credentials.kafka_variables() if makes_kafka_users(around) else {}),
    }
    with step(progress, "topics", "creating what is missing", done="done"):
        _run("media_runtime.kafka.topics", env)


def _run(module: str, env: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module],
            env=dict(env),
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise MediactlError(
            f"'python -m {module}' took longer than {_TIMEOUT_SECONDS} seconds: check that the "
            "servers answer."
        ) from error
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()[-_LINES_SHOWN:]
        shown = "\n".join(f"  {line}" for line in lines)
        raise MediactlError(f"'python -m {module}' failed:\n{shown}")
