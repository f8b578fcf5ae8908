"""Webhooks, as a company's server receives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

__all__ = ["WebhookVerificationError", "verify_webhook"]


def verify_webhook(secret: str, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """
    Return the event in a request's *body*, which somebody who knows the *secret* has signed.

    The secret begins with ``whsec_``. Raises WebhookVerificationError for a request that is forged,
    or older than five minutes.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    event: dict[str, Any] = Webhook(secret).verify(body, lower)
    return event
