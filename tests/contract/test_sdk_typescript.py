"""The TypeScript SDK is that of the services as they are, and strictly typed."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
from mediactl.devstack.home import Home
from mediactl.repository import sdk
from mediactl.repository.npm import SDK_TYPESCRIPT
from mediactl.repository.supply import is_accepted

from media_pipeline.client import fingerprint_of
from support.typescript import built, example, run_node

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def package() -> Path:
    return built()


def test_the_generated_types_are_up_to_date(tmp_path):
    """Run ``./mediactl generate-sdk`` after a change of the API."""
    sdk.write_typescript(Home.from_environment(), tmp_path / "api.ts")
    assert (tmp_path / "api.ts").read_text() == (ROOT / sdk.API_TYPESCRIPT).read_text()
    assert (ROOT / sdk.TYPES_TYPESCRIPT).read_text() == sdk.types_by_name_typescript()


def test_package_tests_and_example_are_strictly_typed(package):
    assert len(example().strip().splitlines()) <= 10
    checked = run_node("node_modules/typescript/bin/tsc", "--strict", "--noEmit", folder=package)
    assert checked.returncode == 0, checked.stdout


def test_its_own_tests_pass(package):
    tests = sorted(str(path.relative_to(package)) for path in package.glob("tests/*.test.ts"))
    assert len(tests) == 4
    # They wait more than they compute.
    options = ("--test", "--test-concurrency=4", "--test-timeout=60000")
    run = run_node(*options, *tests, folder=package)
    assert run.returncode == 0, run.stdout


def test_all_clients_make_the_same_fingerprint(package, tmp_path):
    files = {
        "empty.mp4": (0, 0),
        "Füße 🎬.mp4": (5, 1_700_000_000_123_999_999),
        "old.mov": (MIB, -1_500_001),
        "ends overlap.mkv": (MIB + 1, 1),
        "film.mp4": (3 * MIB + 7, 1_600_000_000_999_999_999),
    }
    for name, (size, modified) in files.items():
        (tmp_path / name).write_bytes(os.urandom(size))
        os.utime(tmp_path / name, ns=(modified, modified))
    paths = [tmp_path / name for name in files]
    run = run_node("tests/programs/fingerprints.ts", *paths, folder=package)
    assert run.stdout.splitlines() == [fingerprint_of(path) for path in paths], run.stderr


def test_a_user_gets_one_package_with_it():
    lock = json.loads((ROOT / SDK_TYPESCRIPT / "package-lock.json").read_text())["packages"]
    needed = {
        name.removeprefix("node_modules/") for name, one in lock.items() if not one.get("dev")
    }
    assert needed == {"", "openapi-fetch", "openapi-typescript-helpers"}


def test_the_licence_of_every_package_is_accepted_and_no_host_is_named():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    accepted = project["tool"]["media"]["licences"]["accepted"]
    text = (ROOT / SDK_TYPESCRIPT / "package-lock.json").read_text()
    found = {name: one["license"] for name, one in json.loads(text)["packages"].items()}
    assert {name for name, one in found.items() if not is_accepted(one, accepted)} == set()
    # npm writes those of sponsors as "funding"; without them the lock is as good.
    assert "://" not in text
