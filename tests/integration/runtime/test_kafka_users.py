"""Each user of the broker may do its own work and nothing else; nobody gets in without a login."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
)
from media_contracts import TOPICS
from media_runtime.catalog import KAFKA_USERS
from media_runtime.kafka.admin import Acl, KafkaAdmin, Operation, Pattern, Resource
from media_runtime.kafka.users import make_users, user_name
from media_runtime.settings import KafkaSettings

from support.eventually import eventually

# Written out, as what somebody may do is to be decided twice.
WRITES = {
    "sign_api": {"media_ingest", "media_status"},
    "ingest": {
        *("media_thumbnail", "media_status", "media_processed"),
        *("media_ingest_dlq", "media_thumbnailed_dlq"),
    },
    "thumbnailer": {"media_thumbnailed", "media_thumbnail_dlq"},
    "notifier": {"media_status", "media_status_dlq"},
    # It sends dead letters again.
    "watcher": {topic.name for topic in TOPICS},
    "minio": {"media_ingest"},
    "subscriber": set(),
}
READS = {
    "sign_api": set(),
    "ingest": {"media_ingest", "media_thumbnailed"},
    "thumbnailer": {"media_thumbnail"},
    "notifier": {"media_status", "media_processed"},
    "watcher": {"media_status", "media_processed", *(topic.dlq for topic in TOPICS)},
    "minio": set(),
    "subscriber": {"media_processed"},
}
JOINS = {
    "sign_api": set(),
    "ingest": {"ingest", "ingest_results"},
    "thumbnailer": {"thumbnailer"},
    "notifier": {"notifier_links"},
    "watcher": set(),
    "minio": set(),
    "subscriber": {"subscriber.a-team"},
}
GROUPS = {
    *("ingest", "ingest_results", "thumbnailer", "notifier_links"),
    *("subscriber.a-team", "a-team"),
}
READY = Path(__file__).parents[3] / "deploy/kafka/ready.sh"
NAMES = [name for topic in TOPICS for name in (topic.name, topic.dlq)]


@pytest.fixture
async def users(kafka_settings):
    """Return the settings of each user, of a stack with one record in every topic."""
    passwords = {user: f"password of {user}" for user in KAFKA_USERS}
    assert await make_users(kafka_settings, passwords), "the broker checks no rights"
    async with AIOKafkaProducer(**kafka_settings.client_arguments()) as producer:
        for name in NAMES:
            await producer.send_and_wait(
                kafka_settings.kafka_topic_prefix + name, b"x", partition=0
            )
    prefix = kafka_settings.kafka_topic_prefix
    return {
        user: kafka_settings.with_login(user_name(prefix, user), password)
        for user, password in passwords.items()
    }


async def may_write(settings: KafkaSettings, topic: str) -> bool:
    producer = AIOKafkaProducer(**settings.client_arguments(), acks="all", enable_idempotence=True)
    try:
        await producer.start()
        await producer.send_and_wait(topic, b"x", partition=0)
    except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
        return False
    finally:
        await producer.stop()
    return True


async def may_read(settings: KafkaSettings, topic: str) -> bool:
    async with AIOKafkaConsumer(**settings.client_arguments()) as consumer:
        # A client asks for ever about a topic of which it may not even hear.
        if topic not in await consumer.topics():
            return False
        part = TopicPartition(topic, 0)
        consumer.assign([part])
        consumer.seek(part, 0)
        try:
            async with asyncio.timeout(20):
                await consumer.getone()
        except TopicAuthorizationFailedError:
            return False
    return True


async def may_join(settings: KafkaSettings, group: str) -> bool:
    part = TopicPartition("nobody's", 0)
    consumer = AIOKafkaConsumer(
        **settings.client_arguments(), group_id=group, enable_auto_commit=False
    )
    try:
        await consumer.start()
        consumer.assign([part])
        await consumer.commit({part: 0})
    except GroupAuthorizationFailedError:
        return False
    except TopicAuthorizationFailedError:
        return True  # the group was asked for first
    finally:
        await consumer.stop()
    raise AssertionError("a topic is nobody's")


async def allowed(
    users: Mapping[str, KafkaSettings],
    may: Callable[[KafkaSettings, str], Awaitable[bool]],
    names: Collection[str],
) -> dict[str, set[str]]:
    """Return which of *names* each user may use."""
    prefix = users["ingest"].kafka_topic_prefix

    async def by(user: str) -> set[str]:
        return {name for name in names if await may(users[user], prefix + name)}

    found = await asyncio.gather(*map(by, users))
    return dict(zip(users, found, strict=True))


async def test_a_user_writes_its_own_topics_alone(users):
    assert await allowed(users, may_write, NAMES) == WRITES


async def test_a_user_reads_its_own_topics_alone(users):
    assert await allowed(users, may_read, NAMES) == READS


async def test_a_user_joins_its_own_groups_alone(users):
    assert await allowed(users, may_join, GROUPS) == JOINS


async def test_another_stacks_topics_are_nobodys(users, kafka_settings):
    prefix = kafka_settings.kafka_topic_prefix
    other = kafka_settings.model_copy(update={"kafka_topic_prefix": f"{prefix}2_"})
    await make_users(other, {"ingest": "another password"})
    ingest = other.with_login(user_name(other.kafka_topic_prefix, "ingest"), "another password")
    assert not await may_write(ingest, f"{prefix}media_processed")
    assert not await may_read(ingest, f"{prefix}media_ingest")


async def test_nobody_gets_in_without_a_login(users):
    anonymous = users["ingest"].model_copy(update={"kafka_security_protocol": "PLAINTEXT"})
    forged = users["ingest"].with_login(users["ingest"].kafka_sasl_username, "wrong")
    by_password = users["ingest"].model_copy(update={"kafka_sasl_mechanism": "PLAIN"})
    for stranger in (anonymous, forged, by_password):
        consumer = AIOKafkaConsumer(**stranger.client_arguments())
        with pytest.raises(KafkaConnectionError):
            await consumer.start()
        await consumer.stop()


async def test_rights_are_brought_up_to_date(users, kafka_settings):
    prefix = kafka_settings.kafka_topic_prefix
    principal = f"User:{user_name(prefix, 'ingest')}"

    def own(acls):
        return {acl for acl in acls if acl.principal == principal}

    async with KafkaAdmin.connect(kafka_settings) as admin:
        before = own(await admin.acls())
        lost = next(iter(before))
        surplus = Acl(
            Resource.TOPIC, f"{prefix}media_status", Pattern.LITERAL, principal, Operation.READ
        )
        await admin.remove_acls([lost])
        await admin.add_acls([surplus])

        async def has_changed() -> bool:
            return own(await admin.acls()) == before - {lost} | {surplus}

        assert await eventually(has_changed)
        await make_users(kafka_settings, {"ingest": "a new password"})

        async def is_as_before() -> bool:
            return own(await admin.acls()) == before

        assert await eventually(is_as_before)
    assert await may_write(users["ingest"].with_login(f"{prefix}ingest", "a new password"),
                           f"{prefix}media_processed")  # fmt: skip


async def test_the_health_check_of_the_container_logs_in(kafka_settings):
    host, _, port = kafka_settings.kafka_bootstrap_servers.rpartition(":")
    password = kafka_settings.kafka_sasl_password.get_secret_value()

    def code(password: str, port: str) -> int:
        environment = {"PATH": os.environ["PATH"], "ADMIN_PASSWORD": password}
        command = ["bash", str(READY), host, port]
        return subprocess.run(
            command, env=environment, stderr=subprocess.DEVNULL, check=False
        ).returncode

    assert code(password, port) == 0
    assert code("wrong", port) != 0
    assert code(password, "9") != 0
