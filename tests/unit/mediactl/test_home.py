"""What lies in a stack's home is its owner's alone."""

from __future__ import annotations

import os
import stat

from mediactl.devstack.home import Home

from support.modes import readable_by_others


def test_what_an_earlier_version_left_open_is_closed(tmp_path):
    tmp_path.chmod(0o755)
    home = Home(path=tmp_path / "home", tools=tmp_path / "tools", root=tmp_path)
    for file in ("state.json", "logs/ingest.log", "data/minio/photo.jpg", "data/kafka/log/0"):
        (home.path / file).parent.mkdir(parents=True, exist_ok=True)
        (home.path / file).touch()
    for entry in (home.path, *home.path.rglob("*")):
        entry.chmod(0o755)
    assert readable_by_others(home.path)

    home.create()

    assert readable_by_others(home.path) == []


def test_the_account_that_root_lends_the_database_gets_through_to_its_data_alone(tmp_path):
    home = Home(path=tmp_path / "home", tools=tmp_path / "tools", root=tmp_path)

    home.create()

    way = 0o711 if os.geteuid() == 0 else 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (home.path, home.data)} == {way}
    assert stat.S_IMODE(home.logs.stat().st_mode) == 0o700
