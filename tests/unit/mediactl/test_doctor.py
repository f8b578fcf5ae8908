import pytest
from mediactl.devstack import doctor


@pytest.fixture
def path(monkeypatch, tmp_path):
    """A PATH with nothing but a docker."""
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho Docker Compose version v2.40\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def names(provider):
    return {finding.name: finding.ok for finding in doctor.examine(provider, {})}


def test_containers_need_docker_alone(path):
    assert names("compose") == {"docker compose": True}
    (path / "docker").unlink()
    assert names("compose") == {"docker compose": False}


def test_servers_of_ones_own_need_no_servers_here():
    assert set(names("env")) == {"ffmpeg", "bubblewrap", "sandbox"}
    assert set(names("native")) > {*names("env"), "prometheus"}
