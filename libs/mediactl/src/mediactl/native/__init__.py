"""The stack's servers as plain processes of this machine, without containers."""

from mediactl.native.alertmanager import AlertmanagerServer
from mediactl.native.infrastructure import NativeInfrastructure, NativeOptions
from mediactl.native.install import ensure_tools
from mediactl.native.kafka import KafkaServer
from mediactl.native.minio import MinioServer
from mediactl.native.postgres import PostgresServer
from mediactl.native.prometheus import PrometheusServer
from mediactl.native.tools import Tools

__all__ = [
    "AlertmanagerServer",
    "KafkaServer",
    "MinioServer",
    "NativeInfrastructure",
    "NativeOptions",
    "PostgresServer",
    "PrometheusServer",
    "Tools",
    "ensure_tools",
]
