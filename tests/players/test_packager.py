"""Shaka Packager, which reads our files by itself, says of them what our manifests say."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path
from urllib.parse import urljoin

import pytest
from mediactl.devstack.home import Home

from support.clock import SECONDS
from support.player import packager


def attributes(line: str) -> dict[str, str]:
    """Return the attributes of a line of a playlist."""
    return {
        name: value.strip('"') for name, value in re.findall(r'([A-Z-]+)=("[^"]*"|[^,]*)', line)
    }


def variants(master: str) -> dict[str, dict[str, str]]:
    """Return the sizes of a film, by how a master playlist writes them."""
    lines = re.findall(r"^#EXT-X-STREAM-INF:(.*)$", master, re.MULTILINE)
    return {one["RESOLUTION"]: one for one in map(attributes, lines)}


def seconds(playlist: str) -> float:
    return sum(float(text) for text in re.findall(r"#EXTINF:([\d.]+)", playlist))


async def joined(http, url: str, target: Path) -> Path:
    """Write the file that a playlist's parts are: its head, and all ranges in order."""
    playlist = (await http.get(url)).text
    (head,) = re.findall(r'#EXT-X-MAP:URI="([^"]+)",BYTERANGE="(\d+)@(\d+)"', playlist)
    listed = re.findall(r"#EXT-X-BYTERANGE:(\d+)@(\d+)\n(\S+)", playlist)
    data = b""
    for size, start, name in [(head[1], head[2], head[0]), *listed]:
        last = int(start) + int(size) - 1
        answer = await http.get(urljoin(url, name), headers={"Range": f"bytes={start}-{last}"})
        assert answer.status_code == 206
        data += answer.content
    await asyncio.to_thread(target.write_bytes, data)
    return target


async def test_another_packager_reads_the_same_of_our_files(http, ready, tmp_path):
    master_url = ready["hlsUrl"]
    master = (await http.get(master_url)).text
    names = ["240", "360", "480", "720", "sound"]
    words = []
    for name in names:
        kind = "audio" if name == "sound" else "video"
        path = await joined(http, urljoin(master_url, f"video.{name}.m3u8"), tmp_path / name)
        words.append(
            f"in={path},stream={kind},output={tmp_path / name}.mp4,playlist_name={name}.m3u8"
        )
    program = await packager(Home.from_environment().tools / "packager")
    await asyncio.to_thread(
        subprocess.run,
        [program, *words, "--segment_duration=4", "--fragment_duration=4",
         f"--hls_master_playlist_output={tmp_path / 'master.m3u8'}"],
        check=True, capture_output=True,
    )  # fmt: skip

    theirs, ours = variants((tmp_path / "master.m3u8").read_text()), variants(master)
    assert ours.keys() == theirs.keys()
    for size, one in theirs.items():
        told = ours[size]
        for word in ("CODECS", "RESOLUTION", "FRAME-RATE"):
            assert told[word] == one[word], (size, word)
        for word in ("BANDWIDTH", "AVERAGE-BANDWIDTH"):
            assert int(told[word]) == pytest.approx(int(one[word]), rel=0.05), (size, word)
    for name in names:
        assert seconds((tmp_path / f"{name}.m3u8").read_text()) == pytest.approx(SECONDS, abs=0.05)
