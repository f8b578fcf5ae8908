"""
One MinIO server that reports every upload to Kafka.

Each upload is reported twice: by the target INGEST, which keeps its notifications on disk until
Kafka has them but reads that queue only every 3 seconds, and by the target FAST, which sends at
once and forgets what it cannot send. Invariant: what FAST loses, INGEST delivers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mediactl.devstack.processes import ProcessRef
from mediactl.devstack.program import Command, Program, answers_ok

REGION = "us-east-1"
# MinIO's Kafka client speaks the protocol of this version; brokers of 4.x still accept it.
KAFKA_PROTOCOL_VERSION = "2.8.0"


class MinioServer(Program):
    """
    The object store; its notification targets feed ``<topic_prefix>media_ingest``.

    ``overrides`` are further variables of its environment, such as
    ``MINIO_NOTIFY_KAFKA_ENABLE_FAST=off``.
    """

    def __init__(
        self,
        *,
        binary: Path,
        data: Path,
        log_file: Path,
        port: int,
        access_key: str,
        secret_key: str,
        kafka_bootstrap_servers: str,
        kafka_password: str,
        topic_prefix: str = "",
        overrides: Mapping[str, str] | None = None,
        name: str = "minio",
        process: ProcessRef | None = None,
    ) -> None:
        super().__init__(name, log_file, process)
        self.port = port
        self.access_key = access_key
        self.secret_key = secret_key
        self._binary = binary
        self._data = data
        self._kafka = kafka_bootstrap_servers
        self._kafka_password = kafka_password
        self._topic_prefix = topic_prefix
        self._overrides = dict(overrides or {})

    @property
    def endpoint_url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def events(self) -> Path:
        """Notifications that Kafka does not have yet."""
        return self._data.with_name(f"{self._data.name}-events")

    def prepare(self) -> None:
        """Make the directories for objects and waiting notifications."""
        self._data.mkdir(parents=True, exist_ok=True)
        self.events.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """Return the server's command line and environment."""
        argv = [str(self._binary), "server", str(self._data), "--quiet"]
        argv += ["--address", f"127.0.0.1:{self.port}"]
        argv += ["--certs-dir", str(self._data.with_name(f"{self._data.name}-certs"))]
        base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return Command(argv, {**base, **self._settings(), **self._overrides})

    def is_ready(self) -> bool:
        """Return whether the server can read and write objects."""
        return answers_ok(f"{self.endpoint_url}/minio/health/cluster")

    def _settings(self) -> dict[str, str]:
        return {
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_REGION": REGION,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_PROMETHEUS_AUTH_TYPE": "jwt",
            # No page talks to it: browsers reach the edge, which knows whose pages may.
            "MINIO_API_CORS_ALLOW_ORIGIN": self.endpoint_url,
            # With it on, an upload would wait for a Kafka that is away. It would not close the
            # gap between storing and telling either: that is what reconciliation is for.
            "MINIO_API_SYNC_EVENTS": "off",
            # Uploads in parts that nobody completed; the watcher sees those of this run alone.
            "MINIO_API_STALE_UPLOADS_EXPIRY": "24h",
            **self._target("INGEST"),
            "MINIO_NOTIFY_KAFKA_QUEUE_DIR_INGEST": str(self.events),
            **self._target("FAST"),
        }

    def _target(self, name: str) -> dict[str, str]:
        return {
            f"MINIO_NOTIFY_KAFKA_ENABLE_{name}": "on",
            f"MINIO_NOTIFY_KAFKA_BROKERS_{name}": self._kafka,
            f"MINIO_NOTIFY_KAFKA_TOPIC_{name}": f"{self._topic_prefix}media_ingest",
            f"MINIO_NOTIFY_KAFKA_VERSION_{name}": KAFKA_PROTOCOL_VERSION,
            f"MINIO_NOTIFY_KAFKA_SASL_{name}": "on",
            f"MINIO_NOTIFY_KAFKA_SASL_MECHANISM_{name}": "sha256",
            f"MINIO_NOTIFY_KAFKA_SASL_USERNAME_{name}": f"{self._topic_prefix}minio",
            f"MINIO_NOTIFY_KAFKA_SASL_PASSWORD_{name}": self._kafka_password,
        }
