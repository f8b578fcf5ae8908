"""What is known of the packages that the system is made of."""

from __future__ import annotations

import json
from datetime import date
from importlib.resources import files
from pathlib import Path

import jsonschema_rs
import pytest
from mediactl.devstack.native.minio_build import MINIO_VERSION
from mediactl.errors import UsageError
from mediactl.repository import pinned, supply

ROOT = Path(__file__).parents[3]
GOOD = {"name": "good", "version": "1", "vulns": []}
BAD = {
    "name": "bad", "version": "2",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3"]}],
}  # fmt: skip
SKIPPED = {"name": "own", "skip_reason": "not found on PyPI"}
# The page of the APIs, which the library of all services holds.
_SWAGGER = "pkg:npm/swagger-ui-dist@5.35.0"


def test_a_known_vulnerability_fails_the_audit():
    found = supply.read_audit([GOOD, BAD], {})
    assert not found.passes
    assert found.packages == 2
    assert found.vulnerabilities == (supply.Vulnerability("bad", "2", "PYSEC-1", ("3",)),)


@pytest.mark.parametrize("name", ["PYSEC-1", "CVE-1"])
def test_one_that_is_accepted_for_a_reason_does_not(name):
    found = supply.read_audit([BAD], {name: "it is never called"})
    assert found.passes
    assert found.vulnerabilities[0].accepted == "it is never called"


def test_what_was_not_looked_up_does_not_pass():
    found = supply.read_audit([GOOD, SKIPPED], {})
    assert not found.passes
    assert (found.packages, found.skipped) == (1, 1)


def test_an_exception_lapses(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[[tool.media.audit.exceptions]]\n"
        'id = "CVE-1"\nreason = "never called"\nuntil = 2026-12-31\n'
    )
    assert supply._exceptions(tmp_path, date(2026, 12, 31)) == {"CVE-1": "never called"}
    assert supply._exceptions(tmp_path, date(2027, 1, 1)) == {}


@pytest.mark.parametrize(
    ("expression", "accepted"),
    [
        ("MIT", True),
        ("GPL-3.0", False),
        ("GPL-3.0 OR MIT", True),
        ("GPL-3.0 AND MIT", False),
        ("BSD AND (GPL-3.0 OR MIT)", True),
        ("MIT; GPL-3.0", False),
        ("UNKNOWN", False),
    ],
)
def test_each_part_of_a_licence_must_leave_a_choice(expression, accepted):
    assert supply.is_accepted(expression, ["MIT", "BSD"]) is accepted


def test_the_licence_of_every_package_is_accepted():
    found = supply.licences(ROOT)
    assert {"aiokafka", "fastapi", "pillow"} <= {one.package for one in found}
    assert [one for one in found if not one.accepted] == []


def cyclonedx_schema():
    """Return what validates CycloneDX 1.6, from the schemas that cyclonedx-python-lib brings."""
    folder = files("cyclonedx.schema") / "_res"
    schemas = {
        f"http://cyclonedx.org/schema/{name}": json.loads((folder / name).read_text())
        for name in ("spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    }
    bom = json.loads((folder / "bom-1.6.SNAPSHOT.schema.json").read_text())
    return jsonschema_rs.validator_for(bom, registry=jsonschema_rs.Registry(schemas.items()))


@pytest.mark.parametrize(("service", "has"), [(None, {"pillow", "ruff"}), ("watcher", {"minio"})])
def test_a_bill_of_materials_names_every_locked_package(service, has):
    document = json.loads(supply.bill_of_materials(ROOT, service))
    cyclonedx_schema().validate(document)
    found = [one for one in document["components"] if one["purl"].startswith("pkg:pypi/")]
    purls = {one["name"]: one["purl"] for one in found}
    lock = ROOT / (f"services/{service}" if service else "") / "requirements.lock"
    locked = {line.partition("==")[0] for line in lock.read_text().splitlines() if "==" in line}
    assert has <= set(purls)
    assert set(purls) == {name.strip() for name in locked}


@pytest.mark.parametrize(
    ("service", "has"),
    [
        (
            None,
            {
                "pkg:deb/debian/bubblewrap?distro=bookworm",
                "pkg:deb/debian/ffmpeg?distro=bookworm",
                "pkg:docker/apache/kafka@4.3.0",
                "pkg:docker/postgres@17.11-bookworm",
                "pkg:docker/python@3.11.17-slim-bookworm",
                f"pkg:golang/github.com/minio/minio@{MINIO_VERSION}",
                "pkg:maven/org.apache.kafka/kafka_2.13@4.3.0",
                "pkg:npm/%40types/node@18.19.130",
                "pkg:npm/hls.js@1.7.4",
                "pkg:npm/openapi-fetch@0.17.0",
                "pkg:maven/org.apache.logging.log4j/log4j-slf4j-impl@2.25.4",
            },
        ),
        (
            "ingest",
            {
                "pkg:deb/debian/bubblewrap?distro=bookworm",
                "pkg:deb/debian/ffmpeg?distro=bookworm",
                "pkg:docker/python@3.11.17-slim-bookworm",
                _SWAGGER,
            },
        ),
        ("sign_api", {"pkg:docker/python@3.11.17-slim-bookworm", _SWAGGER}),
    ],
)
def test_a_bill_of_materials_names_what_is_not_python(service, has):
    document = json.loads(supply.bill_of_materials(ROOT, service))
    cyclonedx_schema().validate(document)
    purls = {one["purl"] for one in document["components"]}
    found = {purl for purl in purls if not purl.startswith("pkg:pypi/")}
    assert (has <= found) if service is None else (has == found)
    assert not any("media-pipeline" in purl for purl in found)


def test_every_image_and_jar_has_a_version():
    found = pinned.components(ROOT, None)
    without = [one["purl"] for one in found if "version" not in one]
    assert all(purl.startswith("pkg:deb/") for purl in without)
    assert not any(one.get("version") == "latest" for one in found)


def test_there_is_no_bill_of_an_unknown_service():
    with pytest.raises(UsageError, match="nothing"):
        supply.bill_of_materials(ROOT, "nothing")
