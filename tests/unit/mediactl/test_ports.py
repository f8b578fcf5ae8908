import pytest
from mediactl.devstack.ports import choose_port, is_free
from mediactl.errors import MediactlError


def choose(environ=None, remembered=None, taken=(), occupied=()):
    return choose_port(
        "minio",
        environ=environ or {},
        remembered=remembered,
        taken=taken,
        free=lambda port: port not in occupied,
    )


def test_a_port_of_the_environment_wins():
    assert choose({"MINIO_PORT": "9000"}, remembered=20_001) == 9000


def test_a_port_of_the_environment_that_is_in_use_is_refused():
    with pytest.raises(MediactlError, match="Port 9000 of MINIO_PORT is in use"):
        choose({"MINIO_PORT": "9000"}, occupied={9000})


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "9000 "])
def test_a_variable_that_is_no_port_is_refused(text):
    with pytest.raises(MediactlError, match="MINIO_PORT must be a port"):
        choose({"MINIO_PORT": text})


def test_a_restart_keeps_its_port():
    assert choose(remembered=20_001) == 20_001


@pytest.mark.parametrize("obstacle", [{"taken": {20_001}}, {"occupied": {20_001}}])
def test_a_remembered_port_that_others_have_is_given_up(obstacle):
    port = choose(remembered=20_001, **obstacle)

    assert port != 20_001
    assert is_free(port)


def test_chosen_ports_lie_below_those_of_outgoing_connections():
    assert all(20_000 <= choose() < 32_000 for _ in range(20))
