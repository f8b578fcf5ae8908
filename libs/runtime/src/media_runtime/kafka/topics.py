"""
Creates topics and the broker's users, before services: ``python -m media_runtime.kafka.topics``.

Invariant: a topic that exists is left as it is; one with another partition count is an error,
because changing it would send records of one asset to two partitions.
"""

from __future__ import annotations

import asyncio
import sys

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code
from media_contracts import (
    DLQ_MAX_MESSAGE_BYTES,
    DLQ_PARTITIONS,
    DLQ_RETENTION_MS,
    TOPICS,
)
from media_runtime.catalog import KAFKA_USERS
from media_runtime.kafka import clients
from media_runtime.kafka.users import make_users, user_name
from media_runtime.settings import KafkaSettings, secrets_of

_NO_ERROR = 0
_LOOK_SECONDS = 0.1
_LOOKS = 300


class TopicError(RuntimeError):
    """A topic could not be created, or exists in another form."""


def wanted_topics(prefix: str = "", *, replication_factor: int = 1) -> list[NewTopic]:
    """Return every topic of the contracts and the dead-letter topic of each."""
    return [
        new_topic
        for topic in TOPICS
        for new_topic in (
            NewTopic(
                prefix + topic.name,
                topic.partitions,
                replication_factor,
                topic_configs={"retention.ms": str(topic.retention_ms)},
            ),
            NewTopic(
                prefix + topic.dlq,
                DLQ_PARTITIONS,
                replication_factor,
                topic_configs={
                    "retention.ms": str(DLQ_RETENTION_MS),
                    "max.message.bytes": str(DLQ_MAX_MESSAGE_BYTES),
                },
            ),
        )
    ]


async def create_topics(settings: KafkaSettings, *, replication_factor: int = 1) -> list[str]:
    """Create what is missing and return its names; raises TopicError."""
    wanted = wanted_topics(settings.kafka_topic_prefix, replication_factor=replication_factor)
    admin = AIOKafkaAdminClient(**settings.client_arguments())
    async with clients.started(admin):
        response = await admin.create_topics(wanted)
        created = _created(response.topic_errors)
        await _verify(admin, [topic.name for topic in wanted], settings.kafka_topic_prefix)
    return created


def _created(topic_errors: list[tuple[str, int, str | None]]) -> list[str]:
    created = []
    for name, code, *detail in topic_errors:
        if code == _NO_ERROR:
            created.append(name)
        elif for_code(code) is not TopicAlreadyExistsError:
            raise TopicError(f"cannot create topic {name}: {for_code(code).__name__} {detail}")
    return created


async def _verify(admin: AIOKafkaAdminClient, names: list[str], prefix: str) -> None:
    expected = {prefix + topic.name: topic.partitions for topic in TOPICS}
    unknown = names
    for _ in range(_LOOKS):
        described = await admin.describe_topics(names)
        counts = {one["topic"]: len(one["partitions"]) for one in described}
        for name, wanted in expected.items():
            if counts.get(name) not in {None, 0, wanted}:
                raise TopicError(
                    f"topic {name} has {counts[name]} partitions, not {wanted}; "
                    "records of one asset would lose their order"
                )
        # The controller answers before brokers have heard of it: who asks them next finds nothing.
        unknown = [name for name in names if not counts.get(name)]
        if not unknown:
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise TopicError(
        f"topic {unknown[0]} was created, and the broker that was asked knows nothing of it yet; "
        "see that all brokers are up, and run this again"
    )


async def _provision(settings: KafkaSettings) -> str:
    created = await create_topics(settings)
    told = f"topics: {len(created)} created\n"
    passwords = secrets_of(KAFKA_USERS, "KAFKA_PASSWORD", required=False)
    if not passwords:
        return told
    is_checked = await make_users(settings, passwords)
    names = ", ".join(user_name(settings.kafka_topic_prefix, user) for user in passwords)
    rights = "" if is_checked else "; this broker checks no rights"
    return f"{told}users: {names}{rights}\n"


def main() -> None:
    """Create the topics and users of the stack that the environment describes."""
    sys.stdout.write(asyncio.run(_provision(KafkaSettings())))


if __name__ == "__main__":
    main()
