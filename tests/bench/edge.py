"""What the edge costs: uploads and files through it against storage itself, and a bare nginx."""

from __future__ import annotations

import asyncio
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from media_runtime.http.links import LinkKind, LinkSigner
from media_runtime.settings import EdgeKeySettings, StorageSettings
from media_runtime.storage.keys import output_key
from media_runtime.storage.presign import UploadSigner
from media_runtime.storage.store import ObjectStore, upload_key
from mediactl.devstack.home import Home
from mediactl.devstack.state import State

from bench.report import Row
from bench.stack import free_port, variable

_LARGE = 200_000_000
_SEGMENT = 1_000_000
_HOUR = timedelta(hours=1)
_WRK = ("wrk", "-t1", "-c16", "-d4s")


def run(rounds: int) -> list[Row]:
    """Return throughput through the edge over that without it, in paired rounds."""
    if shutil.which("wrk") is None:
        sys.exit("bench edge needs wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        return asyncio.run(_run(Path(folder), rounds))


async def _run(folder: Path, rounds: int) -> list[Row]:
    company = uuid4()
    store = ObjectStore(StorageSettings())
    bucket = await store.ensure_bucket(company, quota_bytes=10**12)
    large = folder / "large"
    large.write_bytes(bytes(_LARGE))
    rows = [
        _row("edge: upload of 200 MB", _uploads(store, bucket, company, large, rounds)),
        _row(
            "edge: 200 MB, not in the cache", await _fetches(store, bucket, company, large, rounds)
        ),
        _row(
            "edge: cached segment of 1 MB", await _segments(store, bucket, company, folder, rounds)
        ),
    ]
    store.close()
    return rows


def _row(name: str, pairs: list[tuple[float, float]]) -> Row:
    ours, other = (statistics.median(side) / 1e6 for side in zip(*pairs, strict=True))
    ratios = [ours / other for ours, other in pairs]
    return Row(name, f"{ours:.0f} MB/s", f"{other:.0f} MB/s", ratios, "at least 0.9")


def _uploads(
    store: ObjectStore, bucket: str, company: UUID, large: Path, rounds: int
) -> list[tuple[float, float]]:
    """Each upload is a grant's own, to the edge and to storage in turns."""
    signers = [
        UploadSigner(StorageSettings(), variable(n)) for n in ("MEDIA_URL", "S3_ENDPOINT_URL")
    ]

    def rate(signer: UploadSigner) -> float:
        key = upload_key(company, uuid4())
        grant = signer.grant(bucket, key, content_type="video/mp4", size=_LARGE, lifetime=_HOUR)
        rate = _curl("-T", str(large), "-H", "Content-Type: video/mp4", grant.url, what="upload")
        store._client.remove_object(bucket, key)
        return rate

    return [(rate(signers[0]), rate(signers[1])) for _ in range(rounds)]


async def _fetches(
    store: ObjectStore, bucket: str, company: UUID, large: Path, rounds: int
) -> list[tuple[float, float]]:
    pairs = []
    for number in range(3 * rounds):  # short ones, so many
        key = output_key(company, uuid4(), 1, "video.mp4")
        await store.upload(bucket, key, large, content_type="video/mp4", cache_control="no-store")
        direct = store._client.presigned_get_object(bucket, key)
        _curl(direct, what="download")  # both read what the disk has given already
        urls = [_links().link(key, LinkKind.MEDIA), direct]
        turns = urls if number % 2 else urls[::-1]
        rates = {url: _curl(url, what="download") for url in turns}
        pairs.append((rates[urls[0]], rates[urls[1]]))
    return pairs


async def _segments(
    store: ObjectStore, bucket: str, company: UUID, folder: Path, rounds: int
) -> list[tuple[float, float]]:
    data = bytes(range(256)) * (_SEGMENT // 256)
    key = output_key(company, uuid4(), 1, "segment.m4s")
    await store.upload_bytes(bucket, key, data, content_type="video/mp4", cache_control="no-store")
    link = _links().link(key, LinkKind.MEDIA)
    for _ in range(2):
        _curl(link, what="download")  # the second time into the cache
    with _bare_nginx(folder, data) as bare:
        for url in (link, bare):
            _wrk(url)
        return [(_wrk(link), _wrk(bare)) for _ in range(rounds)]


def _links() -> LinkSigner:
    keys = State(Home.from_environment().state_file).secret("edge_keys")
    return LinkSigner(EdgeKeySettings(edge_keys=keys), variable("MEDIA_URL"), lifetime=_HOUR)


@contextmanager
def _bare_nginx(folder: Path, data: bytes) -> Iterator[str]:
    """What a user would serve segments with: sendfile from a folder."""
    port = free_port()
    (folder / "segment.m4s").write_bytes(data)
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; worker_processes auto; user root;\n"
        "events { worker_connections 1024; }\n"
        "http { access_log off; sendfile on; tcp_nopush on; client_body_temp_path /tmp/b;\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n"
    )
    with subprocess.Popen(["nginx", "-c", f"{folder}/nginx.conf", "-p", str(folder)]) as server:
        try:
            _curl("--retry", "20", "--retry-connrefused", f"http://127.0.0.1:{port}/segment.m4s",
                  what="download")  # fmt: skip
            yield f"http://127.0.0.1:{port}/segment.m4s"
        finally:
            server.terminate()


def _curl(*words: str, what: str) -> float:
    """Return bytes a second of one transfer, as curl counts them."""
    command = ["curl", "-sS", "--fail", "-o", "/dev/null", "-w", f"%{{speed_{what}}}", *words]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _wrk(url: str) -> float:
    """Return bytes a second of 16 connections."""
    done = subprocess.run([*_WRK, url], check=True, stdout=subprocess.PIPE, text=True)
    if "Non-2xx" in done.stdout:
        raise RuntimeError(done.stdout)
    number, unit = re.findall(r"Transfer/sec:\s+([\d.]+)([KMG]B)", done.stdout)[0]
    return float(number) * {"KB": 1024, "MB": 1024**2, "GB": 1024**3}[unit]
