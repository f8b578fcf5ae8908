import pytest
from mediactl.devstack.home import Home
from mediactl.devstack.native import packages
from mediactl.devstack.native.install import _requirements
from mediactl.devstack.native.minio_build import is_new_enough
from mediactl.devstack.native.packages import Requirement
from mediactl.errors import MissingToolsError
from mediactl.progress import SilentProgress


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


def test_everything_that_a_native_stack_runs_is_asked_for(tmp_path):
    root = Home.from_environment().root
    wanted = {one.package for one in _requirements(Home(tmp_path, tmp_path, root))}

    assert wanted == {
        *("ffmpeg", "bubblewrap", "postgresql", "default-jre-headless", "maven"),
        *("prometheus", "prometheus-alertmanager", "nginx", "libnginx-mod-http-js"),
    }


@pytest.fixture
def debian(monkeypatch, tmp_path):
    """A system of its own whose apt installs services, as Debian's does, and asks first."""
    commands = tmp_path / "commands"
    units, policy = tmp_path / "system", tmp_path / "policy-rc.d"
    units.mkdir()
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    (bin_directory / "apt-get").write_text(
        "#!/bin/sh\n"
        'case "$*" in *install*) ;; *) exit 0 ;; esac\n'
        "for service in prometheus prometheus-alertmanager other; do\n"
        f"    touch {units}/$service.service {tmp_path}/is-there\n"
        f"    if {policy} $service.service start; then echo started $service >>{commands}; fi\n"
        f"    if {policy} $service start; then echo started $service >>{commands}; fi\n"
        "done\n"
    )
    (bin_directory / "update-rc.d").write_text(f'#!/bin/sh\necho "$*" >>{commands}\n')
    for program in bin_directory.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_directory}:/usr/bin:/bin")
    monkeypatch.setattr(packages, "_POLICY", policy)
    monkeypatch.setattr(packages, "_UNITS", (units,))
    return tmp_path


def install(debian):
    is_there = debian / "is-there"
    lacking = [
        Requirement(name, "", lambda: is_there if is_there.exists() else None, service=name)
        for name in ("prometheus", "prometheus-alertmanager")
    ]
    packages.install(lacking, Home(debian, debian, debian), SilentProgress())
    return (debian / "commands").read_text().splitlines()


def test_services_that_packages_bring_along_are_neither_started_nor_enabled(debian):
    done = install(debian)

    assert done == [
        *("started other", "started other"),
        *("prometheus disable", "prometheus-alertmanager disable"),
    ]
    assert not (debian / "policy-rc.d").exists()


def test_a_policy_of_the_system_stays_as_it_is(debian):
    policy = debian / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)

    assert install(debian) == ["prometheus disable", "prometheus-alertmanager disable"]
    assert policy.read_text() == "#!/bin/sh\nexit 101\n"


def test_a_service_of_the_system_that_was_there_before_is_left_alone(debian):
    (debian / "system" / "prometheus.service").touch()

    done = install(debian)

    assert "prometheus disable" not in done
    assert "prometheus-alertmanager disable" in done
