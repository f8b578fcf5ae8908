"""Tokens of an issuer that publishes its keys, and what is made to look like them, over HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from contextlib import AsyncExitStack
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.surroundings import Parts, variable
from support.web import web_server

COMPANY = str(uuid4())
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE_KEY = ec.generate_private_key(ec.SECP256R1())
ASSET = f"/api/media/assets/{uuid4()}"
ROUTES = [
    ("sign_api", "POST", "/api/media/sign"),
    ("sign_api", "GET", "/api/media/assets"),
    ("sign_api", "GET", ASSET),
    ("sign_api", "DELETE", ASSET),
    ("sign_api", "POST", f"{ASSET}/retry"),
    ("notifier", "GET", "/api/media/events"),
    ("notifier", "POST", "/api/media/events/ticket"),
]


def jwk(key: rsa.RSAPrivateKey, name: str) -> dict[str, object]:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**public, "kid": name, "alg": "RS256", "use": "sig"}


PAGES = {
    "/keys": json.dumps({"keys": [jwk(KEY, "k")]}).encode(),
    "/evil": json.dumps({"keys": [jwk(OTHER_KEY, "k"), jwk(OTHER_KEY, "evil")]}).encode(),
}


@pytest.fixture(scope="module")
def issuer():
    """The issuer's address and who has visited which of its pages."""
    with web_server(PAGES) as found:
        yield found


@pytest.fixture(scope="module")
async def bases(issuer):
    """Both services, where they believe in the issuer's keys."""
    url, _ = issuer
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(
                Parts().another(
                    name, without=["JWT_SECRET"], **{f"{name.upper()}_JWT_JWKS_URL": f"{url}/keys"}
                )
            )
            for name in ("sign_api", "notifier")
        }


def claims(**changed: object) -> dict[str, object]:
    return {
        "sub": "someone",
        "company_id": COMPANY,
        "permissions": ["media:upload", "media:read"],
        "aud": variable("JWT_AUDIENCE"),
        "iss": variable("JWT_ISSUER"),
        "exp": int(time.time()) + 600,
        **changed,
    }


def token(key=KEY, algorithm: str = "RS256", header=None, **changed: object) -> str:
    return jwt.encode(claims(**changed), key, algorithm, headers={"kid": "k", **(header or {})})


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def unsigned(algorithm: str) -> str:
    head = json.dumps({"alg": algorithm, "typ": "JWT", "kid": "k"}).encode()
    return f"{encoded(head)}.{encoded(json.dumps(claims()).encode())}."


def confused(secret: bytes) -> str:
    """Return a token whose HMAC has, for its secret, what everybody knows."""
    head = encoded(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "k"}).encode())
    signed = f"{head}.{encoded(json.dumps(claims()).encode())}"
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def public(encoding: serialization.Encoding, form: serialization.PublicFormat) -> bytes:
    return KEY.public_key().public_bytes(encoding, form)


ATTACKS = {
    **{
        f"algorithm {name}": lambda _, name=name: unsigned(name)
        for name in ("none", "None", "nOnE")
    },
    "the public key as a secret, PEM": lambda _: confused(
        public(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    ),
    "the public key as a secret, PKCS1": lambda _: confused(
        public(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)
    ),
    "the public key as a secret, DER": lambda _: confused(
        public(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ),
    "the public key as a secret, JWK": lambda _: confused(json.dumps(jwk(KEY, "k")).encode()),
    "another key": lambda _: token(OTHER_KEY),
    "a key of another kind": lambda _: token(CURVE_KEY, "ES256"),
    "an unknown key": lambda _: token(OTHER_KEY, header={"kid": "evil"}),
    "a path as the key's name": lambda _: token(OTHER_KEY, header={"kid": "../evil"}),
    "keys from elsewhere": lambda url: token(
        OTHER_KEY, header={"kid": "evil", "jku": f"{url}/evil", "x5u": f"{url}/evil"}
    ),
    "a key that it brings along": lambda _: token(OTHER_KEY, header={"jwk": jwk(OTHER_KEY, "k")}),
    "expired": lambda _: token(exp=int(time.time()) - 60),
    "not yet valid": lambda _: token(nbf=int(time.time()) + 600),
    "for others": lambda _: token(aud="others"),
    "of another issuer": lambda _: token(iss="others"),
    "valid for ever": lambda _: token(exp=10**18),
    "of no company": lambda _: token(company_id="acme"),
    "of a subject that nobody can store": lambda _: token(sub="a\0b"),
    "huge": lambda _: token(padding="x" * 20_000),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_the_issuer_did_not_sign_is_refused_everywhere(bases, issuer, http, attack):
    url, visits = issuer
    headers = {"Authorization": f"Bearer {ATTACKS[attack](url)}"}
    for service, method, path in ROUTES:
        answer = await http.request(method, bases[service] + path, headers=headers)
        assert answer.status_code == 401, (method, path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "unauthorized"
        assert url not in answer.text
    assert set(visits) <= {"/keys"}, "no key is fetched from where a token says"


async def test_what_the_issuer_signed_is_believed(bases, http):
    headers = {"Authorization": f"Bearer {token()}"}
    listed = await http.get(f"{bases['sign_api']}/api/media/assets", headers=headers)
    assert (listed.status_code, listed.json()["items"]) == (200, [])
    ticket = await http.post(f"{bases['notifier']}/api/media/events/ticket", headers=headers)
    assert ticket.status_code == 201


async def test_while_the_issuer_is_away_a_token_is_not_called_bad(http):
    """The answer is 503, and does not say where the issuer is."""
    away = {"SIGN_API_JWT_JWKS_URL": "http://127.0.0.1:9/keys"}
    async with Parts().another("sign_api", without=["JWT_SECRET"], **away) as url:
        headers = {"Authorization": f"Bearer {token()}"}
        answer = await http.get(f"{url}/api/media/assets", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
    assert answer.headers["retry-after"]
    assert "127.0.0.1" not in answer.text
