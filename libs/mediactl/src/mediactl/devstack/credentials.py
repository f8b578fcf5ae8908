"""
The secrets of one stack: made up once and remembered, or given by the environment.

Invariant: programs that run together hold the same secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from media_runtime.catalog import DATABASE_USERS, KAFKA_USERS, STORAGE_USERS
from mediactl.devstack.state import State
from mediactl.errors import UsageError

JWT_ISSUER = "media-pipeline"
JWT_AUDIENCE = "media-pipeline"
MIN_JWT_SECRET_BYTES = 32


@dataclass(frozen=True)
class Credentials:
    """
    ``database_passwords`` has one entry for each service with a login of its own,
    ``storage_secrets`` one for each user of the object store, ``kafka_passwords`` one for each of
    the broker.
    """

    jwt_secret: str
    event_id_secret: str
    edge_keys: str
    database_passwords: Mapping[str, str]
    storage_secrets: Mapping[str, str]
    kafka_passwords: Mapping[str, str]
    jwt_issuer: str = JWT_ISSUER
    jwt_audience: str = JWT_AUDIENCE

    def token_variables(self) -> dict[str, str]:
        """Return what is needed to mint tokens, as environment variables."""
        return {
            "JWT_SECRET": self.jwt_secret,
            "JWT_ISSUER": self.jwt_issuer,
            "JWT_AUDIENCE": self.jwt_audience,
        }

    def event_variables(self) -> dict[str, str]:
        """Return what seals the ids of events, as environment variables."""
        return {"EVENT_ID_SECRET": self.event_id_secret}

    def edge_variables(self) -> dict[str, str]:
        """Return the keys that links to files are signed with, as environment variables."""
        return {"EDGE_KEYS": self.edge_keys}

    def password_variables(self) -> dict[str, str]:
        """Return the services' database passwords as environment variables."""
        return {f"{name.upper()}_DB_PASSWORD": p for name, p in self.database_passwords.items()}

    def storage_variables(self) -> dict[str, str]:
        """Return the secrets of the store's users as environment variables."""
        return {f"{name.upper()}_S3_SECRET": s for name, s in self.storage_secrets.items()}

    def kafka_variables(self) -> dict[str, str]:
        """Return the passwords of the broker's users as environment variables."""
        return {f"{name.upper()}_KAFKA_PASSWORD": p for name, p in self.kafka_passwords.items()}


def stack_credentials(state: State, environ: Mapping[str, str]) -> Credentials:
    """
    Return the credentials of the stack; those in the environment win over remembered ones.

    Raises UsageError where the environment gives another secret than running programs hold.
    """
    passwords = {
        name: _secret(state, environ, f"{name.upper()}_DB_PASSWORD") for name in DATABASE_USERS
    }
    storage = {name: _secret(state, environ, f"{name.upper()}_S3_SECRET") for name in STORAGE_USERS}
    kafka = {
        name: _secret(state, environ, f"{name.upper()}_KAFKA_PASSWORD") for name in KAFKA_USERS
    }
    jwt_secret = _secret(state, environ, "JWT_SECRET")
    if len(jwt_secret.encode()) < MIN_JWT_SECRET_BYTES:
        raise UsageError(f"JWT_SECRET must hold at least {MIN_JWT_SECRET_BYTES} bytes.")
    return Credentials(
        jwt_secret=jwt_secret,
        event_id_secret=_secret(state, environ, "EVENT_ID_SECRET"),
        edge_keys=_edge_keys(state, environ),
        database_passwords=passwords,
        storage_secrets=storage,
        kafka_passwords=kafka,
        jwt_issuer=environ.get("JWT_ISSUER") or JWT_ISSUER,
        jwt_audience=environ.get("JWT_AUDIENCE") or JWT_AUDIENCE,
    )


def _edge_keys(state: State, environ: Mapping[str, str]) -> str:
    # A key has an id, by which the edge finds it while two of them are in use.
    if state.known_secret("edge_keys") is None and not environ.get("EDGE_KEYS"):
        state.remember_secret("edge_keys", f"k1:{state.secret('edge_secret')}")
    return _secret(state, environ, "EDGE_KEYS")


def _secret(state: State, environ: Mapping[str, str], variable: str) -> str:
    given, known = environ.get(variable), state.known_secret(variable.lower())
    if given and given != known:
        if known is not None and state.running():
            raise UsageError(
                f"{variable} is not the one this stack runs with: unset it, or run "
                "'mediactl down' first to start with the new one."
            )
        state.remember_secret(variable.lower(), given)
    return state.secret(variable.lower())
