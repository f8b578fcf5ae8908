import pytest
from mediactl.errors import MissingToolsError
from mediactl.native import packages
from mediactl.native.minio_build import is_new_enough
from mediactl.native.packages import Requirement


@pytest.mark.parametrize(
    ("line", "enough"),
    [
        ("go version go1.27.3 linux/amd64", True),
        ("go version go1.24.8 linux/amd64", True),
        ("go version go1.24.7 linux/amd64", False),
        ("go version go1.19.8 linux/amd64", False),
        ("go version go1.25rc1 linux/amd64", True),
        ("go version devel", False),
    ],
)
def test_only_a_go_that_can_build_minio_is_used(line, enough):
    assert is_new_enough(line) is enough


def test_everything_missing_is_listed_at_once_with_one_command(monkeypatch):
    monkeypatch.setattr(packages, "may_install", lambda: False)
    monkeypatch.setattr(packages.shutil, "which", lambda _: "/usr/bin/apt-get")
    lacking = [Requirement(name, name[:2], lambda: None) for name in ("postgresql", "maven")]

    with pytest.raises(MissingToolsError) as raised:
        packages.check_installable(lacking)

    message = str(raised.value)
    assert "postgresql: po" in message
    assert "maven: ma" in message
    assert "apt-get install -y --no-install-recommends maven postgresql" in message
    assert raised.value.exit_code == 3


def test_nothing_missing_needs_no_rights(monkeypatch):
    monkeypatch.setattr(packages, "may_install", lambda: False)

    packages.check_installable([])
