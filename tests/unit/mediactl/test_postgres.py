import pytest
from mediactl.devstack.native import PostgresServer


@pytest.mark.parametrize(("environ", "value"), [({}, "on"), ({"POSTGRES_FSYNC": "off"}, "off")])
def test_a_database_outlives_a_power_cut_unless_that_is_given_up(tmp_path, environ, value):
    server = PostgresServer(
        binaries=tmp_path, data=tmp_path, log_file=tmp_path / "postgres.log", port=1, password="p",
        environ=environ,
    )  # fmt: skip
    assert f"fsync={value}" in server.command().argv
