"""
A second way to the broker, with a proxy before it.

Clients of Kafka leave the address they were given for those that brokers advertise: a proxy
sees them only if it is what the broker advertises. Invariant: whoever comes by the first way,
such as MinIO and the suite itself, is not disturbed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

from mediactl.devstack.native.kafka import KafkaServer
from mediactl.devstack.ports import free_port

from chaos.breaking import BreakingProxy
from chaos.harness import Harness, for_service


@asynccontextmanager
async def broker_line(harness: Harness, *, seed: int = 0) -> AsyncIterator[BreakingProxy]:
    """
    Restart the broker with a second listener, for the block; gives the proxy before it.

    A broker that is started again within the block has the listener as well.
    """
    behind = free_port()
    proxy = BreakingProxy("127.0.0.1", behind, seed=seed)
    async with proxy.listening():
        usual = KafkaServer._local_properties

        def with_second_way(server: KafkaServer) -> str:
            return usual(server) + second_listener(server, behind=behind, before=proxy.port)

        try:
            with patch.object(KafkaServer, "_local_properties", with_second_way):
                await harness.restart("kafka")
                yield proxy
        finally:
            await harness.restart("kafka")


def second_listener(server: KafkaServer, *, behind: int, before: int) -> str:
    """Return properties for a listener on port *behind* that is advertised as *before*."""
    first = f"CLIENTS://127.0.0.1:{server.port}"
    controller = f"CONTROLLER://127.0.0.1:{server._controller_port}"
    # Of a property that is there twice, the last one counts.
    return (
        f"listeners={first},{controller},SECOND://127.0.0.1:{behind}\n"
        f"advertised.listeners={first},SECOND://127.0.0.1:{before}\n"
        "listener.security.protocol.map="
        "CLIENTS:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT,SECOND:SASL_PLAINTEXT\n"
        "listener.name.second.sasl.enabled.mechanisms=SCRAM-SHA-256\n"
        "listener.name.second.scram-sha-256.sasl.jaas.config="
        "org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
    )


def by_second_way(service: str, proxy: BreakingProxy) -> dict[str, str]:
    """Return the settings with which a service reaches Kafka through *proxy* alone."""
    address = f"127.0.0.1:{proxy.port}"
    return for_service(service, {"KAFKA_BOOTSTRAP_SERVERS": address})
