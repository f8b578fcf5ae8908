"""Which bearer tokens are believed."""

from __future__ import annotations

import base64
import json
import time
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from media_runtime.http import auth
from media_runtime.http.auth import InvalidTokenError, TokenVerifier, bearer_token
from media_runtime.http.jwks import UnknownKeyError
from media_runtime.settings import AuthSettings

SECRET = "s" * 32
OTHER_SECRET = "o" * 32
COMPANY = UUID("13937268-0f85-431e-8157-8bf1af627ae2")
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def claims(**changed):
    now = int(time.time())
    found = {
        "sub": "someone",
        "company_id": str(COMPANY),
        "permissions": ["media:upload"],
        "aud": "media-pipeline",
        "iss": "media-pipeline",
        "iat": now,
        "exp": now + 60,
        **changed,
    }
    return {name: value for name, value in found.items() if value is not ...}


def token(secret=SECRET, algorithm="HS256", headers=None, **changed):
    return jwt.encode(claims(**changed), secret, algorithm=algorithm, headers=headers)


def raw_token(**changed):
    """Return a good signature of claims that a library would refuse to sign."""
    return jwt.PyJWS().encode(json.dumps(claims(**changed)).encode(), SECRET)


def encoded(text):
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def unsigned(algorithm):
    parts = ({"alg": algorithm, "typ": "JWT"}, claims())
    return ".".join(encoded(json.dumps(part)) for part in parts) + "."


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("JWT_SECRET", "JWT_JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def verifier():
    return TokenVerifier(AuthSettings(jwt_secret=SECRET, jwt_leeway_seconds=0))


class Keys:
    """The keys that an issuer publishes, without HTTP."""

    def __init__(self, **keys):
        self._keys = keys

    async def key(self, name):
        if name not in self._keys:
            raise UnknownKeyError(f"no key {name}")
        return jwt.PyJWK.from_dict(self._keys[name]).key


def as_jwk(public_key, algorithm):
    return {**algorithm.to_jwk(public_key, as_dict=True), "kid": "k"}


@pytest.fixture
def published():
    """A verifier whose issuer publishes an RSA key under the name k."""
    verifier = TokenVerifier(AuthSettings(jwt_jwks_url="https://issuer.invalid/keys"))
    verifier._keys = Keys(k=as_jwk(KEY.public_key(), jwt.algorithms.RSAAlgorithm))
    return verifier


async def test_a_valid_token_says_who_calls(verifier):
    caller = await verifier.verify(token(exp=2_000_000_000))
    assert caller.subject == "someone"
    assert caller.company_id == COMPANY
    assert caller.permissions == {"media:upload"}
    assert caller.expires_at == 2_000_000_000


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(lambda: unsigned("none"), id="no algorithm"),
        pytest.param(lambda: unsigned("None"), id="no algorithm, spelt otherwise"),
        pytest.param(lambda: unsigned("nOnE"), id="no algorithm, spelt oddly"),
        pytest.param(lambda: unsigned(None), id="algorithm null"),
        pytest.param(lambda: unsigned(["HS256"]), id="a list of algorithms"),
        pytest.param(lambda: unsigned("HS256"), id="empty signature"),
        pytest.param(lambda: token(OTHER_SECRET), id="another secret"),
        pytest.param(lambda: token("s" * 64, "HS512"), id="another algorithm"),
        pytest.param(lambda: token(SECRET * 2, "HS512"), id="another algorithm, secret twice"),
        pytest.param(lambda: token(KEY, "RS256"), id="a key instead of the secret"),
        pytest.param(lambda: token(aud="other"), id="for another audience"),
        pytest.param(lambda: token(iss="other"), id="from another issuer"),
        pytest.param(lambda: token(exp=int(time.time()) - 1), id="expired"),
        pytest.param(lambda: token(nbf=int(time.time()) + 60), id="not yet valid"),
        pytest.param(lambda: token(nbf="soon"), id="beginning that is no time"),
        pytest.param(lambda: token(iat="soon"), id="birth that is no time"),
        pytest.param(lambda: token(iat=int(time.time()) + 60), id="born in the future"),
        *(
            pytest.param(lambda value=value: token(exp=value), id=f"expiry {value!r}")
            for value in (
                *("soon", "2000000000", True, None, [], -1, 0, 10**12, 10**30, 1e300),
                *(float("inf"), float("nan")),
            )
        ),
        *(
            pytest.param(lambda value=value: token(sub=value), id=f"subject {value!r}")
            for value in (7, "", "a\0b", "\ud800", "a\nb", "x" * 256, ["a"], None)
        ),
        *(
            pytest.param(lambda value=value: token(aud=value), id=f"audience {value!r}")
            for value in ([], ["other"], [7], 7, {"media-pipeline": 1}, "media-pipeline,other")
        ),
        *(
            pytest.param(lambda value=value: raw_token(iss=value), id=f"issuer {value!r}")
            for value in (7, "", {"media-pipeline": 1}, "media-pipeline.evil.example")
        ),
        *(
            pytest.param(lambda head=head: token(OTHER_SECRET, headers=head), id=f"header {head}")
            for head in (
                {"kid": "../../../../dev/null"},
                {"kid": "/proc/self/environ"},
                {"jku": "http://127.0.0.1:9/keys"},
                {"x5u": "http://127.0.0.1:9/certificate"},
                {"jwk": {"kty": "oct", "k": "b29vb29vb29vb29vb29vb29vb29vb29vb29vb29vb28"}},
                {"x5c": ["AAAA"]},
            )
        ),
        pytest.param(lambda: token(headers={"crit": ["x"], "x": 1}), id="what must be understood"),
        pytest.param(lambda: encoded("[" * 1500) + ".e30.", id="a header too deep"),
        pytest.param(
            lambda: encoded('{"alg":"HS256","typ":7}') + ".e30.", id="a type that is none"
        ),
        *(
            pytest.param(lambda name=name: token(**{name: ...}), id=f"without {name}")
            for name in ("sub", "company_id", "permissions", "aud", "iss", "exp")
        ),
        *(
            pytest.param(lambda value=value: token(permissions=value), id=f"permissions {value!r}")
            for value in ("media:upload", None, {"media:upload": 1}, [1], [["media:upload"]], 1)
        ),
        *(
            pytest.param(lambda value=value: token(company_id=value), id=f"company {value!r}")
            for value in ("", "acme", None, 1, [str(COMPANY)], {"a": 1})
        ),
        pytest.param(lambda: "", id="empty"),
        pytest.param(lambda: "x", id="no token"),
        pytest.param(lambda: "a.b.c", id="no base64"),
        pytest.param(lambda: "ü.ü.ü", id="no ASCII"),
        pytest.param(lambda: token()[:-4], id="cut off"),
        pytest.param(lambda: token().replace(".", "..", 1), id="an empty part"),
    ],
)
async def test_a_token_that_is_not_ours_is_refused(verifier, forged):
    with pytest.raises(InvalidTokenError):
        await verifier.verify(forged())


