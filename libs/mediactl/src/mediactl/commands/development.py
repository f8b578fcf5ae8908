"""The commands for developers: test, bench, generate, lock."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from mediactl.devstack import stack
from mediactl.devstack.credentials import stack_credentials
from mediactl.devstack.endpoints import endpoints_from_environment
from mediactl.devstack.foreground import Foreground
from mediactl.devstack.home import Home
from mediactl.devstack.providers import COMPOSE, NATIVE
from mediactl.devstack.state import State, exclusive
from mediactl.progress import progress_on
from mediactl.repository import generated, sdk, supply

_CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
    ("mediactl", "audit"),
)
_LOCK = ("pip", "compile", "--universal", "--generate-hashes", "--python-version", "3.11",
         "--no-header", "--no-annotate", "--quiet")  # fmt: skip

# A tool of developers may hold a version back: what services ship is what was audited and tested.
_AS_AUDITED = ("--constraint", "requirements.lock")

# Endpoints of tests are on this machine.
_HERE = {
    "SIGN_API_WEBHOOK_INSIDE": "127.0.0.1/32",
    "NOTIFIER_WEBHOOK_INSIDE": "127.0.0.1/32",
}

# Tests of single parts do not wait for the watcher: looking seldom, it takes their time least.
_CALM = {
    **_HERE,
    # All tests come from one address.
    "EDGE_REQUESTS_PER_SECOND": "100000",
    "EDGE_CONNECTIONS_PER_ADDRESS": "20000",
    # Many tests have a database of their own, and none cuts the power.
    "POSTGRES_FSYNC": "off",
}

# Tests that kill workers wait for their leases, and for the watcher to notice what was lost.
_QUICK = {
    **_CALM,
    "INGEST_LEASE_SECONDS": "7",
    "INGEST_HEARTBEAT_SECONDS": "1",
    "INGEST_PICTURES_LEASE_SECONDS": "15",
    "WATCHER_WATCH_INTERVAL_SECONDS": "2",
    "WATCHER_RECONCILE_AFTER_SECONDS": "3",
    "WATCHER_STUCK_SECONDS": "8",
    "WATCHER_BUCKET_VERIFY_SECONDS": "20",
    "NOTIFIER_WEBHOOK_SECONDS": "3",
    # Tests wait until Prometheus has seen something.
    "PROMETHEUS_SCRAPE_SECONDS": "3",
    "PROMETHEUS_ALERT_SECONDS": "5",
}

# Without servers, or with some of their own.
_BESIDE = ("tests/unit", "tests/contract", "tests/exactness", "tests/chaos/test_scenarios.py")
_OF_PARTS = "tests/integration"
_OF_CONTAINERS = ("tests/e2e/test_main_job.py", "tests/containers")

# A benchmark is one company that asks for as much as there is, beside services as they come.
_UNLIMITED = {
    **_HERE,
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
            words = arguments or []
            named = any((home.root / word.partition("::")[0]).exists() for word in words)
            tests = () if named else _OF_CONTAINERS
            code = Foreground(home.root).run(_pytest(*words, *tests), environment)
    elif arguments:
        with _test_stack(home, _QUICK) as environment:
            code = Foreground(home.root).run(_pytest(*arguments), environment)
    else:
        code = _test_all(home)
    raise typer.Exit(code)


def _test_all(home: Home) -> int:
    """
    Run everything: on the whole system, on its parts, and on no stack, at the same time.

    Tests on a stack wait more than they compute. Those that compare times come last, alone.
    """
    foreground, plain = Foreground(home.root), dict(os.environ)
    with ThreadPoolExecutor() as executor, ExitStack() as stacks:
        beside = [executor.submit(_run_beside, foreground, plain)]
        try:
            # Tests of the system kill its parts, so those of single parts have others.
            whole, parts = _test_stack(home, _QUICK), _test_stack(home, _CALM, name="test-parts")
            environment = stacks.enter_context(whole)
            others = [f"--ignore={place}" for place in _BESIDE]
            shared = others
            if whole.provider == NATIVE and os.environ.get("TEST_STACKS_AT_ONCE") != "1":
                shared = [*others, f"--ignore={_OF_PARTS}"]
                others_stack = stacks.enter_context(parts)
                beside.append(executor.submit(_run_parts, foreground, others_stack))
            code = foreground.run(_pytest(*shared, "-m", "not alone"), environment)
            failed = [words for lane in beside for words in lane.result()]
            if code in {0, 1}:  # green or red, and not ended
                code = foreground.run(_pytest(*others, "-m", "alone"), environment) or code
        except BaseException:
            foreground.end()
            raise
    for words in failed:
        sys.stdout.write(f"FAILED: {words}\n")
    return code or (1 if failed else 0)


def _run_beside(foreground: Foreground, environment: Mapping[str, str]) -> list[str]:
    """Run the checks, then the tests that share no stack, and return what failed."""
    commands = {" ".join(check): [_tool(check[0]), *check[1:]] for check in _CHECKS}
    commands[f"pytest {' '.join(_BESIDE)}"] = _pytest(*_BESIDE)
    return _failed(foreground, commands, environment)


def _run_parts(foreground: Foreground, environment: Mapping[str, str]) -> list[str]:
    """Run the tests of single parts, and return what failed."""
    command = _pytest(_OF_PARTS, "-m", "not alone")
    return _failed(foreground, {f"pytest {_OF_PARTS}": command}, environment)


def _failed(
    foreground: Foreground, commands: Mapping[str, list[str]], environment: Mapping[str, str]
) -> list[str]:
    return [
        name
        for name, command in commands.items()
        if foreground.run_told_whole(name, command, environment) != 0
    ]


def _pytest(*words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *words]


def bench(arguments: PytestArguments = None) -> None:
    """Run tests/bench on a new stack of its own and print a table of ratios."""
    home = Home.from_environment()
    with _test_stack(home, _UNLIMITED, name="bench", wiped=True) as environment:
        command = [sys.executable, str(home.root / "tests" / "bench"), *(arguments or [])]
        code = Foreground(home.root).run(command, environment)
    raise typer.Exit(code)


def chaos(arguments: PytestArguments = None) -> None:
    """Play fault scenarios on a stack of its own: [SCENARIO…] [--full] [--seed N]."""
    home = Home.from_environment()
    command = [sys.executable, str(home.root / "tests" / "chaos"), *(arguments or [])]
    raise typer.Exit(Foreground(home.root).run(command))


def generate() -> None:
    """Write the files that derive from services.toml and from the contracts."""
    root = Home.from_environment().root
    for file in generated.generate(root):
        sys.stdout.write(f"{file.relative_to(root)}\n")


def generate_sdk() -> None:
    """Write the generated parts of the SDKs, from the services' OpenAPI documents."""
    home = Home.from_environment()
    root = home.root
    sdk.write_python(root / sdk.SDK_PYTHON)
    (root / sdk.TYPES).write_text(sdk.types_by_name())
    sdk.write_typescript(home, root / sdk.API_TYPESCRIPT)
    (root / sdk.TYPES_TYPESCRIPT).write_text(sdk.types_by_name_typescript())


def lock() -> None:
    """Write requirements.lock, whole and for each service, with hashes."""
    root = Home.from_environment().root
    members = sorted([*root.glob("libs/*/pyproject.toml"), *root.glob("services/*/pyproject.toml")])
    projects = [str(member.relative_to(root)) for member in members]
    _compile(root, [*projects, "--group", "pyproject.toml:dev"], "requirements.lock")
    for member in root.glob("services/*/pyproject.toml"):
        _compile(
            root,
            [str(member.relative_to(root)), *_AS_AUDITED],
            f"services/{member.parent.name}/requirements.lock",
        )
    records = "libs/records"
    provision = [f"{records}/pyproject.toml", "--extra", "provision", *_AS_AUDITED]
    _compile(root, provision, f"{records}/requirements.lock")


def _compile(root: Path, inputs: list[str], target: str) -> None:
    ours = [f"--no-emit-package={name}" for name in supply.members(root)]
    uv = Home.from_environment().tools / "uv" / "bin" / "uv"  # the launcher's own
    subprocess.run([uv, *_LOCK, *ours, *inputs, "-o", target], cwd=root, check=True)


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
        # Settings of another stack are not this one's.
        os.environ.clear()
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
