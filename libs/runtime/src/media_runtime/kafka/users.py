"""
The broker's users and what each may do; ``media_runtime.kafka.topics`` makes them before services.

Each service logs in as a user of its own, which may write the topics that the contracts say it
produces and read those that it consumes. The object store may tell of uploads, and other teams
read outcomes, as ``subscriber``. All names begin with the topic prefix, so stacks that share a
broker share no user. Repeating it changes nothing but a password that is another one by now,
and takes away what a user may no longer do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from media_contracts import MEDIA_PROCESSED, MEDIA_STATUS, TOPICS, Topic
from media_runtime.catalog import SUBSCRIBER
from media_runtime.kafka.admin import (
    Acl,
    KafkaAdmin,
    KafkaAdminError,
    Operation,
    Pattern,
    Resource,
)
from media_runtime.settings import KafkaSettings

SUBSCRIBER_GROUPS = "subscriber."
"""What the consumer groups of other teams begin with, after the stack's prefix."""

_OPERATOR = "watcher"
"""Looks at the offsets of all, files dead letters, and sends them again to any topic."""
_READ_BESIDES: Mapping[str, Sequence[Topic]] = {
    "watcher": (MEDIA_STATUS, MEDIA_PROCESSED),  # the history of one asset, for operators
    SUBSCRIBER: (MEDIA_PROCESSED,),
}
_LOGIN_DELAYS = (0.3, *(0.2 for _ in range(50)))


def user_name(prefix: str, user: str) -> str:
    """Return the name with which *user* logs in, in the stack with this topic prefix."""
    return f"{prefix}{user}"


def rights_of(user: str, prefix: str = "") -> set[Acl]:
    """Return all that *user* may do; what is not named is refused."""
    found = set()
    for topic in TOPICS:
        name, dead_letters = prefix + topic.name, prefix + topic.dlq
        if user in topic.producers:
            found.add((Resource.TOPIC, name, Operation.WRITE))
        if user in topic.consumers:
            found.add((Resource.TOPIC, name, Operation.READ))
            if topic.group is not None:
                found.add((Resource.GROUP, prefix + topic.group, Operation.READ))
                found.add((Resource.TOPIC, dead_letters, Operation.WRITE))
        if user == _OPERATOR:
            found.add((Resource.TOPIC, name, Operation.DESCRIBE))
            found.add((Resource.TOPIC, name, Operation.WRITE))
            found.add((Resource.TOPIC, dead_letters, Operation.READ))
            if topic.group is not None:
                found.add((Resource.GROUP, prefix + topic.group, Operation.DESCRIBE))
    for topic in _READ_BESIDES.get(user, ()):
        found.add((Resource.TOPIC, prefix + topic.name, Operation.READ))
    principal = f"User:{user_name(prefix, user)}"
    acls = {Acl(kind, name, Pattern.LITERAL, principal, what) for kind, name, what in found}
    if user == SUBSCRIBER:
        groups = prefix + SUBSCRIBER_GROUPS
        acls.add(Acl(Resource.GROUP, groups, Pattern.PREFIXED, principal, Operation.READ))
    return acls


async def make_users(settings: KafkaSettings, passwords: Mapping[str, str]) -> bool:
    """
    Make the users of *passwords*, by their names in KAFKA_USERS, and return once each can log in.

    Returns whether the broker checks rights at all. Raises KafkaAdminError.
    """
    prefix = settings.kafka_topic_prefix
    async with KafkaAdmin.connect(settings) as admin:
        # Rights first: who can log in has them.
        is_checked = await _bring_up_to_date(admin, prefix, passwords)
        users = {user_name(prefix, user): password for user, password in passwords.items()}
        await admin.set_passwords({**users, **_administrator(settings)})
    logins = [_log_in(settings, user, password) for user, password in passwords.items()]
    await asyncio.gather(*logins)
    return is_checked


def _administrator(settings: KafkaSettings) -> dict[str, str]:
    # PLAIN, which sends the password itself, is for this step alone.
    if settings.kafka_sasl_mechanism != "PLAIN":
        return {}
    return {settings.kafka_sasl_username: settings.kafka_sasl_password.get_secret_value()}


async def _bring_up_to_date(admin: KafkaAdmin, prefix: str, users: Collection[str]) -> bool:
    there = await admin.acls()
    if there is None:
        return False
    wanted = {acl for user in users for acl in rights_of(user, prefix)}
    principals = {f"User:{user_name(prefix, user)}" for user in users}
    surplus = {acl for acl in there if acl.principal in principals} - wanted
    if wanted - there:
        await admin.add_acls(wanted - there)
    if surplus:
        await admin.remove_acls(surplus)
    return True


async def _log_in(settings: KafkaSettings, user: str, password: str) -> None:
    """Return once a broker takes the user's password; it hears of users a moment later."""
    client_settings = settings.with_login(user_name(settings.kafka_topic_prefix, user), password)
    for delay in _LOGIN_DELAYS:
        await asyncio.sleep(delay)
        if await _is_let_in(client_settings):
            return
    raise KafkaAdminError(f"Kafka does not let {user} in with its new password")


async def _is_let_in(settings: KafkaSettings) -> bool:
    client = AIOKafkaClient(**settings.client_arguments())
    try:
        await client.bootstrap()
    except KafkaError:
        return False
    finally:
        await client.close()
    return True
