"""An issuer's keys: fetched once for all who wait; a slow issuer holds up nobody it need not."""

import asyncio
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from media_runtime.http import jwks
from media_runtime.http.jwks import KeysUnavailableError, PublishedKeys, UnknownKeyError

_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()


class Issuer:
    """Answers with its keys until it is told to be silent."""

    def __init__(self) -> None:
        self.names = ["k"]
        self.asked = 0
        self.silent = False
        self.connections: list[asyncio.StreamWriter] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        self.connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        if not self.silent:
            jwk = jwt.algorithms.RSAAlgorithm.to_jwk(_KEY, as_dict=True)
            keys = [{**jwk, "kid": name, "use": "sig"} for name in self.names]
            body = json.dumps({"keys": keys}).encode()
            writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)
            await writer.drain()
            writer.close()


@pytest.fixture
async def issuer(monkeypatch):
    monkeypatch.setattr(jwks, "_TIMEOUT_SECONDS", 1)
    found = Issuer()
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    yield found
    server.close()
    for connection in found.connections:
        connection.close()
        await connection.wait_closed()


async def test_keys_are_fetched_once_for_all_who_wait(issuer):
    keys = PublishedKeys(issuer.url)
    assert len({id(one) for one in await asyncio.gather(*(keys.key("k") for _ in range(50)))}) == 1
    assert issuer.asked == 1


async def test_tokens_of_unknown_keys_hold_up_nobody_while_the_issuer_is_silent(
    issuer, monkeypatch
):
    """Red with a lock around a request of five seconds, which everyone's token then waits for."""
    keys = PublishedKeys(issuer.url)
    await keys.key("k")
    monkeypatch.setattr(jwks, "_AGAIN_SECONDS", 0)
    issuer.silent = True
    strangers = [asyncio.create_task(keys.key(f"unknown-{n}")) for n in range(50)]
    await asyncio.sleep(0)
    async with asyncio.timeout(0.5):
        await keys.key("k")
    assert not any(task.done() for task in strangers)
    ends = await asyncio.gather(*strangers, return_exceptions=True)
    assert {type(end) for end in ends} == {UnknownKeyError}
    assert issuer.asked == 2


async def test_an_unknown_key_is_not_asked_for_again_and_again(issuer):
    keys = PublishedKeys(issuer.url)
    for n in range(20):
        with pytest.raises(UnknownKeyError):
            await keys.key(f"unknown-{n}")
    assert issuer.asked == 1


async def test_a_new_key_is_found_after_a_while(issuer, monkeypatch):
    keys = PublishedKeys(issuer.url)
    await keys.key("k")
    issuer.names.append("new")
    monkeypatch.setattr(jwks, "_AGAIN_SECONDS", 0)
    await keys.key("new")
    assert issuer.asked == 2


async def test_an_issuer_that_is_away_is_asked_by_one_at_a_time(issuer):
    issuer.silent = True
    keys = PublishedKeys(issuer.url)
    ends = await asyncio.gather(*(keys.key("k") for _ in range(50)), return_exceptions=True)
    ends += await asyncio.gather(keys.key("k"), return_exceptions=True)
    assert {type(end) for end in ends} == {KeysUnavailableError}
    assert issuer.asked == 1
