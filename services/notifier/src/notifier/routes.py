"""The HTTP edge: event streams and the tickets for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from media_contracts.envelope import Timestamp
from media_contracts.errors import ErrorCode
from media_records.tickets import InvalidTicketError, Subscriber, Tickets
from media_runtime.http.app import (
    ASKS_FOR_BEARER,
    BEARER_ONLY,
    READ,
    UPLOAD,
    ApiError,
    caller_of,
    documented,
    operation_id,
    unauthorized,
)
from media_runtime.http.auth import Caller, TokenVerifier
from media_runtime.http.rate_limit import CompanyRateLimiter, limit_headers
from notifier.event_stream import EventStream
from notifier.hub import TooManyStreamsError
from notifier.positions import ForeignPositionError, PositionCodec
from notifier.streams import Streams
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

FIELD_CODES = {"assetId": ErrorCode.INVALID_ASSET_ID}
"""The code of an invalid input, by the name of its parameter."""

_EXAMPLE = (
    'event: media_status\nid: AnNl…\ndata: {"specversion":"1.0","type":'
    '"media.asset.status_changed.v1","subject":"0d5f3c1e-…","data":{"attempt":1,'
    '"status":"ready","previousStatus":"processing"}}\n\n'
)
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events, until the token or the ticket's token lapses.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
    }
}

router = APIRouter(
    prefix="/api/media/events", tags=["events"], generate_unique_id_function=operation_id
)


@dataclass(frozen=True)
class Services:
    """What the routes call; built once by build_app."""

    verifier: TokenVerifier
    tickets: Tickets
    streams: Streams
    codec: PositionCodec
    write_seconds: float
    rates: CompanyRateLimiter


class TicketView(BaseModel):
    """A ticket for one stream; pass it as ``?ticket=`` before it lapses."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    ticket: str = Field(examples=["0pDpk8Vw…"])
    expires_at: Timestamp


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


@router.get(
    "",
    status_code=200,
    response_class=EventStream,
    responses=_STREAM | documented(400, 401, 403, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Follow the company's assets as Server-Sent Events",
)
async def stream_events(
    request: Request,
    asset_id: Annotated[UUID | None, Query(alias="assetId")] = None,
    ticket: str | None = None,
    last_event_id: Annotated[str | None, Header()] = None,
    last_event_id_query: Annotated[str | None, Query(alias="lastEventId")] = None,
) -> EventStream:
    """
    Stream ``media_status`` and ``media_processed`` events of the caller's company.

    ``data`` is the CloudEvent as on Kafka. A stream that is opened with the ``Last-Event-ID``
    of an earlier one goes on right after that event. ``media_resync`` says that events were
    lost to retention: read the assets again.
    """
    services = _services(request)
    last_id = last_event_id or last_event_id_query
    with _problem_of_position():
        # First what costs nothing: a ticket is used up by asking for it.
        if last_id:
            services.codec.opened(last_id)
        subscriber = await _listener(request, services, ticket)
        resume = services.codec.decode(last_id, subscriber.company_id) if last_id else None
    try:
        parts, close = await services.streams.open(subscriber, asset_id, resume)
    except TooManyStreamsError as error:
        raise ApiError(
            ErrorCode.TOO_MANY_EVENT_STREAMS,
            headers=limit_headers(f'"streams";q={error.limit}', seconds=5),
        ) from error
    return EventStream(parts, close, write_seconds=services.write_seconds)


@router.post(
    "/ticket",
    status_code=201,
    response_model=TicketView,
    responses=documented(401, 403, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Get a one-use ticket for a browser's EventSource",
)
async def buy_ticket(request: Request) -> TicketView:
    """Return a ticket that opens one stream within 30 seconds."""
    services = _services(request)
    caller = await _caller(request, services)
    until = datetime.fromtimestamp(caller.expires_at, UTC)
    secret, expires_at = await services.tickets.give(caller.company_id, caller.subject, until=until)
    return TicketView(ticket=secret, expires_at=expires_at)


async def _caller(request: Request, services: Services) -> Caller:
    caller = await caller_of(request, services.verifier, READ, UPLOAD)
    await services.rates.hit(caller.company_id)
    return caller


async def _listener(request: Request, services: Services, ticket: str | None) -> Subscriber:
    if ticket is None:
        caller = await _caller(request, services)
        subscriber = Subscriber(caller.company_id, datetime.fromtimestamp(caller.expires_at, UTC))
    else:
        subscriber = await _ticket_holder(services.tickets, ticket)
    # The verifier allows a leeway for other clocks; a stream that ends at once helps nobody.
    if subscriber.until <= datetime.now(UTC):
        raise unauthorized("The bearer token has lapsed.")
    return subscriber


async def _ticket_holder(tickets: Tickets, ticket: str) -> Subscriber:
    try:
        return await tickets.redeem(ticket)
    except InvalidTicketError as error:
        raise ApiError(ErrorCode.INVALID_TICKET, headers=ASKS_FOR_BEARER) from error


@contextmanager
def _problem_of_position() -> Iterator[None]:
    try:
        yield
    except ForeignPositionError as error:
        raise ApiError(ErrorCode.INVALID_LAST_EVENT_ID, why=error) from error
