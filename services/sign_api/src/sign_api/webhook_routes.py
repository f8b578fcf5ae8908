"""The HTTP edge of webhooks."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from media_contracts.envelope import Timestamp
from media_contracts.errors import ErrorCode
from media_records.tables import WebhookDelivery, WebhookEndpoint
from media_runtime.http.app import BEARER_ONLY, MANAGE, ApiError, documented, operation_id
from media_runtime.http.auth import Caller
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StrictStr
from pydantic.alias_generators import to_camel
from sign_api.routes import counted, services_of
from sign_api.webhooks import TYPES

router = APIRouter(
    prefix="/api/media/webhooks", tags=["webhooks"], generate_unique_id_function=operation_id
)


async def _manager(request: Request) -> Caller:
    return await counted(request, MANAGE)


Manager = Annotated[Caller, Depends(_manager)]


class _View(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class EndpointRequest(_View):
    """An address that hears of the company's events."""

    url: StrictStr = Field(
        description="``https``, on port 443 or 8443, with public addresses.",
        examples=["https://example.com/hooks/media"],
        json_schema_extra={"maxLength": 2048, "pattern": "^https?://"},
    )
    types: list[StrictStr] = Field(
        default_factory=list,
        description="Types of events, among " + ", ".join(TYPES) + "; none means all.",
        examples=[["media.asset.processed.v1"]],
    )


class EndpointChange(_View):
    """What is to change; what is null stays. One that is enabled again begins anew."""

    url: StrictStr | None = Field(default=None, examples=["https://example.com/hooks/media"])
    types: list[StrictStr] | None = Field(default=None, examples=[["media.asset.processed.v1"]])
    enabled: StrictBool | None = None


class EndpointView(_View):
    """
    An endpoint.

    ``failingSince`` is the first failure after the last event that it took; after 5 days it is
    disabled, which the event ``media.webhook.disabled.v1`` tells. Until ``oldSecretUntil`` two
    secrets sign.
    """

    id: UUID
    url: str
    types: list[str]
    enabled: bool
    failing_since: Timestamp | None
    disabled_at: Timestamp | None
    old_secret_until: Timestamp | None
    created_at: Timestamp


class NewEndpoint(EndpointView):
    """An endpoint with its new secret, which is told this once."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class EndpointList(_View):
    """A company's endpoints, the oldest first."""

    items: list[EndpointView]


class Pinged(_View):
    """The id of the test event, as the header ``webhook-id`` has it."""

    event_id: UUID


class ReplayRequest(_View):
    """Which events are sent again: one by its id, or all since a moment."""

    event_id: UUID | None = None
    since: AwareDatetime | None = Field(default=None, examples=["2026-11-28T12:00:00Z"])


class Replayed(_View):
    """How many events are sent again."""

    count: int


class DeliveryState(StrEnum):
    """Whether an event is still to be sent, was taken, or was given up after all its tries."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


class DeliveryView(_View):
    """One event for the endpoint. ``answer`` is the last try's status, or why there was none."""

    id: int
    event_id: UUID
    type: str
    state: DeliveryState
    tries: int
    answer: str | None = Field(examples=["200"])
    created_at: Timestamp
    tried_at: Timestamp | None
    next_try_at: Timestamp | None


class DeliveryQuery(BaseModel):
    """Which deliveries are wanted."""

    state: DeliveryState | None = None
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = None


class DeliveryPage(_View):
    """A page of deliveries, newest first."""

    items: list[DeliveryView]
    next_cursor: str | None = Field(description="Null on the last page.")


