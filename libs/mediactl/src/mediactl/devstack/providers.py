"""
Who provides the infrastructure of a stack: the environment, Docker, or this machine itself.

Invariant: a stack that runs keeps its provider until ``down``.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping

from mediactl.devstack.endpoints import Endpoints, endpoints_from_environment, local_endpoints
from mediactl.devstack.home import Home
from mediactl.devstack.state import State
from mediactl.errors import UsageError

ENVIRONMENT, COMPOSE, NATIVE = "env", "compose", "native"
PROVIDERS = (ENVIRONMENT, COMPOSE, NATIVE)
_DOCKER_SECONDS = 15


def choose_provider(
    state: State,
    environ: Mapping[str, str],
    *,
    wanted: str | None,
    docker_works: Callable[[], bool],
) -> str:
    """Return the provider to use: the running one, the *wanted* one, or the first that works."""
    wanted = _checked(wanted or environ.get("MEDIACTL_PROVIDER") or None)
    current = state.provider
    if current is not None and wanted in {None, current}:
        return current
    if current == COMPOSE or (current is not None and state.running()):
        raise UsageError(
            f"This stack runs with provider {current}: run 'mediactl down' before you start it "
            f"with {wanted}."
        )
    return wanted or _first_that_works(state, environ, docker_works)


def given_endpoints(state: State, environ: Mapping[str, str]) -> Endpoints | None:
    """
    Return the endpoints of servers of the person's own, or None where none are given.

    Whoever has sourced this stack's own ``env`` file gives none: those are our servers.
    """
    given = endpoints_from_environment(environ)
    return None if given is not None and given == _own(state) else given


def can_compose(home: Home) -> bool:
    """Return whether Docker runs here, has compose, and the checkout has a compose file."""
    if not (home.root / "docker-compose.yml").exists():
        return False
    return _succeeds("docker", "info") and _succeeds("docker", "compose", "version")


def _own(state: State) -> Endpoints | None:
    return local_endpoints(state) if state.exists and state.port("kafka") else None


def _first_that_works(
    state: State, environ: Mapping[str, str], docker_works: Callable[[], bool]
) -> str:
    if given_endpoints(state, environ) is not None:
        return ENVIRONMENT
    return COMPOSE if docker_works() else NATIVE


def _checked(wanted: str | None) -> str | None:
    if wanted is not None and wanted not in PROVIDERS:
        raise UsageError(f"There is no provider {wanted!r}: use one of {', '.join(PROVIDERS)}.")
    return wanted


def _succeeds(*argv: str) -> bool:
    try:
        done = subprocess.run(argv, capture_output=True, check=False, timeout=_DOCKER_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
