"""Kafka, PostgreSQL and MinIO as plain processes of this machine, without containers."""

from mediactl.native.infrastructure import NativeInfrastructure, NativeOptions
from mediactl.native.install import ensure_tools
from mediactl.native.kafka import KafkaServer
from mediactl.native.minio import MinioServer
from mediactl.native.postgres import PostgresServer
from mediactl.native.tools import Tools

__all__ = [
    "KafkaServer",
    "MinioServer",
    "NativeInfrastructure",
    "NativeOptions",
    "PostgresServer",
    "Tools",
    "ensure_tools",
]