@router.post(
    "",
    status_code=201,
    response_model=NewEndpoint,
    responses=documented(400, 401, 403, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Add an endpoint",
)
async def add_webhook(request: Request, body: EndpointRequest, caller: Manager) -> NewEndpoint:
    """
    Return the endpoint with its secret, which is told this once.

    Each event comes as a POST, signed by Standard Webhooks, and again over 24 hours until it is
    answered with 2xx.
    """
    added = await services_of(request).webhooks.add(caller.company_id, body.url, body.types)
    return _with_secret(*added)


@router.get(
    "",
    response_model=EndpointList,
    responses=documented(401, 403, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="List endpoints",
)
async def list_webhooks(request: Request, caller: Manager) -> EndpointList:
    """Return the company's endpoints."""
    found = await services_of(request).webhooks.all(caller.company_id)
    return EndpointList(items=[_view(one) for one in found])


@router.get(
    "/{webhook_id}",
    response_model=EndpointView,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Look at an endpoint",
)
async def get_webhook(request: Request, webhook_id: UUID, caller: Manager) -> EndpointView:
    """Return the endpoint."""
    return _view(await services_of(request).webhooks.get(caller.company_id, webhook_id))


@router.patch(
    "/{webhook_id}",
    response_model=EndpointView,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Change an endpoint",
)
async def change_webhook(
    request: Request, webhook_id: UUID, body: EndpointChange, caller: Manager
) -> EndpointView:
    """Return the endpoint as it is then."""
    changed = await services_of(request).webhooks.change(
        caller.company_id, webhook_id, url=body.url, types=body.types, enabled=body.enabled
    )
    return _view(changed)


@router.post(
    "/{webhook_id}/secret",
    response_model=NewEndpoint,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Make a new secret",
)
async def rotate_webhook_secret(request: Request, webhook_id: UUID, caller: Manager) -> NewEndpoint:
    """Return the new secret; for 24 hours the one before it signs as well."""
    rotated = await services_of(request).webhooks.rotate(caller.company_id, webhook_id)
    return _with_secret(*rotated)


@router.delete(
    "/{webhook_id}",
    status_code=204,
    response_class=Response,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Remove an endpoint",
)
async def remove_webhook(request: Request, webhook_id: UUID, caller: Manager) -> Response:
    """Remove the endpoint, and what waits for it."""
    await services_of(request).webhooks.remove(caller.company_id, webhook_id)
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/ping",
    status_code=202,
    response_model=Pinged,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Test an endpoint",
)
async def ping_webhook(request: Request, webhook_id: UUID, caller: Manager) -> Pinged:
    """Have the event ``media.webhook.ping.v1`` sent to it, whatever types it wants."""
    event_id = await services_of(request).webhooks.ping(caller.company_id, webhook_id)
    return Pinged(event_id=event_id)


@router.post(
    "/{webhook_id}/replay",
    status_code=202,
    response_model=Replayed,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Send events again",
)
async def replay_webhook(
    request: Request, webhook_id: UUID, body: ReplayRequest, caller: Manager
) -> Replayed:
    """Send events again under their own ids: those of the last 30 days are kept."""
    count = await services_of(request).webhooks.replay(
        caller.company_id, webhook_id, event_id=body.event_id, since=body.since
    )
    return Replayed(count=count)


@router.get(
    "/{webhook_id}/deliveries",
    response_model=DeliveryPage,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="See what was sent",
)
async def list_deliveries(
    request: Request,
    webhook_id: UUID,
    caller: Manager,
    wanted: Annotated[DeliveryQuery, Query()],
) -> DeliveryPage:
    """Return one page; pass its ``nextCursor`` as ``cursor`` to get the next."""
    found = await services_of(request).webhooks.log(
        caller.company_id,
        webhook_id,
        state=wanted.state,
        before=_place(wanted.cursor) if wanted.cursor else None,
        limit=wanted.limit + 1,
    )
    page = found[: wanted.limit]
    return DeliveryPage(
        items=[_delivery(one) for one in page],
        next_cursor=str(page[-1].id) if len(found) > wanted.limit else None,
    )


def _place(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:  # noqa: PLR2004 - bigint
        raise ApiError(ErrorCode.INVALID_CURSOR)
    return int(cursor)


def _view(endpoint: WebhookEndpoint) -> EndpointView:
    return EndpointView(
        id=endpoint.id,
        url=endpoint.url,
        types=endpoint.types,
        enabled=endpoint.enabled,
        failing_since=endpoint.failing_since,
        disabled_at=endpoint.disabled_at,
        old_secret_until=endpoint.old_until,
        created_at=endpoint.created_at,
    )


def _with_secret(endpoint: WebhookEndpoint, secret: str) -> NewEndpoint:
    return NewEndpoint(**_view(endpoint).model_dump(), secret=secret)


def _delivery(one: WebhookDelivery) -> DeliveryView:
    return DeliveryView(
        id=one.id,
        event_id=one.event_id,
        type=one.event_type,
        state=DeliveryState(one.state),
        tries=one.tries,
        answer=one.answer,
        created_at=one.created_at,
        tried_at=one.tried_at,
        next_try_at=one.not_before if one.state == DeliveryState.WAITING else None,
    )
