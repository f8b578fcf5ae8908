"""
What the system is made of beside Python packages, as far as the project says it.

Read from docker-compose.yml, the Dockerfiles and deploy/local/pom.xml, as CycloneDX components.
Packages of a distribution have no version: it is that of the day on which an image is built.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

Component: TypeAlias = dict[str, str]

_IMAGE = re.compile(r"^\s+image: (\S+)", re.MULTILINE)
_BASE = re.compile(r"^FROM (\S+)", re.MULTILINE)
_PACKAGES = re.compile(r"apt-get install -y --no-install-recommends ([^\\&\n]+)")
_GO_PROGRAM = re.compile(r"go install (\S+)@(\S+)")
_DISTRIBUTION = re.compile(r"\b(bookworm|trixie)\b")
_OURS = "media-pipeline/"
_POM = {"": "http://maven.apache.org/POM/4.0.0"}


def components(root: Path, service: str | None) -> list[Component]:
    """Return what a service's own image is made of, or what the whole system is, by purl."""
    if service:
        found = list(_of_dockerfile(root / "services" / service / "Dockerfile"))
    else:
        found = [
            *_of_compose(root / "docker-compose.yml"),
            *(
                part
                for path in sorted(root.glob("*/*/Dockerfile"))
                for part in _of_dockerfile(path)
            ),
            *_of_pom(root / "deploy" / "local" / "pom.xml"),
        ]
    return [part for _, part in sorted({part["purl"]: part for part in found}.items())]


def _of_compose(path: Path) -> Iterator[Component]:
    for image in _IMAGE.findall(path.read_text()):
        if not image.startswith(_OURS):
            yield _image(image)


def _of_dockerfile(path: Path) -> Iterator[Component]:
    text = path.read_text()
    for image in _BASE.findall(text):
        yield _image(image)
    distribution = _DISTRIBUTION.findall(text)
    for names in _PACKAGES.findall(text):
        for name in names.split():
            yield _component(
                "application", f"pkg:deb/debian/{name}?distro={distribution[-1]}", name
            )
    for name, version in _GO_PROGRAM.findall(text):
        yield _component("application", f"pkg:golang/{name}@{version}", name, version)


def _of_pom(path: Path) -> Iterator[Component]:
    project = ET.parse(path).getroot()  # noqa: S314 - our own file
    properties = {
        f"${{{one.tag.rpartition('}')[2]}}}": one.text or ""
        for one in project.iterfind("properties/*", _POM)
    }
    for one in project.iterfind("dependencies/dependency", _POM):
        group, name, version = (
            one.findtext(tag, "", _POM) for tag in ("groupId", "artifactId", "version")
        )
        version = properties.get(version, version)
        purl = f"pkg:maven/{group}/{name}@{version}"
        yield {"group": group, **_component("library", purl, name, version)}


def _image(image: str) -> Component:
    name, _, version = image.partition(":")
    return _component("container", f"pkg:docker/{name}@{version}", name, version)


def _component(kind: str, purl: str, name: str, version: str | None = None) -> Component:
    known = {"version": version} if version else {}
    return {"type": kind, "bom-ref": purl, "name": name, **known, "purl": purl}
