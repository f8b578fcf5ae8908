"""
What the system is made of beside Python packages, as far as the project says it.

Read from docker-compose.yml, the Dockerfiles, deploy/local/pom.xml, the package that is part of
media_runtime and those of the page and of the TypeScript SDK, as CycloneDX components.
Packages of a distribution have no version: it is that of the day on which an image is built.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

Component: TypeAlias = dict[str, str]

_IMAGE = re.compile(r"^\s+image: (\S+)", re.MULTILINE)
_STAGE = re.compile(r"^FROM (\S+)(?: AS (\S+))?\n((?:(?!FROM ).*\n)*)", re.MULTILINE)
_PACKAGES = re.compile(r"apt-get install -y --no-install-recommends ([^\\&\n]+)")
_GO_PROGRAM = re.compile(r"go install (\S+)@(\S+)")
_DISTRIBUTION = re.compile(r"\b(bookworm|trixie)\b")
_MEDIA = "media"
"""The stage of deploy/service/Dockerfile with the programs that open uploads."""
_OURS = "media-pipeline/"
_ECOSYSTEMS = {"npm": "npm", "maven": "Maven"}
_POM = {"": "http://maven.apache.org/POM/4.0.0"}


def components(root: Path, service: str | None) -> list[Component]:
    """Return what a service's own image is made of, or what the whole system is, by purl."""
    if service:
        programs = _programs(root / "docker-compose.yml", service)
        found = list(_of_dockerfile(root / "deploy" / "service" / "Dockerfile", programs))
    else:
        found = [
            *_of_compose(root / "docker-compose.yml"),
            *(
                part
                for path in sorted(root.glob("*/*/Dockerfile"))
                for part in _of_dockerfile(path)
            ),
            *_of_pom(root / "deploy" / "local" / "pom.xml"),
            *_of_npm(root / "deploy" / "edge" / "vendor" / "package-lock.json"),
            *_of_npm(root / "libs" / "sdk_typescript" / "package-lock.json"),
        ]
    found.append(_of_vendored(root / "libs/runtime/src/media_runtime/http/swagger_ui"))
    return [part for _, part in sorted({part["purl"]: part for part in found}.items())]


def packages(root: Path) -> list[tuple[str, str, str]]:
    """Return the OSV ecosystem, name and version of each library that is no Python package."""
    return [
        (ecosystem, ":".join(filter(None, (part.get("group"), part["name"]))), part["version"])
        for part in components(root, None)
        for kind, ecosystem in _ECOSYSTEMS.items()
        if part["purl"].startswith(f"pkg:{kind}/")
    ]


def _of_vendored(path: Path) -> Component:
    package = json.loads((path / "package.json").read_text())
    name, version = package["name"], package["version"]
    return _component("library", f"pkg:npm/{name}@{version}", name, version)


def _of_npm(path: Path) -> Iterator[Component]:
    for folder, package in json.loads(path.read_text())["packages"].items():
        # A package may have some of its own, in a folder below it.
        if name := folder.rpartition("node_modules/")[2]:
            version = package["version"]
            purl = f"pkg:npm/{name.replace('@', '%40')}@{version}"
            yield _component("library", purl, name, version)


def _of_compose(path: Path) -> Iterator[Component]:
    for image in _IMAGE.findall(path.read_text()):
        if not image.startswith(_OURS):
            yield _image(image)


def _programs(path: Path, service: str) -> str:
    """Return the stage on which the image of *service* stands."""
    _, _, block = path.read_text().partition(f"\n  {service}:\n")
    found = re.search(r"PROGRAMS: (\w+)", re.split(r"\n  \w+:\n", block)[0])
    return found[1] if found else "plain"


def _of_dockerfile(path: Path, programs: str = _MEDIA) -> Iterator[Component]:
    """Return what a Dockerfile's image is made of, where PROGRAMS is the stage *programs*."""
    stages = _STAGE.findall(path.read_text().replace("${PROGRAMS}", programs))
    names = {name for _, name, _ in stages}
    distribution = next(found[0] for one in stages if (found := _DISTRIBUTION.findall(one[0])))
    for image, name, text in stages:
        if image not in names:
            yield _image(image)
        if name != _MEDIA or programs == _MEDIA:
            yield from _of_stage(text, distribution)


def _of_stage(text: str, distribution: str) -> Iterator[Component]:
    for names in _PACKAGES.findall(text):
        for name in names.split():
            yield _component("application", f"pkg:deb/debian/{name}?distro={distribution}", name)
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
