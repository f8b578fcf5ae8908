"""The SDK is that of the services as they are, and strictly typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from media_contracts import formats
from mediactl.repository.sdk import SDK_PYTHON, TYPES, document, types_by_name, write_python

from media_pipeline.client import _type_of

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os
from media_pipeline import MediaPipeline

with MediaPipeline(os.environ["MEDIA_URL"], os.environ["TOKEN"]) as media:
    asset = media.wait(media.upload("film.mp4"))
    print(asset.hls_url or asset.processed_url)
"""


def files_in(folder: Path) -> dict[str, str]:
    found = {path.relative_to(folder): path for path in folder.rglob("*.py")}
    return {str(name): path.read_text() for name, path in found.items()}


def test_the_generated_part_is_up_to_date(tmp_path):
    """Run ``./mediactl generate-sdk`` after a change of the API."""
    write_python(tmp_path / "api")
    made, kept = files_in(tmp_path / "api"), files_in(ROOT / SDK_PYTHON)
    assert sorted(made) == sorted(kept)
    assert [name for name, text in made.items() if kept[name] != text] == []


def test_the_sdk_knows_the_types_that_the_server_knows():
    """Run ``./mediactl generate-sdk`` after a change of the formats."""
    assert (ROOT / TYPES).read_text() == types_by_name()
    for end, kind in formats.TYPE_OF_EXTENSION.items():
        assert _type_of(Path(f"FILE{end.upper()}")) == kind


def test_operations_have_names_that_somebody_gave_them():
    ways = [way for path in document()["paths"].values() for way in path.values()]
    assert len({way["operationId"] for way in ways}) == len(ways)
    assert all(way["operationId"].isalpha() for way in ways)


def test_a_program_of_a_user_is_strictly_typed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    assert len(PROGRAM.strip().splitlines()) <= 10
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(program)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