async def test_claims_that_were_changed_are_refused(verifier):
    head, _, signature = token().split(".")
    changed = base64.urlsafe_b64encode(json.dumps(claims(company_id=str(uuid4()))).encode())
    with pytest.raises(InvalidTokenError):
        await verifier.verify(f"{head}.{changed.rstrip(b'=').decode()}.{signature}")


async def test_a_token_that_was_believed_expires_all_the_same(verifier, monkeypatch):
    mine = token()
    assert await verifier.verify(mine) == await verifier.verify(mine)
    monkeypatch.setattr(auth.time, "time", lambda clock=time.time: clock() + 61)
    real = jwt.api_jwt.datetime

    class Later(real):
        @classmethod
        def now(cls, tz=None):
            return real.fromtimestamp(time.time(), tz)

    monkeypatch.setattr(jwt.api_jwt, "datetime", Later)
    with pytest.raises(InvalidTokenError, match="expired"):
        await verifier.verify(mine)


async def test_where_a_token_says_its_key_is_matters_to_nobody(verifier):
    hints = {"kid": "../key", "jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/"}
    assert (await verifier.verify(token(headers=hints))).company_id == COMPANY


async def test_a_refused_token_is_refused_again(verifier):
    forged = token(OTHER_SECRET)
    for _ in range(2):
        with pytest.raises(InvalidTokenError):
            await verifier.verify(forged)
    assert not verifier._verified


