"""What README and tutorial tell other people to run does what it says."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from media_contracts import MEDIA_PROCESSED

from support.clients import Company
from support.future import send_from_the_future
from support.media_files import make_photo, probe_video
from support.surroundings import variable

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"


def subscriber() -> str:
    """Return the README's example of a subscriber."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (found,) = [block for block in blocks if "MEDIA_PROCESSED" in block]
    return str(found)


def test_the_subscriber_has_about_twenty_lines_and_needs_contracts_alone():
    code = subscriber()

    lines = [line for line in code.splitlines() if line.strip() and not line.startswith('"""')]
    assert len(lines) <= 20
    imported = set(re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE))
    assert imported <= {"asyncio", "os", "aiokafka", "media_contracts"}


async def test_the_subscriber_prints_outcomes_and_passes_over_what_is_new(
    company: Company, tmp_path
):
    # Its group starts at the earliest record, however many tests ran before.
    code = subscriber().replace("my-team", f"my-team-{company.id}")
    await send_from_the_future(MEDIA_PROCESSED, company.id)
    names = ("BOOTSTRAP_SERVERS", "SUBSCRIBER_USERNAME", "SUBSCRIBER_PASSWORD")
    given = {f"KAFKA_{name}": variable(f"KAFKA_{name}") for name in names}
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        env={"PATH": os.environ["PATH"], **given},
        stdout=asyncio.subprocess.PIPE,
    )
    assert running.stdout is not None
    try:
        asset_id = await company.upload(make_photo(tmp_path / "holiday.jpg"))
        async with asyncio.timeout(30):
            async for line in running.stdout:
                if asset_id in line.decode():
                    break
    finally:
        running.kill()
        await running.communicate()

    assert line.decode().split() == [asset_id, "ready", "holiday.jpg"]


def steps(*numbers: int) -> str:
    """Return what the tutorial says to type in these steps."""
    sections = re.split(r"^## ", TUTORIAL.read_text(), flags=re.MULTILINE)
    told = [one for one in sections if one.startswith(tuple(f"{n}." for n in numbers))]
    assert len(told) == len(numbers)
    return "\n".join(re.findall(r"```sh\n(.*?)```", "".join(told), re.DOTALL))


async def typed(script: str, folder: Path, **variables: str) -> str:
    running = await asyncio.create_subprocess_exec(
        *("bash", "-euc", script),
        cwd=folder,
        env={"PATH": os.environ["PATH"], **variables},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await running.communicate()
    assert running.returncode == 0
    return output.decode()


async def test_the_tutorial_leads_from_a_grant_to_a_playable_video(company: Company, tmp_path):
    token = company.headers["Authorization"].removeprefix("Bearer ")
    given = {"MEDIA_URL": variable("MEDIA_URL"), "TOKEN": token}
    told = await typed(steps(4, 5) + '\necho "$ASSET_ID"', tmp_path, **given)
    asset_id = told.split()[-1]
    assert (await company.ready(asset_id))["fileName"] == "holiday.mp4"

    link = (await typed(steps(6), tmp_path, ASSET_ID=asset_id, **given)).strip()
    assert link.startswith(variable("MEDIA_URL"))
    video = probe_video((tmp_path / "playable.mp4").read_bytes(), tmp_path)
    assert video.streams["audio"]["codec_name"] == "aac"
