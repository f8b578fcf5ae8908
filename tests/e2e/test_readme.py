"""What the README tells other people to run does what it says."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from support.clients import Company
from support.media_files import make_photo
from support.surroundings import variable

README = Path(__file__).resolve().parents[2] / "README.md"


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


async def test_the_subscriber_prints_the_outcome_of_an_upload(company: Company, tmp_path):
    # Its group starts at the earliest record, however many tests ran before.
    code = subscriber().replace("my-team", f"my-team-{company.id}")
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