async def test_tokens_that_were_believed_do_not_fill_the_memory(verifier, monkeypatch):
    monkeypatch.setattr(auth, "_REMEMBERED", 3)
    for number in range(10):
        await verifier.verify(token(sub=str(number)))
    assert [caller.subject for caller in verifier._verified.values()] == ["7", "8", "9"]


async def test_clocks_may_differ_by_the_leeway():
    verifier = TokenVerifier(AuthSettings(jwt_secret=SECRET, jwt_leeway_seconds=30))
    for _ in range(2):
        await verifier.verify(token(exp=int(time.time()) - 10))
    with pytest.raises(InvalidTokenError):
        await verifier.verify(token(exp=int(time.time()) - 31))


async def test_a_published_key_is_believed(published):
    found = await published.verify(token(KEY, "RS256", headers={"kid": "k"}))
    assert found.company_id == COMPANY


@pytest.mark.parametrize(
    ("key", "algorithm", "jwk"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256", jwt.algorithms.ECAlgorithm),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA", jwt.algorithms.OKPAlgorithm),
    ],
    ids=["ES256", "EdDSA"],
)
async def test_other_published_kinds_of_keys_are_believed(published, key, algorithm, jwk):
    published._keys = Keys(k=as_jwk(key.public_key(), jwk))
    found = await published.verify(token(key, algorithm, headers={"kid": "k"}))
    assert found.subject == "someone"


async def test_a_public_key_is_no_shared_secret(published):
    """The old confusion: what everybody knows, used as the secret of HS256."""
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    import hashlib
    import hmac

    head, body, _ = token(SECRET, headers={"kid": "k"}).split(".")
    signed = hmac.new(pem, f"{head}.{body}".encode(), hashlib.sha256).digest()
    forged = f"{head}.{body}.{base64.urlsafe_b64encode(signed).rstrip(b'=').decode()}"
    with pytest.raises(InvalidTokenError):
        await published.verify(forged)


async def test_a_key_that_nobody_published_is_refused(published):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for headers in ({"kid": "k"}, {"kid": "unknown"}, {}):
        with pytest.raises(InvalidTokenError):
            await published.verify(token(other, "RS256", headers=headers))
    elliptic = token(ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "k"})
    for forged in (elliptic, unsigned("none"), token(headers={"kid": "k"})):
        with pytest.raises(InvalidTokenError):
            await published.verify(forged)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"jwt_secret": SECRET, "jwt_jwks_url": "https://issuer.invalid/keys"},
        {"jwt_secret": "short"},
    ],
)
def test_it_starts_with_one_good_source_of_trust_only(settings):
    with pytest.raises(ValueError, match="JWT_SECRET"):
        TokenVerifier(AuthSettings(**settings))


@pytest.mark.parametrize(
    ("header", "found"),
    [("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER  abc ", "abc")],
)
def test_the_header_holds_the_token(header, found):
    assert bearer_token(header) == found


@pytest.mark.parametrize("header", [None, "", "abc", "Bearer", "Bearer ", "Basic abc", "Token abc"])
def test_other_headers_are_refused(header):
    with pytest.raises(InvalidTokenError):
        bearer_token(header)
