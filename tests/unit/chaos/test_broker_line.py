"""The broker's second listener is added to what it has, and told to services alone."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

from mediactl.devstack.native.kafka import KafkaServer

from chaos.breaking import BreakingProxy
from chaos.broker_line import by_second_way, second_listener


def a_broker(data: Path) -> KafkaServer:
    return KafkaServer(
        tools=Mock(),
        config=data,
        data=data,
        log_file=data / "log",
        port=1001,
        controller_port=1002,
        password="secret",
    )


def properties(text: str) -> dict[str, str]:
    """Return properties as Java reads them: of those that are there twice, the last."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_the_usual_listeners_stay_and_the_second_is_advertised_as_the_proxy(tmp_path):
    server = a_broker(tmp_path)
    usual = properties(server._local_properties())
    added = properties(second_listener(server, behind=1003, before=1004))
    for name in ("listeners", "advertised.listeners"):
        assert set(usual[name].split(",")) < set(added[name].split(","))
    assert "SECOND://127.0.0.1:1003" in added["listeners"].split(",")
    assert "SECOND://127.0.0.1:1004" in added["advertised.listeners"].split(",")
    known = {pair.partition(":")[0] for pair in added["listener.security.protocol.map"].split(",")}
    assert known == {one.partition(":")[0] for one in added["listeners"].split(",")}


def test_a_service_is_given_the_proxy_for_kafka():
    proxy = BreakingProxy("127.0.0.1", 1003)
    proxy.port = 1004
    given = by_second_way("ingest", proxy)
    assert given == {"INGEST_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1004"}
