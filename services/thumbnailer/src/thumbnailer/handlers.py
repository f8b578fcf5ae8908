"""Kafka edge of the thumbnailer: one request in, one result out."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import structlog
from media_contracts import (
    MEDIA_THUMBNAILED,
    CloudEvent,
    ErrorInfo,
    ThumbnailFailed,
    ThumbnailMade,
    ThumbnailRequested,
    derived_id,
    new_event,
)
from media_contracts.errors import ErrorCode
from media_runtime.errors import InconclusiveError, PermanentError
from media_runtime.kafka.producer import Producer, event_record
from media_runtime.telemetry import tracing
from thumbnailer.metrics import PICTURES
from thumbnailer.use_cases import Made, MakePictures

log = structlog.get_logger(__name__)

SERVICE = "thumbnailer"
SOURCE = "/media/thumbnailer"
_TRIES = 3


class OnThumbnailRequested:
    """
    Answers each request with ThumbnailMade or ThumbnailFailed.

    A second delivery stores the same objects and sends an event of the same id. A file that
    is at fault is an answer, not a dead letter; errors of infrastructure are the broker's
    middleware's to settle.
    """

    def __init__(self, make_pictures: MakePictures, producer: Producer) -> None:
        self._make_pictures = make_pictures
        self._producer = producer

    async def __call__(self, event: CloudEvent[ThumbnailRequested]) -> None:
        """Make the pictures and tell of them."""
        with structlog.contextvars.bound_contextvars(
            asset_id=str(event.subject),
            company_id=str(event.companyid),
            **tracing.trace_fields(event.traceparent),
        ):
            began = time.monotonic()
            outcome, answer = await self._answer(event.data)
            about = {"task": event.data.task, "seconds": time.monotonic() - began}
            answer = answer.model_copy(update=about)
            await self._send(event, outcome, answer)
            PICTURES.labels(outcome).inc(len(event.data.pictures))

    async def _answer(
        self, request: ThumbnailRequested
    ) -> tuple[str, ThumbnailMade | ThumbnailFailed]:
        try:
            made = await self._in_a_few_tries(request)
        except PermanentError as error:
            tracing.mark_failed(error)
            log.warning("thumbnail_failed", code=error.code, error=error.message, why=error.detail)
            reason = ErrorInfo(code=error.code, message=error.message)
            return "failed", ThumbnailFailed(attempt=request.attempt, error=reason)
        log.info("thumbnail_made", pictures=len(made.pictures), warnings=made.warnings)
        return "made", ThumbnailMade(
            attempt=request.attempt,
            pictures=made.pictures,
            warnings=[code.value for code in made.warnings] or None,
        )

    async def _in_a_few_tries(self, request: ThumbnailRequested) -> Made:
        for _ in range(_TRIES):
            try:
                return await self._make_pictures(request)
            except InconclusiveError as error:
                log.warning("thumbnail_was_ended", error=str(error))
        # No more: behind this record wait those of other companies.
        raise PermanentError(ErrorCode.PROCESSING_FAILED, tries=_TRIES)

    async def _send(
        self,
        cause: CloudEvent[ThumbnailRequested],
        outcome: str,
        answer: ThumbnailMade | ThumbnailFailed,
    ) -> None:
        event = new_event(
            answer,
            source=SOURCE,
            asset_id=cause.subject,
            company_id=cause.companyid,
            time=datetime.now(UTC),
            event_id=derived_id(cause.id, outcome),
            traceparent=cause.traceparent,
        )
        await self._producer.send(event_record(MEDIA_THUMBNAILED, event))
