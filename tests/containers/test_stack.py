"""What a stack in containers does that a native one need not: in this order, ending with none."""

from __future__ import annotations

import subprocess
import sys
import time

import httpx
import pytest
from mediactl.devstack.home import Home
from mediactl.devstack.stack import open_running_stack
from mediactl.devstack.state import State
from mediactl.devstack.status import Row

from support.eventually import eventually
from support.media_files import make_photo, make_video


def docker(*words: str) -> list[str]:
    """Return the lines that docker prints."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:-1]


def mediactl(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of mediactl on the stack under test."""
    command = [sys.executable, "-P", "-m", "mediactl", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def status() -> dict[str, Row]:
    """Return how each container is."""
    home = Home.from_environment()
    return {one.name: one for one in open_running_stack(home, State(home.state_file)).rows()}


@pytest.fixture(scope="module")
def of_this_stack() -> str:
    """Return the filter for everything that compose made for this stack."""
    label = "com.docker.compose.project"
    given = f"label={label}.environment_file={Home.from_environment().compose_env_file}"
    name, *_ = docker("ps", "-a", "--filter", given, "--format", f'{{{{.Label "{label}"}}}}')
    return f"label={label}={name}"


@pytest.fixture(scope="module")
def long_video(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "long.mp4"
    return make_video(path, size="1920x1080", seconds=9).read_bytes()


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> bytes:
    return make_photo(tmp_path_factory.mktemp("photo") / "photo.jpg").read_bytes()


def test_every_container_is_ready_and_says_since_when_and_with_how_much_memory():
    found = status()

    assert {row.health for row in found.values()} == {"ready"}
    assert all(row.uptime_seconds and row.memory_bytes for row in found.values())


async def test_ingest_restarted_in_mid_transcode_gives_its_task_back(
    company, rows, parts, long_video
):
    async with company.listening() as listener:
        asset_id = await company.upload_bytes("long.mp4", long_video, "video/mp4")
        await listener.heard(asset_id, "transcoding")
        parts.stop("ingest")
        try:
            task = await rows.task(asset_id, "video")
            assert (task["state"], task["tries"], task["lease_until"]) == ("queued", 0, None)
        finally:
            parts.start("ingest")
        await company.ready(asset_id)
    assert await rows.endings(asset_id) == [(1, "ready")]


async def test_sandboxes_leave_no_process_behind(company, parts, long_video, photo, of_this_stack):
    """Orphans of a process group that was killed go to the container's init, which reaps them."""
    async with company.listening() as listener:
        asset_id = await company.upload_bytes("long.mp4", long_video, "video/mp4")
        await listener.heard(asset_id, "transcoding")
        parts.restart("ingest")
        await company.ready(asset_id)
    await company.ready(await company.upload_bytes("a.jpg", photo, "image/jpeg"))
    for container in docker("ps", "-q", "--filter", of_this_stack):
        _, *processes = docker("top", container, "-eo", "pid,stat,args")
        assert not [line for line in processes if line.split()[1].startswith("Z")]


async def test_two_of_a_service_share_its_work(company, photo):
    volumes = docker("volume", "ls", "-q")

    done = mediactl("scale", "ingest", "2")

    assert done.returncode == 0, done.stderr
    assert {status()[name].health for name in ("ingest", "ingest-2")} == {"ready"}
    for number in range(6):
        await company.ready(await company.upload_bytes(f"{number}.jpg", photo, "image/jpeg"))
    assert mediactl("scale", "ingest", "1").returncode == 0
    assert docker("volume", "ls", "-q") == volumes


async def test_what_is_stored_outlives_down_and_scratch_does_not(company, photo, of_this_stack):
    asset_id = await company.upload_bytes("kept.jpg", photo, "image/jpeg")
    before = await company.ready(asset_id)
    volumes = docker("volume", "ls", "-q")

    down = mediactl("down")
    assert down.returncode == 0, down.stderr
    assert docker("ps", "-aq", "--filter", of_this_stack) == []
    gone = set(volumes) - set(docker("volume", "ls", "-q"))
    assert len(gone) == len([one for one in gone if len(one) == 64]) >= 2

    started = time.monotonic()
    up = mediactl("up")
    assert up.returncode == 0, up.stderr
    assert len(up.stderr.splitlines()) < 10
    sys.stdout.write(f"second start: {time.monotonic() - started:.1f} s\n")
    after = await company.asset(asset_id)
    assert {**after, "processedUrl": "", "thumbnailUrl": ""} == {
        **before,
        "processedUrl": "",
        "thumbnailUrl": "",
    }

    async def served() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get((await company.asset(asset_id))["processedUrl"])).is_success

    await eventually(served)


def test_another_password_than_the_volumes_ends_up_with_the_reason():
    home = Home.from_environment()
    assert mediactl("down").returncode == 0
    state = State(home.state_file)
    kept = state.secret("postgres_password")
    state.remember_secret("postgres_password", "another")

    up = mediactl("up")

    assert up.returncode != 0
    assert "password authentication failed" in up.stderr
    State(home.state_file).remember_secret("postgres_password", kept)
    assert mediactl("up").returncode == 0


def test_wiped_it_leaves_nothing(of_this_stack):
    done = mediactl("down", "--wipe")

    assert done.returncode == 0, done.stderr
    for kind in (("ps", "-a"), ("volume", "ls"), ("network", "ls")):
        assert docker(*kind, "-q", "--filter", of_this_stack) == []
    assert not Home.from_environment().compose_env_file.exists()
