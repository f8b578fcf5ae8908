import importlib.machinery
import importlib.util
import subprocess
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[3] / "mediactl"


@pytest.fixture
def launcher(monkeypatch, tmp_path):
    loader = importlib.machinery.SourceFileLoader("mediactl_launcher", str(LAUNCHER))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "LOCK", tmp_path / "requirements.lock")
    return module


def pip_says(monkeypatch, launcher, text):
    done = subprocess.CompletedProcess([], 0, stdout=text)
    monkeypatch.setattr(launcher.subprocess, "run", lambda *_, **__: done)


def test_uv_is_told_what_pip_is_configured_with(monkeypatch, launcher, tmp_path):
    monkeypatch.setattr(launcher.os, "environ", {"PATH": "/bin"})
    pip_says(
        monkeypatch,
        launcher,
        f"global.index-url='https://mirror/simple'\nglobal.cert='/ca.pem'\n"
        f":env:.find-links='{tmp_path} /not/there'\n:env:.index-url='https://nearer/simple'\n",
    )

    env = launcher.uv_environment()

    assert env["UV_DEFAULT_INDEX"] == "https://nearer/simple"
    assert env["UV_FIND_LINKS"] == str(tmp_path)
    assert env["SSL_CERT_FILE"] == "/ca.pem"
    assert env["PATH"] == "/bin"


def test_what_uv_was_told_itself_wins(monkeypatch, launcher):
    monkeypatch.setattr(launcher.os, "environ", {"UV_DEFAULT_INDEX": "https://own/simple"})
    pip_says(monkeypatch, launcher, "global.index-url='https://mirror/simple'\n")

    assert launcher.uv_environment()["UV_DEFAULT_INDEX"] == "https://own/simple"


@pytest.mark.parametrize("changed", ["requirements.lock", "libs/a/pyproject.toml"])
def test_the_stamp_changes_with_what_the_environment_depends_on(launcher, tmp_path, changed):
    (tmp_path / "libs/a").mkdir(parents=True)
    (tmp_path / "libs/a/pyproject.toml").write_text("a")
    (tmp_path / "requirements.lock").write_text("a")
    before = launcher.wanted_stamp()

    (tmp_path / changed).write_text("b")

    assert launcher.wanted_stamp() != before


def test_a_checkout_without_its_lock_file_is_refused(launcher):
    with pytest.raises(SystemExit, match="missing"):
        launcher.wanted_stamp()


def test_an_old_python_is_told_so(monkeypatch, launcher):
    monkeypatch.setattr(launcher.sys, "version_info", (3, 9, 2, "final", 0))

    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer, this is 3\.9"):
        launcher.main()
