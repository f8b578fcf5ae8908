"""A client of the media pipeline: uploads that survive anything, and what became of them."""

from media_pipeline.client import AssetFailedError, Event, MediaError, MediaPipeline
from media_pipeline.webhooks import WebhookVerificationError, verify_webhook

__all__ = [
    "AssetFailedError",
    "Event",
    "MediaError",
    "MediaPipeline",
    "WebhookVerificationError",
    "verify_webhook",
]
