"""
HTTP clients for tests that ask often.

They trust what any client does, read once: httpx reads all authorities of the world anew for
each client, which costs more than most questions.
"""

from __future__ import annotations

from typing import Any

import httpx

_TRUST = httpx.create_ssl_context()


def web(**settings: Any) -> httpx.AsyncClient:
    """Return a client that no variable of the environment leads elsewhere."""
    return httpx.AsyncClient(**{"trust_env": False, "verify": _TRUST, **settings})


def get(url: str, **settings: Any) -> httpx.Response:
    """Ask for *url* once."""
    return httpx.get(url, trust_env=False, verify=_TRUST, **settings)


def post(url: str, **settings: Any) -> httpx.Response:
    """Send to *url* once."""
    return httpx.post(url, trust_env=False, verify=_TRUST, **settings)
