"""
Settings by environment variable, one mixin for each thing that a service talks to.

A service's own name for a setting, as ``INGEST_LOG_LEVEL``, wins over the one that all share. A
secret may be given as ``NAME_FILE``, the path of a file that holds it.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

_EDGE_KEY = r"[a-z0-9]{1,16}:[^,:\s]{32,}"
_EDGE_KEYS = re.compile(f"{_EDGE_KEY}(,{_EDGE_KEY})*")


def _in_file(name: str) -> str | None:
    """Return what the file that the variable NAME_FILE names holds, or None."""
    path = os.environ.get(f"{name}_FILE")
    return Path(path).read_text().strip() if path else None


class _FileSource(PydanticBaseSettingsSource):
    """Reads field ``name`` from the file that the variable ``NAME_FILE`` points to."""

    def __init__(self, settings_cls: type[BaseSettings], prefix: str) -> None:
        super().__init__(settings_cls)
        self._prefix = prefix

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        return _in_file(f"{self._prefix}{field_name.upper()}"), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None}


class Settings(BaseSettings):
    """Base of every service's settings: where it listens and how it logs."""

    # Compose sets what nobody gave to the empty string: that is the default.
    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    media_env: Literal["production", "development"] = "production"
    """In production no guard may be off: not the sandbox, nor the walls around logins."""
    http_host: str = "127.0.0.1"
    http_port: int = 8000
    http_max_body_bytes: int = Field(default=64 * 1024, ge=1)
    """What a request's body may have: all of ours are small JSON, files go to object storage."""
    http_request_seconds: float = Field(default=30, gt=0)
    """How long a client may take to send a request."""
    http_max_connections: int = Field(default=10_000, ge=1)
    """Or as many as files may be open, less some that the service needs itself."""
    log_format: str = Field(default="auto", pattern="^(auto|json|console)$")
    log_level: str = "INFO"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over files that it names."""
        del dotenv_settings, file_secret_settings
        return (
            *(init_settings, env_settings),
            _FileSource(settings_cls, settings_cls.model_config["env_prefix"]),
            *(EnvSettingsSource(settings_cls, env_prefix=""), _FileSource(settings_cls, "")),
        )


class MissingSecretError(ValueError):
    """The environment lacks a secret that a step cannot do without."""


def secrets_of(users: Iterable[str], kind: str, *, required: bool = True) -> dict[str, str]:
    """
    Return the secret that the environment gives each user, as INGEST_*kind* of ingest.

    Raises MissingSecretError, unless those without one may be left out.
    """
    found = {}
    for user in users:
        name = f"{user.upper()}_{kind}"
        if value := os.environ.get(name) or _in_file(name):
            found[user] = value
        elif required:
            raise MissingSecretError(f"set {name}, or {name}_FILE")
    return found


class KafkaSettings(Settings):
    """
    The broker. ``kafka_topic_prefix`` lets several stacks share one broker.

    ``kafka_instance_id`` names this replica, the same after each restart and unlike any other
    one: then a restart costs its consumer groups no rebalance, and a crash no session time-out.
    """

    kafka_bootstrap_servers: str
    kafka_topic_prefix: str = ""
    kafka_instance_id: str = ""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-256"
    kafka_sasl_username: str = ""
    kafka_sasl_password: SecretStr = SecretStr("")

    @property
    def kafka_has_logins(self) -> bool:
        """Whether the broker wants a login."""
        return self.kafka_security_protocol.startswith("SASL_")

    @property
    def kafka_is_encrypted(self) -> bool:
        """Whether the connection is; the broker's certificate is then checked."""
        return self.kafka_security_protocol.endswith("SSL")

    def client_arguments(self) -> dict[str, Any]:
        """Return how any client of aiokafka reaches the broker, with this login."""
        login = {
            "sasl_mechanism": self.kafka_sasl_mechanism,
            "sasl_plain_username": self.kafka_sasl_username,
            "sasl_plain_password": self.kafka_sasl_password.get_secret_value(),
        }
        return {
            "bootstrap_servers": self.kafka_bootstrap_servers,
            "security_protocol": self.kafka_security_protocol,
            "ssl_context": ssl.create_default_context() if self.kafka_is_encrypted else None,
            **(login if self.kafka_has_logins else {}),
        }

    def with_login(self, username: str, password: str) -> Self:
        """Return the same broker with the login of a SCRAM-SHA-256 user."""
        login = {
            "kafka_sasl_mechanism": "SCRAM-SHA-256",
            "kafka_sasl_username": username,
            "kafka_sasl_password": SecretStr(password),
        }
        return self.model_copy(update=login)


