"""Kafka edge of the thumbnailer: one request in, one answer out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TypeAlias

import structlog
from media_contracts import (
    MEDIA_THUMBNAILED,
    CloudEvent,
    ErrorInfo,
    ImageChecked,
    ImageCheckRequested,
    ThumbnailFailed,
    ThumbnailMade,
    ThumbnailRequested,
    derived_id,
    new_event,
)
from media_contracts.errors import ErrorCode
from media_contracts.warnings import WarningCode
from media_runtime.errors import InconclusiveError, PermanentError
from media_runtime.kafka.producer import Producer, event_record
from media_runtime.telemetry import tracing
from thumbnailer.metrics import PICTURES
from thumbnailer.use_cases import Checked, Made, MakePictures

log = structlog.get_logger(__name__)

SERVICE = "thumbnailer"
SOURCE = "/media/thumbnailer"
_TRIES = 3


Request: TypeAlias = ImageCheckRequested | ThumbnailRequested
Answer: TypeAlias = ImageChecked | ThumbnailMade | ThumbnailFailed


class OnRequest:
    """
    Answers a check with ImageChecked, a request for pictures with ThumbnailMade.

    Either may be answered with ThumbnailFailed. A second delivery stores the same objects and
    sends an event of the same id. A file that is at fault is an answer, not a dead letter; errors
    of infrastructure are the broker's middleware's to settle.
    """

    def __init__(self, make_pictures: MakePictures, producer: Producer) -> None:
        self._make_pictures = make_pictures
        self._producer = producer

    async def __call__(self, event: CloudEvent[Request]) -> None:
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
            # Of a slow image there are none yet: they are asked for by themselves.
            told = event.data if isinstance(answer, ThumbnailFailed) else answer
            PICTURES.labels(outcome).inc(len(told.pictures))

    async def _answer(self, request: Request) -> tuple[str, Answer]:
        try:
            answer = await self._in_a_few_tries(request)
        except PermanentError as error:
            tracing.mark_failed(error)
            log.warning("thumbnail_failed", code=error.code, error=error.message, why=error.detail)
            reason = ErrorInfo(code=error.code, message=error.message)
            return "failed", ThumbnailFailed(attempt=request.attempt, error=reason)
        log.info("thumbnail_made", pictures=len(answer.pictures), warnings=answer.warnings)
        return "made", answer

    async def _in_a_few_tries(self, request: Request) -> ImageChecked | ThumbnailMade:
        for _ in range(_TRIES):
            try:
                if isinstance(request, ImageCheckRequested):
                    return _checked(request, await self._make_pictures.check(request))
                return _made(request, await self._make_pictures(request))
            except InconclusiveError as error:
                log.warning("thumbnail_was_ended", error=str(error))
        # No more: behind this record wait those of other companies.
        raise PermanentError(ErrorCode.PROCESSING_FAILED, tries=_TRIES)

    async def _send(
        self,
        cause: CloudEvent[Request],
        outcome: str,
        answer: Answer,
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


def _checked(request: ImageCheckRequested, checked: Checked) -> ImageChecked:
    info = checked.info
    return ImageChecked(
        attempt=request.attempt,
        task=request.task,
        sha256=checked.sha256,
        content_type=checked.content_type,
        format=info.format,
        width=info.width,
        height=info.height,
        frames=info.frames,
        scans=info.scans,
        hdr=info.hdr,
        pictures=checked.pictures,
        seconds=0,
        warnings=_codes(checked.warnings),
    )


def _made(request: ThumbnailRequested, made: Made) -> ThumbnailMade:
    return ThumbnailMade(
        attempt=request.attempt, pictures=made.pictures, warnings=_codes(made.warnings)
    )


def _codes(warnings: Iterable[WarningCode]) -> list[str] | None:
    return [code.value for code in warnings] or None
