"""The stack that a run works on: its addresses, secrets and directories."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self
from uuid import UUID

from media_runtime.settings import KafkaSettings
from mediactl.devstack.credentials import JWT_AUDIENCE, JWT_ISSUER
from mediactl.devstack.endpoints import KAFKA_LOGIN
from mediactl.devstack.home import Home
from mediactl.tokens import mint_token

_TOKEN_SECONDS = 24 * 3600


def _kafka(given: Mapping[str, str]) -> KafkaSettings:
    names = ("KAFKA_BOOTSTRAP_SERVERS", *KAFKA_LOGIN)
    return KafkaSettings.model_validate(
        {name.lower(): given[name] for name in names if name in given}
    )


@dataclass(frozen=True)
class Target:
    """
    One running stack.

    ``scratch`` are the directories in which its services work; files left there are told of.
    """

    url: str
    jwt_secret: str = field(repr=False)
    database_url: str = field(repr=False)
    kafka: KafkaSettings = field(repr=False)
    s3_url: str
    s3_access_key: str = field(repr=False)
    s3_secret_key: str = field(repr=False)
    bucket_prefix: str = "media-"
    topic_prefix: str = ""
    jwt_issuer: str = JWT_ISSUER
    jwt_audience: str = JWT_AUDIENCE
    scratch: tuple[Path, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Return the stack whose variables ``mediactl`` published; raises KeyError."""
        given = os.environ if environ is None else environ
        home = given.get("MEDIACTL_HOME")
        scratch = (Home.from_environment(given).data / "scratch",) if home else ()
        return cls(
            url=given["MEDIA_URL"],
            jwt_secret=given["JWT_SECRET"],
            jwt_issuer=given.get("JWT_ISSUER") or JWT_ISSUER,
            jwt_audience=given.get("JWT_AUDIENCE") or JWT_AUDIENCE,
            database_url=given["DATABASE_URL"],
            kafka=_kafka(given),
            topic_prefix=given.get("KAFKA_TOPIC_PREFIX", ""),
            s3_url=given["S3_ENDPOINT_URL"],
            s3_access_key=given["S3_ACCESS_KEY"],
            s3_secret_key=given["S3_SECRET_KEY"],
            bucket_prefix=given.get("S3_BUCKET_PREFIX") or "media-",
            scratch=scratch,
        )

    def token(self, company: UUID | str) -> str:
        """Return a bearer token of *company*, good for a day."""
        return mint_token(
            secret=self.jwt_secret,
            company_id=UUID(str(company)),
            now=datetime.now(UTC),
            ttl_seconds=_TOKEN_SECONDS,
            issuer=self.jwt_issuer,
            audience=self.jwt_audience,
        )

    def bucket(self, company: UUID | str) -> str:
        """Return the name of a company's bucket."""
        return f"{self.bucket_prefix}{company}"
