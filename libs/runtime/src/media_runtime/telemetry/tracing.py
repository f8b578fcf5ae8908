"""
Distributed traces by OpenTelemetry, set up by the standard ``OTEL_*`` variables alone.

Invariant: without an endpoint there is no provider, no thread and no span, and everything here
returns at once. Spans carry ids, sizes and classes of errors, never messages, names or secrets.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from media_runtime.errors import PermanentError
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

log = structlog.get_logger(__name__)

Attributes = Mapping[str, str | int | bool]

STOP_SECONDS = 5.0
"""How long the end of a service waits for its last spans to be taken."""

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_SEEN = r"\x21-\x2b\x2d-\x3c\x3e-\x7e"
_MEMBER = rf"[a-z0-9][a-z0-9_\-*/@]{{0,255}}=[\x20{_SEEN}]{{0,255}}[{_SEEN}]"
_TRACESTATE = re.compile(rf"{_MEMBER}(?:[ \t]*,[ \t]*{_MEMBER}){{0,31}}")
_WELL_FORMED = {"traceparent": _TRACEPARENT, "tracestate": _TRACESTATE}


class _Tracing:
    """What there is while spans are made: the SDK's provider and the tracer of our own spans."""

    def __init__(self, provider: SdkTracerProvider) -> None:
        self.provider = provider
        self.tracer: Tracer = provider.get_tracer("media_runtime")


_now: _Tracing | None = None


def configure_tracing(service: str) -> None:
    """
    Begin to make spans in the name of *service*, if the environment says where they go.

    To be called once, before anything is built: parts ask then whether tracing is on.
    """
    global _now  # noqa: PLW0603 - of the process, as its logging is
    own = f"{service.upper()}_"  # the SDK knows the names that all share
    os.environ |= {
        name.removeprefix(own): value
        for name, value in os.environ.items()
        if name.startswith(f"{own}OTEL_")
    }
    if _now is None and _is_wanted(os.environ):
        # The SDK takes a quarter of a second to import, which others need not pay.
        from media_runtime.telemetry.trace_export import provider_of

        _now = _Tracing(provider_of(service))


def stop_tracing() -> None:
    """Send what is left, for at most STOP_SECONDS, and make no more spans."""
    global _now  # noqa: PLW0603
    if _now is None:
        return
    # The SDK would wait for 30 s for a collector that is away.
    last = threading.Thread(target=_now.provider.shutdown, name="last-spans", daemon=True)
    _now = None
    last.start()
    last.join(STOP_SECONDS)


def tracer_provider() -> TracerProvider | None:
    """Return the provider of spans, or None while tracing is off."""
    return _now.provider if _now else None


def is_on() -> bool:
    """Return whether spans are made."""
    return _now is not None


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str | None = None,
    tracestate: str = "",
    link_current: bool = False,
    attributes: Attributes | None = None,
) -> Iterator[Span]:
    """
    Make a span of the block, current in it; an error that leaves the block marks it as failed.

    It goes on from the traceparent *parent*, or from the current span where that is missing or
    malformed. With *link_current* it has a link to the current span, where that is not its parent.
    """
    if _now is None:
        yield trace.INVALID_SPAN
        return
    context = _context_of(parent, tracestate)
    with _now.tracer.start_as_current_span(
        name,
        context,
        kind,
        dict(attributes or {}),
        _links() if context and link_current else None,
        record_exception=False,  # messages and stack traces tell of files and hosts
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except Exception as error:
            mark_failed(error)
            raise


def mark_failed(error: Exception) -> None:
    """Mark the current span as failed, by the code or the class of *error*."""
    current = trace.get_current_span()
    current.set_status(StatusCode.ERROR)
    code = error.code if isinstance(error, PermanentError) else type(error).__name__
    current.set_attribute("error.type", code)


def annotate(attributes: Attributes) -> None:
    """Add *attributes* to the current span."""
    if _now is not None:
        trace.get_current_span().set_attributes(attributes)


def extract(fields: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Return the traceparent and tracestate among *fields*, as far as they are well-formed."""
    found = {}
    for name, value in fields:
        form = _WELL_FORMED.get(name)
        text = value.decode("latin-1") if form and value else ""
        if form and form.fullmatch(text):
            found[name] = text
    return found if "traceparent" in found else {}


def inject() -> dict[str, str]:
    """Return the fields that make what comes next a child of the current span."""
    fields: dict[str, str] = {}
    if _now is not None:
        _PROPAGATOR.inject(fields)
    return fields


def resume(traceparent: str | None) -> str | None:
    """
    Return the traceparent to store for work that comes later.

    It is the current span's; while tracing is off it is the given one, if that is well-formed.
    """
    given = traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else None
    return inject().get("traceparent", given)


def is_sampled(traceparent: str) -> bool:
    """Return whether whoever wrote the well-formed *traceparent* keeps its spans."""
    return bool(int(traceparent[-2:], 16) & 1)


def same_trace(traceparent: str | None) -> bool:
    """Return whether the current span is one of the trace that *traceparent* names."""
    context = trace.get_current_span().get_span_context()
    return context.is_valid and trace_fields(traceparent) == {
        "trace_id": trace.format_trace_id(context.trace_id)
    }


def trace_fields(traceparent: str | None) -> dict[str, str]:
    """Return ``trace_id`` for the log lines of what *traceparent* belongs to."""
    if traceparent and _TRACEPARENT.fullmatch(traceparent):
        return {"trace_id": traceparent[3:35]}
    return {}


def add_current_span(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Add ``trace_id`` and ``span_id`` to a log line while a span is current: for structlog."""
    if _now is not None:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            event["trace_id"] = trace.format_trace_id(context.trace_id)
            event["span_id"] = trace.format_span_id(context.span_id)
    return event


def _is_wanted(environ: Mapping[str, str]) -> bool:
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if not any(environ.get(name) for name in endpoints):
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter not in {"otlp", "none"}:
        log.warning("traces_off", why=f"OTEL_TRACES_EXPORTER={exporter} is neither otlp nor none")
    return exporter == "otlp"


def _context_of(traceparent: str | None, tracestate: str) -> Context | None:
    if not traceparent or not _TRACEPARENT.fullmatch(traceparent):
        return None
    return _PROPAGATOR.extract({"traceparent": traceparent, "tracestate": tracestate}, Context())


def _links() -> list[Link]:
    context = trace.get_current_span().get_span_context()
    return [Link(context)] if context.is_valid else []
