from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt
import pytest
from mediactl.commands.token import token
from mediactl.devstack.state import State
from mediactl.errors import MediactlError, UsageError
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


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout in which ``docker compose`` runs a stack by hand."""
    mark = tmp_path / "deploy" / "local" / "pom.xml"
    mark.parent.mkdir(parents=True)
    mark.touch()
    (tmp_path / ".env").write_text(f"# by hand\n\nMINIO_PORT=9900\nJWT_SECRET='{SECRET}'\n")
    monkeypatch.setenv("MEDIACTL_ROOT", str(tmp_path))
    monkeypatch.setenv("MEDIACTL_HOME", str(tmp_path / ".mediactl"))
    return tmp_path


def test_a_stack_by_hand_takes_tokens_signed_with_the_secret_of_its_env_file(checkout, capsys):
    State(checkout / ".mediactl" / "state.json").secret("jwt_secret")  # of a stack that is down

    token(COMPANY)

    assert claims_of(capsys.readouterr().out.strip())["company_id"] == COMPANY


def test_a_stack_of_mediactls_own_that_is_up_comes_before_one_by_hand(checkout, capsys):
    state = State(checkout / ".mediactl" / "state.json")
    secret = state.secret("jwt_secret")
    state.provider = "native"

    token(COMPANY)

    claims_of(capsys.readouterr().out.strip(), secret)
