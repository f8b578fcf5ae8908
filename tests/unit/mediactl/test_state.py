import stat

import pytest
from mediactl.devstack.processes import ProcessRef
from mediactl.devstack.state import State
from mediactl.errors import MediactlError


def test_what_was_remembered_is_found_by_the_next_command(tmp_path):
    first = State(tmp_path / "state.json")
    secret = first.secret("jwt_secret")
    first.provider = "native"
    first.remember_port("kafka", 20_001)
    first.remember_process("kafka", ProcessRef(1, 2))

    second = State(tmp_path / "state.json")

    assert second.secret("jwt_secret") == secret
    assert second.provider == "native"
    assert second.port("kafka") == 20_001
    assert second.process("kafka") == ProcessRef(1, 2)


def test_only_the_owner_can_read_the_file(tmp_path):
    State(tmp_path / "state.json").secret("jwt_secret")

    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600


def test_secrets_differ_and_are_long(tmp_path):
    state = State(tmp_path / "state.json")

    assert state.secret("a") != state.secret("b")
    assert len(state.secret("a")) >= 32


def test_looking_writes_nothing(tmp_path):
    state = State(tmp_path / "state.json")

    assert state.provider is None
    assert state.known_secret("jwt_secret") is None
    assert not state.exists


@pytest.mark.parametrize("text", ["{", '{"version": 99}'])
def test_a_file_that_cannot_be_understood_says_what_to_do(tmp_path, text):
    (tmp_path / "state.json").write_text(text)

    with pytest.raises(MediactlError, match="remove the file"):
        State(tmp_path / "state.json")


def test_a_process_of_another_start_time_is_not_running(tmp_path):
    state = State(tmp_path / "state.json")
    state.remember_process("kafka", ProcessRef(1, 123_456_789))

    assert state.running() == []
