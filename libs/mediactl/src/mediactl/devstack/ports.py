"""
Which port each program listens on.

Invariant: a port set in the environment is used or refused, never replaced; one that was
chosen is remembered, so that a restart keeps the addresses.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Collection, Mapping

from media_runtime.catalog import SERVICES
from mediactl.errors import MediactlError

# Below the range from which Linux takes ports for outgoing connections: a port that is free
# now is not taken by one of those before its server starts.
_RANGE = range(20_000, 32_000)

PORT_VARIABLES = {
    "kafka": "KAFKA_PORT",
    "kafka_controller": "KAFKA_CONTROLLER_PORT",
    "postgres": "POSTGRES_PORT",
    "minio": "MINIO_PORT",
    "edge": "MEDIA_PORT",
    "edge_internal": "EDGE_METRICS_PORT",
    "prometheus": "PROMETHEUS_PORT",
    "alertmanager": "ALERTMANAGER_PORT",
    "grafana": "GRAFANA_PORT",
    **{
        name: one.public.variable if one.public else f"{name.upper()}_METRICS_PORT"
        for name, one in SERVICES.items()
    },
}


def is_free(port: int) -> bool:
    """Return whether a server could listen on *port* of this machine's loopback now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_port(
    name: str,
    *,
    environ: Mapping[str, str],
    remembered: int | None,
    taken: Collection[int] = (),
    free: Callable[[int], bool] = is_free,
) -> int:
    """
    Return the port of the program *name*, which does not run yet.

    The environment wins, then what is *remembered*, then any that is free and not *taken* by
    another program of the same stack. Raises MediactlError for a wanted port in use. Only the
    first replica of a service can be wanted at a port.
    """
    wanted = _from_environment(PORT_VARIABLES.get(name, ""), environ)
    if wanted is not None:
        if not free(wanted):
            raise MediactlError(
                f"Port {wanted} of {PORT_VARIABLES[name]} is in use by another program: free "
                "it, set another, or unset the variable to have one chosen."
            )
        return wanted
    if remembered is not None and remembered not in taken and free(remembered):
        return remembered
    return free_port(taken=taken, free=free)


def free_port(*, taken: Collection[int] = (), free: Callable[[int], bool] = is_free) -> int:
    """Return a port that nobody listens on; raises MediactlError where none is left."""
    for port in random.sample(_RANGE, k=len(_RANGE)):
        if port not in taken and free(port):
            return port
    raise MediactlError("No free port between 20000 and 31999 is left on this machine.")


def _from_environment(variable: str, environ: Mapping[str, str]) -> int | None:
    text = environ.get(variable, "")
    if not text:
        return None
    if not text.isdigit() or not 0 < int(text) < 65_536:  # noqa: PLR2004 - the range of ports
        raise MediactlError(f"{variable} must be a port between 1 and 65535, not {text!r}.")
    return int(text)
