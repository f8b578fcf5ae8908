from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt
import pytest
from mediactl.errors import MediactlError, UsageError
from mediactl.state import State
from mediactl.tokens import local_token, mint_token

COMPANY = "0d0e5f6e-1111-4222-8333-123456789012"
SECRET = "s" * 32


@pytest.fixture
def state(tmp_path):
    return State(tmp_path / "state.json")


def claims_of(token, secret=SECRET):
    return jwt.decode(
        token, secret, algorithms=["HS256"], audience="media-pipeline", issuer="media-pipeline"
    )


def test_a_token_says_who_for_what_and_until_when():
    now = datetime.now(UTC).replace(microsecond=0)

    claims = claims_of(
        mint_token(secret=SECRET, company_id=UUID(COMPANY), now=now, ttl_seconds=60, subject="me")
    )

    assert claims == {
        "sub": "me",
        "company_id": COMPANY,
        "permissions": ["media:upload", "media:read"],
        "aud": "media-pipeline",
        "iss": "media-pipeline",
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(seconds=60)).timestamp()),
    }


def test_the_stack_signs_with_its_own_secret(state):
    secret = state.secret("jwt_secret")

    assert claims_of(local_token(state, {}, company=COMPANY), secret)["company_id"] == COMPANY


def test_a_secret_of_the_environment_wins(state):
    state.secret("jwt_secret")

    claims_of(local_token(state, {"JWT_SECRET": SECRET}, company=COMPANY))


@pytest.mark.parametrize("company", ["", "acme", "0d0e5f6e"])
def test_a_company_that_is_no_uuid_is_refused(state, company):
    with pytest.raises(UsageError, match="must be a UUID"):
        local_token(state, {"JWT_SECRET": SECRET}, company=company)


@pytest.mark.parametrize("ttl", [0, -1, 10**12])
def test_a_time_to_live_out_of_bounds_is_refused(state, ttl):
    with pytest.raises(UsageError, match="--ttl"):
        local_token(state, {"JWT_SECRET": SECRET}, company=COMPANY, ttl_seconds=ttl)


def test_without_a_stack_there_is_no_token(state):
    with pytest.raises(MediactlError, match="mediactl up"):
        local_token(state, {}, company=COMPANY)
