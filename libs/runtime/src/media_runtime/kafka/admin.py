"""
Users and access control lists (ACLs) of a Kafka cluster, through its own admin protocol.

aiokafka brings the connection and the login; the requests that it lacks are declared here, in
the one version that brokers from 2.7 to 4.x understand.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import Any, Self

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import (
    CreateAclsRequest_v1,
    DeleteAclsRequest_v1,
    DescribeAclsRequest_v1,
)
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)
from media_runtime.settings import KafkaSettings

SCRAM_SHA_256 = 1
# The least that Kafka takes. Passwords here are random, so more would only slow logins down.
ITERATIONS = 4096
_SECURITY_DISABLED = 54
_ANY = 1


class KafkaAdminError(RuntimeError):
    """The broker refused to make users or rights."""


class Resource(IntEnum):
    """What a right is about."""

    TOPIC = 2
    GROUP = 3


class Pattern(IntEnum):
    """Whether a right is about one name or about all that begin with it."""

    LITERAL = 3
    PREFIXED = 4


class Operation(IntEnum):
    """What a right allows; reading and writing include describing."""

    READ = 3
    WRITE = 4
    DESCRIBE = 8


_ALLOW = 3


@dataclass(frozen=True, order=True)
class Acl:
    """A right of one user, from any host."""

    resource: int
    name: str
    pattern: int
    principal: str
    operation: int
    host: str = "*"
    permission: int = _ALLOW


class _AlterScramResponse(Response):  # type: ignore[misc]
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterScramRequest(RequestStruct):  # type: ignore[misc]
    API_KEY = 51
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _AlterScramResponse
    SCHEMA = Schema(
        (
            "deletions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("tags", TaggedFields),
            ),
        ),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Request:
    """A request in the only version that is known here."""

    def __init__(self, struct: RequestStruct) -> None:
        self._struct = struct

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> RequestStruct:
        """Return what goes over the wire; raises KafkaAdminError for a broker that lacks it."""
        first, last = versions.get(self._struct.API_KEY, (0, -1))
        if not first <= self._struct.API_VERSION <= last:
            raise KafkaAdminError("the broker lacks the requests that make users and rights")
        return self._struct


class KafkaAdmin:
    """A connection with the administrator's login; see connect()."""

    def __init__(self, client: AIOKafkaClient) -> None:
        self._client = client

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: KafkaSettings) -> AsyncIterator[Self]:
        """Give the connection for the block; raises KafkaError."""
        client = AIOKafkaClient(**settings.client_arguments())
        try:
            await client.bootstrap()
            yield cls(client)
        finally:
            await client.close()

    async def set_passwords(self, passwords: Mapping[str, str]) -> None:
        """Make SCRAM-SHA-256 users, by name, or give them another password."""
        upsertions = [_scram_entry(name, password) for name, password in passwords.items()]
        response = await self._send(_AlterScramRequest([], upsertions, {}))
        for user, code, message, _ in response.results:
            _check(code, message, f"cannot make user {user}")

    async def acls(self) -> set[Acl] | None:
        """Return all that anyone may do, or None where the cluster checks no rights."""
        response = await self._send(
            DescribeAclsRequest_v1(_ANY, None, _ANY, None, None, _ANY, _ANY)
        )
        if response.error_code == _SECURITY_DISABLED:
            return None
        _check(response.error_code, response.error_message, "cannot read the rights")
        return {
            Acl(kind, name, pattern, principal, operation, host, permission)
            for kind, name, pattern, acls in response.resources
            for principal, host, operation, permission in acls
        }

    async def add_acls(self, acls: Collection[Acl]) -> None:
        """Give rights; those that are there stay."""
        response = await self._send(CreateAclsRequest_v1([_wire(acl) for acl in sorted(acls)]))
        for code, message in response.creation_responses:
            _check(code, message, "cannot give rights")

    async def remove_acls(self, acls: Collection[Acl]) -> None:
        """Take rights away."""
        response = await self._send(DeleteAclsRequest_v1([_wire(acl) for acl in sorted(acls)]))
        for code, message, _ in response.filter_responses:
            _check(code, message, "cannot take rights away")

    async def _send(self, struct: RequestStruct) -> Any:
        node = self._client.get_random_node()
        # Any broker passes these requests on to the controller.
        await self._client.ready(node)
        return await self._client.send(node, _Request(struct))


def _scram_entry(name: str, password: str) -> tuple[Any, ...]:
    salt = secrets.token_bytes(24)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    return name, SCRAM_SHA_256, ITERATIONS, salt, salted, {}


def _wire(acl: Acl) -> tuple[Any, ...]:
    kind, name, pattern, principal, operation, host, permission = astuple(acl)
    return kind, name, pattern, principal, host, operation, permission


def _check(code: int, message: str | None, text: str) -> None:
    if code:
        raise KafkaAdminError(f"{text}: {message or for_code(code).__name__}")
