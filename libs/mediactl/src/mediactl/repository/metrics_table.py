"""
Prints the table of all metrics, ``deploy/metrics.md``.

It is read off the instruments themselves, and a test compares it with what a running system
exports.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mediactl.devstack.services import SERVICES

_INTRODUCTION = """\
# Metrics

Each service serves its own at `/metrics`; Prometheus adds `job` (the service) and `instance`.
Labels come from closed sets; `company` alone is an identifier, of a bounded number of companies.
Made by `python -m mediactl.repository.metrics_table`; a test compares it with what is exported.
Beside these, `faststream_received_*` tells how each topic's records were consumed, `python_*` and
`process_*` how the process is, and `minio_*` how object storage is.
"""
_SHARED = (
    *("media_records.outcomes", "media_records.tasks"),
    *("media_runtime.http.metrics", "media_runtime.kafka.consumer"),
    *("media_runtime.kafka.supervision", "media_runtime.database.outbox"),
)
_SUFFIXES = {"counter": "_total"}


@dataclass(frozen=True)
class Instrument:
    """One metric of a service; ``name`` is as Prometheus knows it, ``buckets`` those of it."""

    service: str
    name: str
    kind: str
    labels: tuple[str, ...]
    text: str
    buckets: tuple[float, ...] = ()


def instruments() -> list[Instrument]:
    """Return every instrument of every service, by service and name."""
    found = []
    for service, modules in {
        "Several services": _SHARED,
        **{service: (f"{service}.metrics",) for service in SERVICES},
    }.items():
        of_service = [
            _described(service, collector) for name in modules for collector in _collectors(name)
        ]
        found += sorted(of_service, key=lambda one: one.name)
    return found


def _collectors(module: str) -> Iterable[object]:
    values = vars(importlib.import_module(module)).values()
    return [value for value in values if hasattr(value, "_labelnames")]


def _described(service: str, collector: object) -> Instrument:
    about: Mapping[str, object] = vars(collector)
    kind = str(getattr(collector, "_type", ""))
    bounds = getattr(collector, "_upper_bounds", None) or []
    return Instrument(
        service=service,
        name=f"{about['_name']}{_SUFFIXES.get(kind, '')}",
        kind=kind,
        labels=tuple(getattr(collector, "_labelnames", ())),
        text=str(about["_documentation"]),
        buckets=tuple(bound for bound in bounds if bound != float("inf")),
    )


def table() -> str:
    """Return the document."""
    lines = [_INTRODUCTION]
    service = ""
    for one in instruments():
        if one.service != service:
            service = one.service
            lines += [
                f"\n## {service}\n\n| metric | type | labels | |\n| --- | --- | --- | --- |\n"
            ]
        labels = ", ".join(f"`{label}`" for label in one.labels)
        buckets = f" Buckets: {', '.join(f'{b:g}' for b in one.buckets)}." if one.buckets else ""
        lines += [f"| `{one.name}` | {one.kind} | {labels} | {one.text}{buckets} |\n"]
    return "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table())
