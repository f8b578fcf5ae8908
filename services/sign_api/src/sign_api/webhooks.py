"""
A company's endpoints: added, changed, tested, and what was sent to them.

Who may upload may not do this: whoever adds an endpoint hears of all that the company uploads.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from media_contracts import (
    AssetPlayable,
    AssetProgressed,
    AssetStatusChanged,
    BatchDecided,
    MediaProcessed,
    WebhookPing,
)
from media_contracts.envelope import new_event
from media_contracts.errors import ErrorCode
from media_records import webhooks
from media_records.tables import WebhookDelivery, WebhookEndpoint
from media_records.work import Work
from media_runtime.errors import PermanentError
from media_runtime.http.egress import ForbiddenAddressError, check_url, networks_of
from sign_api.settings import SignApiSettings

TYPES = tuple(
    one.event_type
    for one in (AssetStatusChanged, AssetProgressed, AssetPlayable, MediaProcessed, BatchDecided)
)
"""The types of events that endpoints can hear of."""
BOTH_SECRETS = timedelta(hours=24)
"""How long the secret before a new one signs as well."""
_SECRET_BYTES = 32


class EndpointNotFoundError(PermanentError):
    """There is no such endpoint, or none that this company has."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.WEBHOOK_NOT_FOUND)


class Endpoints:
    """A company's endpoints."""

    def __init__(self, work: Work, settings: SignApiSettings) -> None:
        self._work = work
        self._inside = networks_of(settings.webhook_inside)
        self._at_most = settings.company_webhooks

    async def add(
        self, company_id: UUID, url: str, types: Sequence[str]
    ) -> tuple[WebhookEndpoint, str]:
        """Record an endpoint and return it with its secret; raises PermanentError."""
        self._check(url, types)
        secret = _new_secret()
        async with self._work.begin(company_id) as tx:
            added = await webhooks.add_endpoint(
                tx, company_id, url, types, secret, at_most=self._at_most
            )
        if added is None:
            raise PermanentError(ErrorCode.TOO_MANY_ENDPOINTS, limit=self._at_most)
        return added, secret

    async def all(self, company_id: UUID) -> Sequence[WebhookEndpoint]:
        """Return the company's endpoints, the oldest first."""
        async with self._work.begin(company_id) as tx:
            return await webhooks.endpoints_of(tx, company_id)

    async def get(self, company_id: UUID, endpoint_id: UUID) -> WebhookEndpoint:
        """Return an endpoint; raises EndpointNotFoundError."""
        async with self._work.begin(company_id) as tx:
            return _found(await webhooks.find_endpoint(tx, endpoint_id))

    async def change(
        self,
        company_id: UUID,
        endpoint_id: UUID,
        *,
        url: str | None,
        types: Sequence[str] | None,
        enabled: bool | None,
    ) -> WebhookEndpoint:
        """Change what is given and return the endpoint; raises PermanentError."""
        self._check(url, types or ())
        async with self._work.begin(company_id) as tx:
            return _found(
                await webhooks.change_endpoint(
                    tx, endpoint_id, url=url, types=types, enabled=enabled
                )
            )

    async def rotate(self, company_id: UUID, endpoint_id: UUID) -> tuple[WebhookEndpoint, str]:
        """Make a new secret and return it; for a day the one before it signs as well."""
        secret = _new_secret()
        async with self._work.begin(company_id) as tx:
            if not await webhooks.rotate_secret(tx, endpoint_id, secret, both_for=BOTH_SECRETS):
                raise EndpointNotFoundError
            return _found(await webhooks.find_endpoint(tx, endpoint_id)), secret

    async def remove(self, company_id: UUID, endpoint_id: UUID) -> None:
        """Remove an endpoint with what waits for it; raises EndpointNotFoundError."""
        async with self._work.begin(company_id) as tx:
            if not await webhooks.forget_endpoint(tx, endpoint_id):
                raise EndpointNotFoundError

    async def ping(self, company_id: UUID, endpoint_id: UUID) -> UUID:
        """Have a test event sent and return its id; raises EndpointNotFoundError."""
        event = new_event(
            WebhookPing(),
            source="/media/sign_api",
            asset_id=endpoint_id,
            company_id=company_id,
            time=datetime.now(UTC),
        )
        async with self._work.begin(company_id) as tx:
            _found(await webhooks.find_endpoint(tx, endpoint_id))
            body = event.to_bytes().decode()
            await webhooks.queue_event(tx, endpoint_id, event.id, event.type, body)
        return event.id

    async def replay(
        self, company_id: UUID, endpoint_id: UUID, *, event_id: UUID | None, since: datetime | None
    ) -> int:
        """Send an event again, or all *since* a moment; return how many. Raises PermanentError."""
        if (event_id is None) == (since is None):
            raise PermanentError(ErrorCode.INVALID_REPLAY)
        async with self._work.begin(company_id) as tx:
            _found(await webhooks.find_endpoint(tx, endpoint_id))
            return await webhooks.send_again(tx, endpoint_id, event_id=event_id, since=since)

    async def log(
        self,
        company_id: UUID,
        endpoint_id: UUID,
        *,
        state: str | None,
        before: int | None,
        limit: int,
    ) -> Sequence[WebhookDelivery]:
        """Return up to *limit* deliveries, newest first; raises EndpointNotFoundError."""
        async with self._work.begin(company_id) as tx:
            _found(await webhooks.find_endpoint(tx, endpoint_id))
            return await webhooks.deliveries_of(
                tx, endpoint_id, state=state, before=before, limit=limit
            )

    def _check(self, url: str | None, types: Sequence[str]) -> None:
        if not set(types) <= set(TYPES):
            raise PermanentError(ErrorCode.INVALID_TYPES, accepted=", ".join(TYPES))
        if url is None:
            return
        try:
            check_url(url, inside=self._inside)
        except ForbiddenAddressError as error:
            raise PermanentError(ErrorCode.INVALID_URL, why=error) from error


def _found(endpoint: WebhookEndpoint | None) -> WebhookEndpoint:
    if endpoint is None:
        raise EndpointNotFoundError
    return endpoint


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
