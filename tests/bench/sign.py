"""Sign requests per second, against a bare handler in a process of its own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from bench.report import Row
from bench.stack import free_port, token

_REQUESTS = 2500
_BODY = json.dumps({"fileName": "holiday.mp4", "size": 4139823, "type": "video/mp4"})


def run(rounds: int) -> list[Row]:
    """Return our rate over the bare one, in paired rounds."""
    ours_url = f"{os.environ['MEDIA_API_URL']}/api/media/sign"
    bearer = token(uuid4())
    with _bare() as bare_url:
        for url in (ours_url, bare_url):
            _rate(url, bearer, 500)
        pairs = []
        for number in range(rounds):
            urls = (ours_url, bare_url)
            rates = {url: _rate(url, bearer, _REQUESTS) for url in urls[:: 1 - 2 * (number % 2)]}
            pairs.append((rates[ours_url], rates[bare_url]))
    ratios = [ours / bare for ours, bare in pairs]
    return [
        Row(
            name="sign: requests/s at 16 connections",
            ours=f"{statistics.median(ours for ours, _ in pairs):.0f}/s",
            other=f"{statistics.median(bare for _, bare in pairs):.0f}/s bare FastAPI+asyncpg",
            ratios=ratios,
            target="at least 0.9",
        )
    ]


def _rate(url: str, bearer: str, requests: int) -> float:
    command = [sys.executable, str(Path(__file__).with_name("load.py")), url, _BODY, bearer]
    done = subprocess.run([*command, str(requests)], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


@contextmanager
def _bare() -> Iterator[str]:
    port = free_port()
    program = Path(__file__).with_name("bare_sign.py")
    with subprocess.Popen([sys.executable, str(program), str(port)]) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/openapi.json")
            yield f"http://127.0.0.1:{port}/api/media/sign"
        finally:
            server.terminate()


def _wait(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{url} did not come up")
