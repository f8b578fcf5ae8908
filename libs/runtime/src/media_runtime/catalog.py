"""
The services, as services.toml declares them.

Invariant: what is said of a service elsewhere derives from its entry; one that is misspelt is
refused when this is imported.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

PROVISIONER = "provisioner"
"""The object store's user who makes buckets: a second login of the services that need it."""
METRICS = "metrics"
"""The object store's user as which Prometheus reads its metrics."""
SUBSCRIBER = "subscriber"
"""The broker's user as whom other teams read outcomes."""

Need = Literal["kafka", "media", "links", "edges", "event_ids", "provisioner"]
"""
What a service is given besides a database role and storage rights: a login of the broker; media
programs, their sandbox and scratch space; the keys that sign links to files; the edges' addresses;
the key that seals event ids; the login that makes buckets.
"""


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PublicPort(_Declared):
    """The port of this machine on which clients' requests come in: who chooses it, and which."""

    variable: str
    port: int


class Limits(_Declared):
    """What a container may use."""

    memory: str
    cpus: str | None = None


class DatabaseRole(_Declared):
    """The login role media_NAME; what it may do with tables is in schema.sql."""

    groups: tuple[str, ...] = ()
    inherit: bool = True
    statement_timeout: str = "30s"
    """Clients of ours give up after as long."""


class StorageRights(_Declared):
    """
    What a user of the object store may do, by S3's names for actions.

    ``objects`` are told by the part of their key after the company.
    """

    objects: Mapping[str, tuple[str, ...]] = {}
    buckets: tuple[str, ...] = ()
    administration: tuple[str, ...] = ()


class Service(_Declared):
    """One service. Clients reach what is ``public``, and show it tokens; what is not can scale."""

    limits: Limits
    needs: frozenset[Need] = Field(default=frozenset())
    public: PublicPort | None = None
    database: DatabaseRole | None = None
    storage: StorageRights | None = None

    @property
    def scrape_port(self) -> int:
        """The port of its container with /metrics: not the one that clients reach."""
        return 9100 if self.public else 8080


def _read() -> dict[str, Service]:
    text = files(__package__).joinpath("services.toml").read_text()
    return TypeAdapter(dict[str, Service]).validate_python(tomllib.loads(text))


SERVICES: Mapping[str, Service] = _read()
DATABASE_USERS = tuple(name for name, one in SERVICES.items() if one.database)
STORAGE_USERS = (
    *(name for name, one in SERVICES.items() if one.storage),
    *("edge", PROVISIONER, METRICS),
)
KAFKA_USERS = (
    *(name for name, one in SERVICES.items() if "kafka" in one.needs),
    *("minio", SUBSCRIBER),
)


def needing(need: Need) -> tuple[str, ...]:
    """Return the services that need it."""
    return tuple(name for name, one in SERVICES.items() if need in one.needs)
