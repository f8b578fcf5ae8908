"""
The files that name every service, written from services.toml, and what the page knows of uploads,
written from the contracts: ``mediactl generate``.

Of most of them only a part derives, which stands between two lines of comment. A test compares
what this writes with what is there.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from media_contracts.upload_rules import upload_rules
from media_runtime.catalog import (
    DATABASE_USERS,
    KAFKA_USERS,
    PROVISIONER,
    SERVICES,
    STORAGE_USERS,
    Service,
)
from mediactl.errors import MediactlError

_NOTE = "from services.toml, by ./mediactl generate"
_HINT = "?write .env with deploy/env.sh, or run ./mediactl up"
_EDGE = "edge"
_RULES = "deploy/edge/page/rules.json"
# The last one stands above the services, the others below, each on those before it.
_LIBRARIES = ("media_contracts", "media_runtime", "media_records", "mediactl")
# Outside of all layers: they know the pipeline by its API.
_CLIENTS = ("media_pipeline_mcp",)


def generate(root: Path) -> list[Path]:
    """Bring the files of the checkout *root* up to date and return those that changed."""
    changed = []
    for path, parts in _PARTS.items():
        file = root / path
        before = file.read_text()
        after = before
        for name, lines in parts.items():
            after = _replaced(after, name, list(lines()), path)
        if after != before:
            file.write_text(after)
            changed.append(file)
    rules, text = root / _RULES, json.dumps(upload_rules(), indent=1) + "\n"
    if not rules.exists() or rules.read_text() != text:
        rules.write_text(text)
        changed.append(rules)
    boards = sorted((root / "deploy" / "grafana" / "dashboards").glob("*.json"))
    before_boards = [board.read_text() for board in boards]
    subprocess.run([sys.executable, root / "deploy" / "grafana" / "build.py"], check=True)
    texts = zip(boards, before_boards, strict=True)
    return changed + [board for board, text in texts if board.read_text() != text]


def _replaced(text: str, name: str, lines: list[str], path: str) -> str:
    first, last = f"# {name} {_NOTE}", f"# end of {name}"
    part = re.compile(
        rf"^( *){re.escape(first)}\n.*?^ *{re.escape(last)}\n", re.DOTALL | re.MULTILINE
    )
    found = part.search(text)
    if found is None:
        raise MediactlError(f"{path} lacks the line '{first}', or its end.")
    indented = "".join(f"{found[1]}{line}".rstrip() + "\n" for line in [first, *lines, last])
    return text[: found.start()] + indented + text[found.end() :]


def _secret(name: str) -> str:
    return f"${{{name}:{_HINT}}}"


def _logins() -> Iterator[str]:
    """Yield the secrets that the step before the services gives its users."""
    for users, kind in (
        (DATABASE_USERS, "DB_PASSWORD"),
        (KAFKA_USERS, "KAFKA_PASSWORD"),
        (STORAGE_USERS, "S3_SECRET"),
    ):
        for user in users:
            name = f"{user.upper()}_{kind}"
            yield f"{name}: {_secret(name)}"


def _containers() -> Iterator[str]:
    for number, (name, service) in enumerate(SERVICES.items()):
        if number:
            yield ""
        yield f"{name}:"
        yield from (f"  {line}" for line in _container(name, service))


def _container(name: str, service: Service) -> Iterator[str]:
    is_media = "media" in service.needs
    yield f"<<: [{'*opener, ' if is_media else ''}*ours]"
    yield f"image: media-pipeline/{name}:1.0.0"
    yield "build:"
    yield "  <<: *build"
    yield f"  args: {{{', '.join(_build_arguments(name, service))}}}"
    yield f"command: [{name}]"
    yield f'env_file: ["${{SETTINGS_FILE:-.env}}.{name}"]'
    yield "environment:"
    yield f"  <<: [{', '.join(_shared_variables(service))}]"
    yield from (f"  {variable}: {value}" for variable, value in _variables(name, service).items())
    if not service.public:
        yield 'ports: ["127.0.0.1::8080"]'
    cpus = f'cpus: "{service.limits.cpus}", ' if service.limits.cpus else ""
    yield f"deploy: {{resources: {{limits: {{{cpus}memory: {service.limits.memory}}}}}}}"


def _build_arguments(name: str, service: Service) -> Iterator[str]:
    yield f"PART: services/{name}"
    if "media" in service.needs:
        yield "PROGRAMS: media"
    if service.database is None:
        yield "LIBS: ./libs/contracts ./libs/runtime"


def _shared_variables(service: Service) -> Iterator[str]:
    yield "*settings"
    yield from ["*kafka"] if "kafka" in service.needs else []
    yield from ["*storage"] if service.storage else []
    yield from [f"*{PROVISIONER}"] if PROVISIONER in service.needs else []
    yield from ["*public"] if service.public else []
    yield from (f"*{need}" for need in ("links", "edges", "event_ids") if need in service.needs)
    yield "*otel"


def _variables(name: str, service: Service) -> dict[str, str]:
    found = {}
    if "kafka" in service.needs:
        found["KAFKA_SASL_USERNAME"] = f"${{KAFKA_TOPIC_PREFIX:-}}{name}"
        found["KAFKA_SASL_PASSWORD"] = _secret(f"{name.upper()}_KAFKA_PASSWORD")
    if service.storage:
        found["S3_ACCESS_KEY"] = f"${{S3_BUCKET_PREFIX:-media-}}{name}"
        found["S3_SECRET_KEY"] = _secret(f"{name.upper()}_S3_SECRET")
    if service.database:
        password = _secret(f"{name.upper()}_DB_PASSWORD")
        found["DATABASE_URL"] = f"postgresql://media_{name}:{password}@postgres:5432/media"
    if service.public:
        found["METRICS_HTTP_PORT"] = f'"{service.scrape_port}"'
    return found


def _published_ports() -> Iterator[str]:
    for name, service in SERVICES.items():
        if service.public:
            port = f"${{{service.public.variable}:-{service.public.port}}}"
            yield f"{name}:"
            yield f'  ports: ["127.0.0.1:{port}:8080"]'


def _scrapes() -> Iterator[str]:
    for name, service in SERVICES.items():
        how = f"names: [{name}], type: A, port: {service.scrape_port}, refresh_interval: 10s"
        yield f"- job_name: {name}"
        yield f"  dns_sd_configs: [{{{how}}}]"


def _watched_jobs() -> Iterator[str]:
    yield "- alert: MediaServiceDown"
    yield f'  expr: up{{job=~"{"|".join([*SERVICES, _EDGE])}"}} == 0'


def _expected_jobs() -> Iterator[str]:
    yield "- alert: MediaServiceMissing"
    yield "  expr: |"
    for number, name in enumerate([*SERVICES, _EDGE]):
        yield f'    {"or " if number else ""}absent(up{{job="{name}"}})'


def _imports() -> Iterator[str]:
    yield f"known-third-party = {json.dumps([*_LIBRARIES, *SERVICES])}"


def _root_packages() -> Iterator[str]:
    yield f"root_packages = {json.dumps([*_LIBRARIES, *SERVICES, *_CLIENTS])}"


def _pipeline() -> Iterator[str]:
    yield f"forbidden_modules = {json.dumps([*_LIBRARIES, *SERVICES])}"


def _layers() -> Iterator[str]:
    services = " | ".join(SERVICES)
    above, *below = reversed(_LIBRARIES)
    yield f"layers = {json.dumps([above, services, *below])}"


_PARTS: Mapping[str, Mapping[str, Callable[[], Iterator[str]]]] = {
    "docker-compose.yml": {"Logins": _logins, "Services": _containers},
    "deploy/ports.yml": {"Services": _published_ports},
    "deploy/prometheus/prometheus.yml": {"Services": _scrapes},
    "deploy/prometheus/rules/alerts.yml": {"Down": _watched_jobs, "Missing": _expected_jobs},
    "pyproject.toml": {
        "Imports": _imports,
        "Packages": _root_packages,
        "Layers": _layers,
        "Pipeline": _pipeline,
    },
}
