"""The HTTP edge of uploads in parts."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from media_runtime.http.app import BEARER_ONLY, documented, operation_id
from media_runtime.telemetry import tracing
from sign_api.routes import (
    IDEMPOTENCY_KEY,
    Reader,
    Uploader,
    declared,
    idempotency_key_of,
    refusals,
    services_of,
)
from sign_api.upload_views import (
    PartGrant,
    PartsRequest,
    PartsResponse,
    UploadPage,
    UploadRequest,
    UploadView,
    open_upload,
    upload_view,
)
from sign_api.views import decode_cursor, encode_cursor

router = APIRouter(
    prefix="/api/media/uploads", tags=["uploads"], generate_unique_id_function=operation_id
)


@router.post(
    "",
    status_code=201,
    response_model=UploadView,
    responses=documented(400, 401, 403, 422, 429, 503),
    openapi_extra=BEARER_ONLY | {"parameters": [IDEMPOTENCY_KEY]},
    summary="Begin an upload in parts",
)
async def begin_upload(request: Request, body: UploadRequest, caller: Uploader) -> UploadView:
    """
    Reserve what the file takes, and return how it is cut into parts.

    The upload survives whatever its client does not: any client of the company can go on with it
    for 24 hours. Small files are uploaded in one request by ``/sign``.
    """
    services = services_of(request)
    with refusals():
        asset_id = await services.uploads.begin(
            caller,
            declared(body),
            fingerprint=body.fingerprint,
            idempotency_key=idempotency_key_of(request),
            traceparent=tracing.resume(request.headers.get("traceparent")),
        )
    return await _view(request, caller.company_id, asset_id)


@router.get(
    "",
    response_model=UploadPage,
    responses=documented(400, 401, 403, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="List uploads that can go on, newest first",
)
async def list_uploads(
    request: Request,
    caller: Reader,
    fingerprint: Annotated[str | None, Query(min_length=1, max_length=255)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
) -> UploadPage:
    """Return one page; pass its ``nextCursor`` as ``cursor`` to get the next."""
    found = await services_of(request).uploads.page(
        caller.company_id,
        fingerprint=fingerprint,
        limit=limit + 1,
        after=decode_cursor(cursor) if cursor else None,
    )
    page = found[:limit]
    return UploadPage(
        items=[open_upload(one) for one in page],
        next_cursor=encode_cursor(page[-1].asset) if len(found) > limit else None,
    )


@router.get(
    "/{asset_id}",
    response_model=UploadView,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="See which parts of an upload are there",
)
async def get_upload(request: Request, asset_id: UUID, caller: Reader) -> UploadView:
    """Return the upload with its stored parts, as storage has them now."""
    return await _view(request, caller.company_id, asset_id)


@router.post(
    "/{asset_id}/parts",
    response_model=PartsResponse,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Get the URLs that parts are sent to",
)
async def grant_parts(
    request: Request, asset_id: UUID, body: PartsRequest, caller: Uploader
) -> PartsResponse:
    """
    Return a URL for each part, which is good for 15 minutes and for exactly its size.

    Parts may be sent in any order and at the same time; what is sent again replaces what was there.
    """
    parts, expires_at = await services_of(request).uploads.grant(
        caller.company_id, asset_id, body.numbers
    )
    return PartsResponse(
        parts=[PartGrant(number=one.number, size=one.size, url=one.url) for one in parts],
        expires_at=expires_at,
    )


@router.post(
    "/{asset_id}/complete",
    response_model=UploadView,
    responses=documented(400, 401, 403, 404, 409, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Make the file of its parts",
)
async def complete_upload(request: Request, asset_id: UUID, caller: Uploader) -> UploadView:
    """
    Make one file of all parts; processing begins by itself.

    Each part must be there, in its size. The same request again changes nothing.
    """
    done = await services_of(request).uploads.complete(caller.company_id, asset_id)
    return upload_view(done.of, is_complete=True)


@router.delete(
    "/{asset_id}",
    status_code=204,
    response_class=Response,
    responses=documented(400, 401, 403, 404, 409, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Give an upload up",
)
async def abort_upload(request: Request, asset_id: UUID, caller: Uploader) -> Response:
    """Remove the parts, and free what was reserved for them; its asset is cancelled."""
    await services_of(request).uploads.abort(caller.company_id, asset_id)
    return Response(status_code=204)


async def _view(request: Request, company_id: UUID, asset_id: UUID) -> UploadView:
    found = await services_of(request).uploads.look(company_id, asset_id)
    return upload_view(found.of, found.stored, is_complete=found.is_complete)
