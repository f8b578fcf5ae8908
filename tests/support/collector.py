"""A collector of OpenTelemetry, as services see it: it takes spans by OTLP over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan


@dataclass(frozen=True)
class CollectedSpan:
    """One span as it was sent; ids are hexadecimal, ``parent_id`` of a root is empty."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    failed: bool
    attributes: dict[str, Any] = field(hash=False)
    links: frozenset[str]
    """Ids of the spans that it is linked to."""


class Collector:
    """What came in so far."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        self.spans: list[CollectedSpan] = []
        self.requests: list[bytes] = []

    @property
    def variables(self) -> dict[str, str]:
        """What a service is told to send its spans here, soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}

    def take(self, body: bytes) -> None:
        """Keep the spans of one request."""
        self.requests.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_collected(about["service.name"], span) for span in scope.spans]

    def one(self, service: str, name: str, trace_id: str | None = None) -> CollectedSpan:
        """Return the span of this name, of one trace where *trace_id* is given."""
        found = self.all(service, name, trace_id)
        seen = sorted({(span.service, span.name) for span in self.spans})
        assert len(found) == 1, f"{len(found)} spans {name!r} of {service} among {seen}"
        return found[0]

    def all(self, service: str, name: str, trace_id: str | None = None) -> list[CollectedSpan]:
        """Return all spans of this name."""
        return [
            span
            for span in list(self.spans)
            if (span.service, span.name) == (service, name)
            and (trace_id is None or span.trace_id == trace_id)
        ]

    def ancestors(self, span: CollectedSpan) -> list[CollectedSpan]:
        """Return parent, grandparent and so on, as far as they came in."""
        by_id = {one.span_id: one for one in self.spans}
        found = []
        while span.parent_id in by_id:
            span = by_id[span.parent_id]
            found.append(span)
        return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector for the block."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _collected(service: str, span: WireSpan) -> CollectedSpan:
    return CollectedSpan(
        service=service,
        name=span.name,
        kind=WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        attributes=_attributes(span.attributes),
        links=frozenset(link.span_id.hex() for link in span.links),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