class PostgresSettings(Settings):
    """The database, reached with the service's own login role."""

    database_url: SecretStr
    database_pool_size: int = Field(default=10, ge=1)


class StorageSettings(Settings):
    """
    The object store, which no client reaches but through the edge.

    ``s3_notification_arns``, separated by commas, are the store's own names for its targets
    that feed media_ingest: one with a queue on disk, which survives a Kafka outage but is read
    only every 3 seconds, and one that sends at once. Ingest absorbs the repetition.
    """

    s3_endpoint_url: str
    s3_access_key: str
    s3_secret_key: SecretStr
    s3_region: str = "us-east-1"
    s3_bucket_prefix: str = Field(default="media-", pattern="^[a-z0-9][a-z0-9-]{0,20}$")
    s3_quarantine_days: int = Field(default=7, ge=1)
    """How long the originals of refused uploads are kept, for people who look into them."""
    s3_notification_arns: str = "arn:minio:sqs::INGEST:kafka,arn:minio:sqs::FAST:kafka"


class ProvisionerSettings(StorageSettings):
    """The login that makes buckets and repairs them, and may do nothing with objects."""

    s3_provisioner_access_key: str
    s3_provisioner_secret_key: SecretStr


class AdministratorSettings(StorageSettings):
    """The object store's administrator."""

    metrics_token_path: Path | None = None
    """Where Prometheus looks for the token that shows it the store's metrics."""


class EdgeKeySettings(Settings):
    """
    The keys with which links to files are signed: ``id:secret``, with commas between several.

    The first one signs; the edge takes all. To change keys, put a new one in front, and take the
    old one away once its links have lapsed.
    """

    edge_keys: SecretStr

    @field_validator("edge_keys")
    @classmethod
    def _are_keys(cls, keys: SecretStr) -> SecretStr:
        if not _EDGE_KEYS.fullmatch(keys.get_secret_value()):
            raise ValueError("must be id:secret,…, with secrets of at least 32 characters")
        return keys


class AuthSettings(Settings):
    """How bearer tokens are checked: a shared HS256 secret, or the issuer's published keys."""

    jwt_secret: SecretStr | None = None
    jwt_jwks_url: str | None = None
    jwt_issuer: str = "media-pipeline"
    jwt_audience: str = "media-pipeline"
    jwt_leeway_seconds: int = Field(default=5, ge=0)


class PublicSettings(Settings):
    """A service that clients reach. ``metrics_http_port`` takes /metrics off the port of theirs."""

    metrics_http_port: int | None = None
    cors_allow_origins: str = ""
    """Origins of browser clients, separated by commas."""


class RateSettings(Settings):
    """How much one company may ask of one replica."""

    company_requests_per_minute: int = Field(default=6000, ge=1)


class SandboxSettings(Settings):
    """
    How strangers' files are opened.

    In ``bubblewrap``, or ``none``, never in production; and up to so many pixels and streams.
    """

    sandbox: Literal["bubblewrap", "none"] = "bubblewrap"
    upload_max_pixels: int = Field(default=40_000_000, ge=1)
    """Of a frame of a video."""
    upload_max_image_pixels: int = Field(default=200_000_000, ge=1)
    """Of an image; of fewer where the sandbox has too little memory for them."""
    upload_max_streams: int = Field(default=16, ge=1)
    """Of picture and sound."""
    upload_max_carried_streams: int = Field(default=128, ge=1)
    """Of any kind: nothing but a film's picture and sound is ever opened."""

    @model_validator(mode="after")
    def _is_sandboxed(self) -> Self:
        if self.sandbox == "none" and self.media_env == "production":
            raise ValueError("SANDBOX=none needs MEDIA_ENV=development: uploads are hostile")
        return self
