"""Images, without Docker: what their build lets in, installs and starts."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from media_runtime import catalog
from mediactl.devstack.home import Home

ROOT = Path(__file__).parents[3]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
DOCKERFILES = sorted((ROOT / "deploy").glob("*/Dockerfile"))
BUILT = {name: one["build"] for name, one in SERVICES.items() if "args" in one.get("build", {})}
MODULES = {name: f"{name}.main" for name in BUILT} | {
    "migrate": "media_records.migrate, media_runtime.storage.users, media_runtime.kafka.topics"
}
PUBLIC = {name for name, one in catalog.SERVICES.items() if one.public}
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"


def instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    """Return each instruction of a Dockerfile with its words, comments left out."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, words = line.strip().partition(" ")
        if name:
            yield name, words.strip()


def is_let_in(path: Path) -> bool:
    """Return whether .dockerignore lets a file of the checkout into a build; the last rule wins."""
    parts = path.relative_to(ROOT).parts
    let_in = True
    for rule in (ROOT / ".dockerignore").read_text().split():
        pattern = rule.removeprefix("!").removeprefix("**/")
        anywhere = rule.startswith("**/")
        candidates = parts if anywhere else ["/".join(parts[: n + 1]) for n in range(len(parts))]
        if any(fnmatch.fnmatchcase(one, pattern) for one in candidates):
            let_in = rule.startswith("!")
    return let_in


@dataclass
class NativeBuild:
    """The build of an image, in folders below *root* instead of a container."""

    root: Path
    variables: dict[str, str]

    def run(self, dockerfile: Path) -> None:
        """Follow the instructions that copy the project's files or call uv."""
        for name, words in instructions(dockerfile):
            if name == "ARG":
                variable, _, default = words.partition("=")
                self.variables.setdefault(variable, default.strip('"'))
            elif name == "COPY":
                self._copy(self._expanded(words))
            elif name == "RUN" and "uv pip" in words:
                self._install(re.sub(r"--mount=\S+", "", words))

    def _expanded(self, words: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda found: self.variables[found[1]], words)

    def _copy(self, words: str) -> None:
        *options, source, target = words.split()
        if options:
            target = target.replace("python3.11", PYTHON)
            if source != target:
                shutil.copytree(f"{self.root}{source}", f"{self.root}{target}", dirs_exist_ok=True)
            return
        origin = ROOT / source
        found = [origin] if origin.is_file() else [p for p in origin.rglob("*") if p.is_file()]
        for path in filter(is_let_in, found):
            inside = Path(path.name if origin.is_file() else path.relative_to(origin))
            copy = self.root / "src" / target / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)

    def _install(self, words: str) -> None:
        uv = Home.from_environment().tools / "uv" / "bin" / "uv"
        command = re.sub(r"(?<!\S)/(?=app|own)", f"{self.root}/", self._expanded(words))
        command = re.sub(r"(?<!\S)uv(?= )", shlex.quote(str(uv)), command)
        environment = {
            **os.environ,
            "VIRTUAL_ENV": f"{self.root}/app",  # before what PATH has: uv changes no other
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            ["sh", "-ec", command], cwd=self.root / "src", env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}\n{done.stderr}"


@pytest.mark.parametrize("name", sorted(BUILT))
def test_an_image_installs_from_what_its_build_lets_in_and_imports_its_modules(name, tmp_path):
    (tmp_path / "src").mkdir()
    build = NativeBuild(tmp_path, dict(BUILT[name]["args"]))

    build.run(ROOT / BUILT[name]["dockerfile"])

    done = subprocess.run(
        [tmp_path / "app/bin/python", "-P", "-c", f"import {MODULES[name]}, sys; print(sys.path)"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(ROOT) not in done.stdout


@pytest.mark.parametrize("name", sorted(BUILT))
def test_an_image_is_of_one_part_alone_and_its_lock(name):
    arguments = BUILT[name]["args"]
    part = "libs/records" if name == "migrate" else f"services/{name}"
    assert arguments["PART"] == part
    lock = (ROOT / part / "requirements.lock").read_text()
    has_media = name in catalog.needing("media")
    assert (arguments.get("PROGRAMS") == "media") is has_media
    assert ("pillow==" in lock) is has_media
    assert ("ffmpeg-python==" in lock) is has_media
    assert ("fastapi==" in lock) is (name in PUBLIC)
    assert ("sqlalchemy==" in lock) is (name == "migrate" or name in catalog.DATABASE_USERS)
    if name != "migrate":
        assert SERVICES[name]["command"] == [name]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_stands_on_versions_and_runs_as_nobody_special(path):
    found = list(instructions(path))
    stages = {words.partition(" AS ")[2] for name, words in found if name == "FROM"}
    bases = {words.split()[0] for name, words in found if name == "FROM"} - stages
    for base in bases - {"${PROGRAMS}"}:
        assert re.search(r":.*\d+[.\d]*\d-|:.*-\d{8}-|@sha256:", base), base
    assert [words for name, words in found if name == "USER"][-1].isdecimal()
    # docker-compose.yml has it: two would differ, and compose's wins.
    assert "HEALTHCHECK" not in {name for name, _ in found}


def test_a_service_compiles_nothing_at_run_time():
    """Containers are read-only: what the build leaves out is compiled with each start."""
    text = (ROOT / "deploy/service/Dockerfile").read_text()
    assert "UV_COMPILE_BYTECODE=1" in text
    assert "compileall" in text
