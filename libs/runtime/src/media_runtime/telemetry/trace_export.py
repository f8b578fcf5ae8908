"""
The part of tracing that needs OpenTelemetry's SDK: what makes spans, and sends them by OTLP.

Imported where tracing is on alone. A collector that is away costs spans, and a line of log a
minute, and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

log = structlog.get_logger(__name__)

_QUIET_SECONDS = 60.0


class QuietExporter(SpanExporter):
    """Sends by *exporter*, and tells of failures once in a while."""

    def __init__(self, exporter: SpanExporter, *, quiet_seconds: float = _QUIET_SECONDS) -> None:
        self._exporter = exporter
        self._quiet_seconds = quiet_seconds
        self._told_at: float | None = None
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send *spans*, or lose them."""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            self._tell()
        return result

    def shutdown(self) -> None:
        """Give up what is under way."""
        self._exporter.shutdown()

    def _tell(self) -> None:
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= self._quiet_seconds:
            self._told_at = now
            log.warning("spans_lost", spans=self._lost)
            self._lost = 0


def provider_of(service: str) -> TracerProvider:
    """Return a provider of spans of *service*, unless the environment names it otherwise."""
    # The exporter itself has several lines for each batch that it cannot send.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    named = SERVICE_NAME in OTELResourceDetector().detect().attributes
    resource = Resource.create({} if named else {SERVICE_NAME: service})
    # Its exit handler would never run, since a service ends by its signal: see stop_tracing().
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(QuietExporter(OTLPSpanExporter())))
    return provider
