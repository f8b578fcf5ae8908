"""The stack's servers as plain processes of this machine, without containers."""

from mediactl.devstack.native.alertmanager import AlertmanagerServer
from mediactl.devstack.native.infrastructure import NativeInfrastructure, NativeOptions
from mediactl.devstack.native.install import ensure_tools
from mediactl.devstack.native.kafka import KafkaServer
from mediactl.devstack.native.minio import MinioServer
from mediactl.devstack.native.postgres import PostgresServer
from mediactl.devstack.native.prometheus import PrometheusServer
from mediactl.devstack.native.tools import Tools

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
