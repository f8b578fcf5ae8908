"""The native stack on real servers: started, killed one by one, started again."""

import io
import os
import socket
from pathlib import Path
from uuid import uuid4

import pytest
from mediactl.devstack import processes
from mediactl.devstack.home import Home
from mediactl.devstack.native import NativeInfrastructure, NativeOptions
from mediactl.devstack.native.postgres import remove_outside_data
from minio import Minio
from minio.notificationconfig import NotificationConfig, QueueConfig


@pytest.fixture(scope="module")
def infrastructure(tmp_path_factory):
    installed = Home.from_environment()
    home = Home(tmp_path_factory.mktemp("native"), installed.tools, installed.root)
    started = NativeInfrastructure(home, NativeOptions(environ={"PATH": os.environ["PATH"]}))
    started.start()
    yield started
    started.stop()
    remove_outside_data(home.path, started.state.fact("postgres_data"))


def client_of(server):
    return Minio(
        f"127.0.0.1:{server.port}",
        access_key=server.access_key,
        secret_key=server.secret_key,
        secure=False,
        region="us-east-1",
    )


def test_all_servers_are_ready_and_a_second_start_finds_them(infrastructure):
    before = [server.process for server in infrastructure.servers()]

    infrastructure.start()

    assert [server.process for server in infrastructure.servers()] == before
    assert all(server.is_ready() for server in infrastructure.servers())


def test_a_new_object_takes_over_the_servers_of_an_earlier_one(infrastructure):
    other = NativeInfrastructure(infrastructure.home)

    assert [s.process for s in other.servers()] == [s.process for s in infrastructure.servers()]
    assert all(server.is_alive for server in other.servers())
    assert other.endpoints() == infrastructure.endpoints()


@pytest.mark.parametrize("name", ["kafka", "postgres", "minio", "prometheus", "alertmanager"])
def test_a_killed_server_comes_back_at_its_address(infrastructure, name):
    server = getattr(infrastructure, name)
    first, address = server.process, infrastructure.endpoints()
    server.kill()
    assert not server.is_alive

    infrastructure.start_one(server)

    assert server.process != first
    assert server.is_ready()
    assert infrastructure.endpoints() == address


def test_postgres_keeps_committed_rows_through_a_crash_and_runs_as_no_root(infrastructure):
    postgres = infrastructure.postgres
    postgres.run_sql("CREATE TABLE kept AS SELECT 42 AS answer;", database="media")
    postgres.kill()
    infrastructure.start_one(postgres)

    assert postgres.run_sql("SELECT answer FROM kept", database="media").strip() == "42"
    assert Path(f"/proc/{postgres.process.pid}").stat().st_uid != 0
    assert postgres.run_sql("SHOW fsync").strip() == "on"


def test_postgres_refuses_the_administrator_without_the_password(infrastructure):
    assert infrastructure.postgres.run_sql("SHOW password_encryption").strip() == "scram-sha-256"
    rules = infrastructure.postgres.run_sql("SELECT DISTINCT auth_method FROM pg_hba_file_rules")

    assert rules.split() == ["scram-sha-256"]


def test_servers_listen_on_the_loopback_alone(infrastructure):
    hostname = socket.gethostbyname(socket.gethostname())
    if hostname.startswith("127."):
        hostname = _outward_address()

    for server in infrastructure.servers():
        with pytest.raises(OSError, match=r"."), socket.create_connection((hostname, server.port)):
            pass


def test_an_upload_is_waiting_for_kafka_when_kafka_is_away(infrastructure):
    minio, kafka = infrastructure.minio, infrastructure.kafka
    client, bucket = client_of(minio), f"bucket-{uuid4()}"
    client.make_bucket(bucket)
    queue = QueueConfig(queue="arn:minio:sqs::INGEST:kafka", events=["s3:ObjectCreated:*"])
    client.set_bucket_notification(bucket, NotificationConfig(queue_config_list=[queue]))
    kafka.kill()
    assert not kafka.is_ready()

    client.put_object(bucket, "photo.jpg", io.BytesIO(b"x"), 1)

    def waits() -> bool:
        return any(file.is_file() for file in minio.events.rglob("*"))

    kept = processes.wait_until(waits, timeout_seconds=15)
    infrastructure.start_one(kafka)
    assert kept


def _outward_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Connecting a datagram socket sends nothing; it only picks the address to send from.
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]
