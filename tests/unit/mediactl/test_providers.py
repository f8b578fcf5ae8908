import pytest
from mediactl.devstack import providers
from mediactl.devstack.endpoints import local_endpoints
from mediactl.devstack.state import State
from mediactl.errors import UsageError

OWN_SERVERS = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "DATABASE_URL": "postgresql://admin:pw@db/media",
    "S3_ENDPOINT_URL": "http://s3:9000",
    "S3_ACCESS_KEY": "key",
    "S3_SECRET_KEY": "secret",
}


@pytest.fixture
def state(tmp_path):
    return State(tmp_path / "state.json")


def choose(state, environ, wanted=None, *, docker=False):
    return providers.choose_provider(state, environ, wanted=wanted, docker_works=lambda: docker)


def test_servers_of_the_environment_come_first(state):
    assert choose(state, OWN_SERVERS, docker=True) == "env"


def test_docker_comes_before_native(state):
    assert choose(state, {}, docker=True) == "compose"
    assert choose(state, {}, docker=False) == "native"


@pytest.mark.parametrize("missing", OWN_SERVERS)
def test_some_of_the_variables_without_the_others_is_an_error_that_names_them(state, missing):
    environ = {name: value for name, value in OWN_SERVERS.items() if name != missing}

    with pytest.raises(UsageError, match=f"but not {missing}:"):
        choose(state, environ)


def test_an_option_wins_over_the_environment_variable(state):
    assert choose(state, {"MEDIACTL_PROVIDER": "compose"}) == "compose"
    assert choose(state, {"MEDIACTL_PROVIDER": "compose"}, "native") == "native"


def test_an_unknown_provider_is_refused(state):
    with pytest.raises(UsageError, match="There is no provider 'podman'"):
        choose(state, {}, "podman")


def test_a_running_stack_keeps_its_provider(state):
    state.provider = "native"

    assert choose(state, OWN_SERVERS, docker=True) == "native"


def test_another_provider_beside_a_running_stack_is_refused(state):
    state.provider = "compose"

    with pytest.raises(UsageError, match="run 'mediactl down'"):
        choose(state, {}, "native")


def test_whoever_sourced_the_stacks_own_env_file_still_gets_the_stack(state):
    for name in ("kafka", "postgres", "minio"):
        state.remember_port(name, 20_001)

    assert choose(state, local_endpoints(state).variables()) == "native"
