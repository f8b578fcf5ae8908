"""The notifier as processes of its own, on real Kafka and PostgreSQL."""

import os
import secrets
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from media_contracts import (
    MEDIA_PROCESSED,
    MEDIA_STATUS,
)
from media_records.migrate import migrate
from media_runtime.kafka.producer import Producer
from media_runtime.kafka.topics import wanted_topics
from media_runtime.settings import KafkaSettings

from integration.notifier.parts import EVENT_ID_SECRET, JWT_SECRET, Notifier, Wire
from support.eventually import eventually

# Roles belong to the whole server: other stacks on it must keep the passwords they have.
PASSWORDS = {
    f"media_{service}": os.environ.get(f"{service.upper()}_DB_PASSWORD", "pw")
    for service in ("sign_api", "ingest", "notifier", "watcher")
}


def _free_port() -> int:
    with socket.socket() as subscriber:
        subscriber.bind(("127.0.0.1", 0))
        return subscriber.getsockname()[1]


@pytest.fixture(scope="session")
async def database() -> str:
    """URL, with the notifier's role, of a migrated database of our own."""
    admin_url = os.environ["DATABASE_URL"]
    name = f"notifier_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        url = urlsplit(admin_url)._replace(path=f"/{name}")
        await migrate(url.geturl(), PASSWORDS)
        login = f"media_notifier:{PASSWORDS['media_notifier']}@{url.hostname}:{url.port or 5432}"
        yield url._replace(netloc=login).geturl()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@asynccontextmanager
async def _topics(prefix: str):
    admin = AIOKafkaAdminClient(**KafkaSettings().client_arguments())
    await admin.start()
    ours = tuple(prefix + topic.name for topic in (MEDIA_STATUS, MEDIA_PROCESSED))
    new = [one for one in wanted_topics(prefix) if one.name.startswith(ours)]
    try:
        await admin.create_topics(new)
        yield
        await admin.delete_topics([one.name for one in new])
    finally:
        await admin.close()


@pytest.fixture(scope="module")
async def wire():
    """Topics of this module's own, and a producer to them; each test is a company of its own."""
    prefix = f"n_{secrets.token_hex(4)}_"
    settings = KafkaSettings(
        kafka_bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"], kafka_topic_prefix=prefix
    )
    async with _topics(prefix), Producer.connect(settings, name="test") as producer:
        yield Wire(producer, prefix)


@pytest.fixture
def recreate_topics(wire):
    """Delete this module's topics and make them anew."""

    async def recreate() -> None:
        admin = AIOKafkaAdminClient(**KafkaSettings().client_arguments())
        await admin.start()
        names = [wire.prefix + topic.name for topic in (MEDIA_STATUS, MEDIA_PROCESSED)]
        try:
            await admin.delete_topics(names)

            async def gone() -> bool:
                return not set(names) & set(await admin.list_topics())

            await eventually(gone)
            new = [one for one in wanted_topics(wire.prefix) if one.name in names]
            await admin.create_topics(new)
        finally:
            await admin.close()

    return recreate


def _notifier(database: str, wire: Wire, folder: Path, **settings: object) -> Notifier:
    environment = {
        **os.environ,
        "DATABASE_URL": database,
        "KAFKA_TOPIC_PREFIX": wire.prefix,
        "JWT_SECRET": JWT_SECRET,
        "EVENT_ID_SECRET": EVENT_ID_SECRET,
        "HTTP_PORT": str(_free_port()),
        **{name.upper(): str(value) for name, value in settings.items()},
    }
    return Notifier(environment, folder / "notifier.log")


@pytest.fixture
async def make_notifier(database, wire, tmp_path_factory):
    """Start a notifier of the test's own, with these settings; all are killed at the end."""
    made: list[Notifier] = []

    async def make(**settings: object) -> Notifier:
        folder = tmp_path_factory.mktemp("notifier")
        made.append(_notifier(database, wire, folder, **settings))
        await made[-1].start()
        return made[-1]

    yield make
    for notifier in made:
        notifier.kill()


@pytest.fixture(scope="module")
async def notifier(database, wire, tmp_path_factory):
    """The notifier that the tests of a module share."""
    shared = _notifier(database, wire, tmp_path_factory.mktemp("notifier"))
    await shared.start()
    yield shared
    shared.kill()


@pytest.fixture
def company() -> UUID:
    return uuid4()
