"""The running stack as the benchmarks see it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import httpx
from mediactl.client import MediaClient
from mediactl.tokens import DEFAULT_PERMISSIONS, mint_token

_CONNECTIONS = 12


def token(company: UUID, *permissions: str) -> str:
    """Return a bearer token of *company*, with these permissions or the usual ones."""
    return mint_token(
        secret=os.environ["JWT_SECRET"],
        company_id=company,
        now=datetime.now(UTC),
        permissions=permissions or DEFAULT_PERMISSIONS,
    )


def client(company: UUID | None = None) -> MediaClient:
    """Return a client of a company of its own."""
    return MediaClient(os.environ["MEDIA_URL"], token(company or uuid4()))


def variable(name: str) -> str:
    """Return what the stack has published."""
    return os.environ[name]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def others_cpu() -> float:
    """Return the CPU-seconds that all processes but this one have taken since the start."""
    line = Path("/proc/stat").read_text().splitlines()[0]
    user, nice, system, _, _, irq, softirq = map(int, line.split()[1:8])
    busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return busy - time.process_time()


async def drop(company: UUID, assets: Iterable[str]) -> None:
    """Delete what is left, so that the next round begins with nothing."""
    at_once = asyncio.Semaphore(_CONNECTIONS)
    headers = {"Authorization": f"Bearer {token(company)}"}
    async with httpx.AsyncClient(base_url=variable("MEDIA_URL"), headers=headers) as http:

        async def one(asset_id: str) -> None:
            async with at_once:
                (await http.delete(f"/api/media/assets/{asset_id}")).raise_for_status()

        await asyncio.gather(*map(one, assets))
