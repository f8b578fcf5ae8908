"""The HTTP edge of batches."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from media_contracts.errors import ErrorCode
from media_runtime.http.app import BEARER_ONLY, ApiError, documented, operation_id
from media_runtime.http.plain import plain_post
from media_runtime.telemetry import tracing
from sign_api.batches import DeclaredItem
from sign_api.routes import (
    IDEMPOTENCY_KEY,
    Metadata,
    Reader,
    Uploader,
    declared,
    idempotency_key_of,
    read_json,
    refusals,
    services_of,
    uploader,
    words_of,
)
from sign_api.upload_views import (
    BatchPage,
    BatchRequest,
    BatchUploads,
    BatchView,
    NewBatch,
    batch_upload,
    batch_view,
)
from sign_api.views import decode_cursor, encode_cursor

PATH = "/api/media/batches"

# What a request of usual size is about as long as.
_BYTES_OF_A_REQUEST = 1024
_INPUT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/BatchRequest"}}},
    },
    "parameters": [IDEMPOTENCY_KEY],
}

router = APIRouter(prefix=PATH, tags=["batches"], generate_unique_id_function=operation_id)


@plain_post(
    router,
    "",
    status_code=201,
    response_model=NewBatch,
    responses=documented(400, 401, 403, 415, 422, 429, 503),
    openapi_extra=BEARER_ONLY | _INPUT,
    summary="Ask for the grants of up to 1,000 uploads",
)
async def begin_batch(request: Request) -> Response:
    """
    Return a grant for each file, good for 24 hours: all of them, or none.

    The batch tells how many of them are ready, and a ``media.batch.decided.v1`` event when none is
    awaited or processed any more.
    """
    # Whoever has no token, or has sent too much, has nothing of a large body read.
    caller = await uploader(request)
    rates = services_of(request).rates
    await rates.hit(caller.company_id, len(await request.body()) // _BYTES_OF_A_REQUEST)
    body = await read_json(request, BatchRequest)
    await rates.hit(caller.company_id, len(body.uploads))
    items = [
        DeclaredItem(declared(one), in_parts=one.in_parts, fingerprint=one.fingerprint)
        for one in body.uploads
    ]
    with refusals():
        batch, sent = await services_of(request).batches.begin(
            caller,
            items,
            metadata=body.metadata,
            idempotency_key=idempotency_key_of(request),
            traceparent=tracing.resume(request.headers.get("traceparent")),
        )
    answer = NewBatch(
        **batch_view(batch).model_dump(), items=[batch_upload(one.of, one.grant) for one in sent]
    )
    return Response(
        answer.model_dump_json(by_alias=True), status_code=201, media_type="application/json"
    )


@router.get(
    "",
    response_model=BatchPage,
    responses=documented(400, 401, 403, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="List batches, newest first",
)
async def list_batches(
    request: Request,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
    metadata: Metadata = (),
) -> BatchPage:
    """Return one page; pass its ``nextCursor`` as ``cursor`` to get the next."""
    found = await services_of(request).batches.page(
        caller.company_id,
        metadata=words_of(metadata),
        limit=limit + 1,
        after=decode_cursor(cursor) if cursor else None,
    )
    page = found[:limit]
    return BatchPage(
        items=[batch_view(one) for one in page],
        next_cursor=encode_cursor(page[-1]) if len(found) > limit else None,
    )


@router.get(
    "/{batch_id}",
    response_model=BatchView,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="See how far a batch is",
)
async def get_batch(request: Request, batch_id: UUID, caller: Reader) -> BatchView:
    """Return the batch; it costs the same whatever its number of uploads."""
    return batch_view(await services_of(request).batches.get(caller.company_id, batch_id))


@router.get(
    "/{batch_id}/uploads",
    response_model=BatchUploads,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="List what of a batch is still to be sent",
)
async def list_batch_uploads(
    request: Request,
    batch_id: UUID,
    caller: Uploader,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
    cursor: str | None = None,
) -> BatchUploads:
    """
    Return one page of them, each with a new grant; its assets are those of ``/assets?batch=``.

    Any client of the company goes on with a batch by it.
    """
    found = await services_of(request).batches.unsent(
        caller.company_id, batch_id, limit=limit + 1, after=_position(cursor)
    )
    page = found[:limit]
    return BatchUploads(
        items=[batch_upload(one.of, one.grant) for one in page],
        next_cursor=str(page[-1].of.asset.id) if len(found) > limit else None,
    )


@router.post(
    "/{batch_id}/cancel",
    response_model=BatchView,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Cancel what is not decided of a batch",
)
async def cancel_batch(request: Request, batch_id: UUID, caller: Uploader) -> BatchView:
    """Stop work on it, and give up what was not sent; what is ready stays."""
    return batch_view(await services_of(request).batches.cancel(caller.company_id, batch_id))


@router.post(
    "/{batch_id}/retry",
    status_code=202,
    response_model=BatchView,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Process what has failed of a batch again",
)
async def retry_batch(request: Request, batch_id: UUID, caller: Uploader) -> BatchView:
    """Begin a new attempt for all that failed and whose file is kept."""
    return batch_view(await services_of(request).batches.retry(caller.company_id, batch_id))


def _position(cursor: str | None) -> UUID | None:
    try:
        return UUID(cursor) if cursor else None
    except ValueError as error:
        raise ApiError(ErrorCode.INVALID_CURSOR) from error
