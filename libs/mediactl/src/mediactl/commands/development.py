"""The commands for developers: test, bench, lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from mediactl import stack
from mediactl.credentials import stack_credentials
from mediactl.endpoints import endpoints_from_environment
from mediactl.home import Home
from mediactl.progress import progress_on
from mediactl.providers import COMPOSE, NATIVE
from mediactl.state import State, exclusive

_CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
    ("mediactl", "audit"),
)
_LOCK = ("pip", "compile", "--universal", "--generate-hashes", "--python-version", "3.11",
         "--no-header", "--no-annotate", "--quiet")  # fmt: skip

# Tests that kill workers wait for their leases, and for the watcher to notice what was lost.
_QUICK = {
    "INGEST_LEASE_SECONDS": "5",
    "INGEST_HEARTBEAT_SECONDS": "1",
    "INGEST_REOPEN_SECONDS": "5",
    "WATCHER_WATCH_INTERVAL_SECONDS": "2",
    "WATCHER_RECONCILE_AFTER_SECONDS": "3",
    "WATCHER_STUCK_SECONDS": "8",
    "WATCHER_BUCKET_VERIFY_SECONDS": "3",
    # All tests come from one address.
    "EDGE_REQUESTS_PER_SECOND": "100000",
    "EDGE_CONNECTIONS_PER_ADDRESS": "20000",
    # Tests wait until Prometheus has seen something.
    "PROMETHEUS_SCRAPE_SECONDS": "1",
}

_OF_CONTAINERS = ("tests/e2e/test_main_job.py", "tests/containers")

# A benchmark is one company that asks for as much as there is, beside services as they come.
_UNLIMITED = {
    "SIGN_API_COMPANY_OPEN_GRANTS": "1000000000",
    "SIGN_API_COMPANY_REQUESTS_PER_MINUTE": "1000000000",
    "EDGE_REQUESTS_PER_SECOND": "1000000",
    "EDGE_CONNECTIONS_PER_ADDRESS": "20000",
}

PytestArguments = Annotated[list[str] | None, typer.Argument(metavar="[PYTEST ARGS]")]


def test(arguments: PytestArguments = None) -> None:  # noqa: PT028 - a command, no test
    """
    Run linters, type checks, import rules and all tests, against stacks of their own.

    They are native ones, as tests kill and freeze processes. With CONTAINERS=1 one in containers
    is tested instead, as far as containers are what makes the difference.
    """
    home = Home.from_environment()
    if os.environ.get("CONTAINERS") == "1":
        with _test_stack(home, _QUICK, name="containers", provider=COMPOSE) as environment:
            code = _pytest(home, arguments or list(_OF_CONTAINERS), environment)
    elif arguments:
        with _test_stack(home, _QUICK) as environment:
            code = _pytest(home, arguments, environment)
    else:
        code = _test_all(home)
    raise typer.Exit(code)


def _test_all(home: Home) -> int:
    with ThreadPoolExecutor(1) as beside, ExitStack() as stacks:
        checks = beside.submit(_failed_checks, home)
        one = _test_stack(home, _QUICK)
        environments = [stacks.enter_context(one)]
        phases: list[list[str]] = [[]]
        if one.provider == NATIVE and os.environ.get("TEST_STACKS_AT_ONCE") != "1":
            # Tests wait more than they compute, and some kill servers: two run at a time, each
            # with a stack of its own. Those that compare times come last, one after the other.
            environments.append(stacks.enter_context(_test_stack(home, _QUICK, name="test-2")))
            two = ["-n2", "--dist=loadfile", "--no-loadscope-reorder"]
            phases = [[*two, "-m", "not alone"], ["-m", "alone"]]
        failed = checks.result()
        environment = {**environments[0], "TEST_STACKS": json.dumps(environments)}
        code = _pytest_phases(home, phases, environment)
    for check in failed:
        sys.stdout.write(f"FAILED: {check}\n")
    return code or (1 if failed else 0)


def _pytest_phases(home: Home, phases: list[list[str]], environment: Mapping[str, str]) -> int:
    worst = 0
    for words in phases:
        code = _pytest(home, words, environment)
        worst = worst or code
        if code not in {0, 1}:  # it was ended, rather than red
            break
    return worst


def _pytest(home: Home, words: list[str], environment: Mapping[str, str]) -> int:
    command = [sys.executable, "-m", "pytest", *words]
    return _run(command, home.root, environment)


def _run(command: list[str], root: Path, environment: Mapping[str, str] | None = None) -> int:
    """
    Run *command* to its end and return its code.

    One that is to end before, by Ctrl-C, which reaches both, or by SIGTERM, is waited for: it has
    programs of its own to stop, and this process has a stack.
    """
    with subprocess.Popen(command, cwd=root, env=environment) as running:
        signal.signal(signal.SIGTERM, lambda *_: running.terminate())
        try:
            return running.wait()
        except KeyboardInterrupt:
            running.wait()
            raise


def _failed_checks(home: Home) -> list[str]:
    return [" ".join(check) for check in _CHECKS if not _check(home, check)]


def bench(arguments: PytestArguments = None) -> None:
    """Run tests/bench on a new stack of its own and print a table of ratios."""
    home = Home.from_environment()
    with _test_stack(home, _UNLIMITED, name="bench", wiped=True) as environment:
        command = [sys.executable, str(home.root / "tests" / "bench"), *(arguments or [])]
        code = _run(command, home.root, environment)
    raise typer.Exit(code)


def chaos(arguments: PytestArguments = None) -> None:
    """Play fault scenarios on a stack of its own: [SCENARIO…] [--full] [--seed N]."""
    home = Home.from_environment()
    command = [sys.executable, str(home.root / "tests" / "chaos"), *(arguments or [])]
    raise typer.Exit(_run(command, home.root))


def lock() -> None:
    """Write requirements.lock, whole and for each service, with hashes."""
    root = Home.from_environment().root
    members = sorted([*root.glob("libs/*/pyproject.toml"), *root.glob("services/*/pyproject.toml")])
    projects = [str(member.relative_to(root)) for member in members]
    _compile(root, [*projects, "--group", "pyproject.toml:dev"], "requirements.lock")
    for member in root.glob("services/*/pyproject.toml"):
        _compile(
            root,
            [str(member.relative_to(root))],
            f"services/{member.parent.name}/requirements.lock",
        )
    records = "libs/records"
    provision = [f"{records}/pyproject.toml", "--extra", "provision"]
    _compile(root, provision, f"{records}/requirements.lock")


def _compile(root: Path, inputs: list[str], target: str) -> None:
    ours = [f"--no-emit-package={name}" for name in _member_names(root)]
    uv = Home.from_environment().tools / "uv" / "bin" / "uv"  # the launcher's own
    subprocess.run([uv, *_LOCK, *ours, *inputs, "-o", target], cwd=root, check=True)


def _member_names(root: Path) -> list[str]:
    folders = [*root.glob("libs/*/pyproject.toml"), *root.glob("services/*/pyproject.toml")]
    names = {"contracts": "media-contracts", "records": "media-records", "runtime": "media-runtime"}
    return [names.get(path.parent.name, path.parent.name.replace("_", "-")) for path in folders]


def _check(home: Home, command: tuple[str, ...]) -> bool:
    program, *rest = command
    done = subprocess.run(
        [_tool(program), *rest], cwd=home.root, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    # Whole, as the stack's start is told of meanwhile.
    sys.stdout.write(f"$ {' '.join(command)}\n{done.stdout}")
    sys.stdout.flush()
    return done.returncode == 0


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


class _test_stack:  # noqa: N801 - used as a context manager only
    """
    A stack apart from the person's own: its ports, data and secrets lie in .mediactl/*name*.

    One that is *wiped* begins with nothing: what another run left would cost the watcher time.
    """

    def __init__(
        self,
        home: Home,
        settings: Mapping[str, str],
        *,
        name: str = "test",
        wiped: bool = False,
        provider: str = NATIVE,
    ) -> None:
        self._environment = {
            **settings,
            **({} if endpoints_from_environment(os.environ) else {"MEDIACTL_PROVIDER": provider}),
            **os.environ,
            "MEDIACTL_HOME": str(home.path / name),
            "MEDIACTL_TOOLS": str(home.tools),
            "MEDIACTL_ROOT": str(home.root),
        }
        self._home = Home.from_environment(self._environment)
        self._wiped = wiped

    @property
    def provider(self) -> str | None:
        """Where its servers come from, once it is up."""
        return State(self._home.state_file).provider

    def __enter__(self) -> dict[str, str]:
        os.environ.update(self._environment)
        with exclusive(self._home.lock_file), progress_on() as progress:
            if self._wiped:
                stack.down(self._home, progress)
                stack.wipe(self._home)
            # What another run was given is not this one's.
            State(self._home.state_file).remember_settings({})
            variables = stack.up(self._home, progress)
        # Roles belong to the whole server: a test that migrates another database keeps them.
        passwords = stack_credentials(State(self._home.state_file), os.environ)
        return {**self._environment, **variables, **passwords.password_variables()}

    def __exit__(self, *_: object) -> None:
        with exclusive(self._home.lock_file), progress_on() as progress:
            stack.down(self._home, progress)
