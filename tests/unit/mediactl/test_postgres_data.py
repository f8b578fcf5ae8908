"""Where a cluster of PostgreSQL is made: never where an earlier one may lie."""

from pathlib import Path

import pytest
from mediactl.devstack.native import postgres
from mediactl.errors import MediactlError


@pytest.fixture
def unreachable(monkeypatch):
    monkeypatch.setattr(postgres, "_is_reachable", lambda directory: False)


def test_the_cluster_lies_in_the_home_where_its_account_reaches_it(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "_is_reachable", lambda directory: True)

    assert postgres.new_data_directory(tmp_path / "home") == tmp_path / "home/data/postgres"


def test_each_cluster_outside_has_a_directory_of_its_own(tmp_path, unreachable):
    first = postgres.new_data_directory(tmp_path / "home", outside=tmp_path)
    first.mkdir()
    (first / "PG_VERSION").touch()  # of a home that was removed by hand

    second = postgres.new_data_directory(tmp_path / "home", outside=tmp_path)

    assert second.parent != first.parent
    assert not second.exists()
    assert second.parent.stat().st_mode & 0o777 == 0o711
    postgres.remove_outside_data(tmp_path / "home", str(second))
    assert not second.parent.exists()
    assert (first / "PG_VERSION").exists()


def test_a_cluster_whose_password_is_lost_is_refused_with_a_way_out(tmp_path):
    kept: Path = tmp_path / "home/data/postgres"
    kept.mkdir(parents=True)

    with pytest.raises(MediactlError, match="down --wipe"):
        postgres.new_data_directory(tmp_path / "home")
