"""The HTTP edge: decode one request, call one use case."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from media_contracts import About, AssetStatus, Focus
from media_contracts.errors import ErrorCode
from media_records.actions import (
    AssetNotFoundError,
    NotFailedError,
    OriginalGoneError,
    RetriedTooSoonError,
)
from media_records.files import Files
from media_records.posters import (
    NoPicturesError,
    NotAVideoError,
    NotReadyError,
    PosterUnderWayError,
)
from media_records.tables import Asset
from media_runtime.http.app import (
    BEARER_ONLY,
    READ,
    UPLOAD,
    ApiError,
    caller_of,
    documented,
    operation_id,
)
from media_runtime.http.auth import Caller, TokenVerifier
from media_runtime.http.links import LinkSigner
from media_runtime.http.plain import plain_post
from media_runtime.http.rate_limit import CompanyRateLimiter, limit_headers
from media_runtime.telemetry import tracing
from pydantic import BaseModel, ValidationError
from sign_api.batches import Batches
from sign_api.domain import RefusedUploadError, check_metadata
from sign_api.upload_views import SignRequest, SignResponse
from sign_api.uploads import Uploads
from sign_api.use_cases import (
    Assets,
    BucketNotReadyError,
    DeclaredUpload,
    SignUpload,
    TooManyGrantsError,
)
from sign_api.views import (
    AssetPage,
    AssetView,
    CropRequest,
    PosterRequest,
    asset_view,
    decode_cursor,
    encode_cursor,
)
from sign_api.webhooks import Endpoints

FIELD_CODES = {
    "metadata": ErrorCode.INVALID_METADATA,
    "uploads": ErrorCode.INVALID_BATCH,
    "batch": ErrorCode.INVALID_BATCH_ID,
    "batch_id": ErrorCode.INVALID_BATCH_ID,
    "fileName": ErrorCode.INVALID_FILE_NAME,
    "size": ErrorCode.INVALID_SIZE,
    "type": ErrorCode.INVALID_TYPE,
    "profile": ErrorCode.UNKNOWN_PROFILE,
    "status": ErrorCode.INVALID_STATUS,
    "limit": ErrorCode.INVALID_LIMIT,
    "asset_id": ErrorCode.INVALID_ASSET_ID,
    "numbers": ErrorCode.INVALID_PARTS,
    "webhook_id": ErrorCode.INVALID_WEBHOOK_ID,
    "url": ErrorCode.INVALID_URL,
    "types": ErrorCode.INVALID_TYPES,
    "eventId": ErrorCode.INVALID_REPLAY,
    "since": ErrorCode.INVALID_REPLAY,
    "fingerprint": ErrorCode.INVALID_FINGERPRINT,
    "atSeconds": ErrorCode.INVALID_TIME,
    "title": ErrorCode.INVALID_TEXT,
    "alt": ErrorCode.INVALID_TEXT,
    "focus": ErrorCode.INVALID_FOCUS,
    "crop": ErrorCode.INVALID_CROP,
    "x": ErrorCode.INVALID_FOCUS,
    "y": ErrorCode.INVALID_FOCUS,
}
"""The code of an invalid input, by the name of its field or parameter."""

_NO_POSTER = {
    NotAVideoError: ErrorCode.NOT_A_VIDEO,
    NotReadyError: ErrorCode.NOT_READY,
    NoPicturesError: ErrorCode.NO_PICTURES,
    PosterUnderWayError: ErrorCode.POSTER_UNDER_WAY,
}
ModelT = TypeVar("ModelT", bound=BaseModel)
_MAX_WANTED = 10
_MIDDLE = Focus(x=0.5, y=0.5)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key gives the same grant for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "example": "4b1f6a1e-upload-1",
}
"""OpenAPI's entry for the header that makes a request for a grant safe to repeat."""

_SIGN_INPUT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SignRequest"}}},
    },
    "parameters": [IDEMPOTENCY_KEY],
}

router = APIRouter(prefix="/api/media", tags=["media"], generate_unique_id_function=operation_id)


@dataclass(frozen=True)
class Services:
    """What the routes call; built once by build_app."""

    verifier: TokenVerifier
    sign_upload: SignUpload
    uploads: Uploads
    batches: Batches
    webhooks: Endpoints
    assets: Assets
    links: LinkSigner
    rates: CompanyRateLimiter


def services_of(request: Request) -> Services:
    """Return what the routes of this app call."""
    services: Services = request.app.state.services
    return services


async def uploader(request: Request) -> Caller:
    """Return who asks, with the permission to upload, and count it; raises ApiError."""
    return await counted(request, UPLOAD)


async def _reader(request: Request) -> Caller:
    return await counted(request, READ, UPLOAD)


async def counted(request: Request, *any_of: str) -> Caller:
    """Return who asks, with one of these permissions, and count it; raises ApiError."""
    services = services_of(request)
    caller = await caller_of(request, services.verifier, *any_of)
    await services.rates.hit(caller.company_id)
    return caller


Uploader = Annotated[Caller, Depends(uploader)]
Reader = Annotated[Caller, Depends(_reader)]


Metadata = Annotated[
    Sequence[str],
    Query(
        max_length=_MAX_WANTED,
        description="word:text, which what is listed has in its metadata",
        examples=["order:4711"],
    ),
]


def words_of(wanted: Sequence[str]) -> dict[str, str]:
    """Return the metadata that is asked for; raises RefusedUploadError."""
    words = dict(one.partition(":")[::2] for one in wanted)
    if len(words) < len(wanted) or not all(":" in one for one in wanted):
        raise RefusedUploadError(
            ErrorCode.INVALID_METADATA,
            "metadata must be a word, a colon and its text, as order:4711, each word once.",
        )
    check_metadata(words)
    return words


@plain_post(
    router,
    "/sign",
    status_code=201,
    response_model=SignResponse,
    responses=documented(400, 401, 403, 415, 422, 429, 503),
    openapi_extra=BEARER_ONLY | _SIGN_INPUT,
    summary="Ask for an upload grant",
)
async def sign(request: Request) -> Response:
    """
    Return a grant to upload one file straight to storage, by presigned PUT.

    The grant lapses after an hour and allows exactly one file of the declared type and size,
    under a key of the caller's company.
    """
    caller = await uploader(request)
    idempotency_key = idempotency_key_of(request)
    body = await read_json(request, SignRequest)
    with refusals():
        answer = await services_of(request).sign_upload(
            caller,
            declared(body),
            idempotency_key=idempotency_key,
            traceparent=tracing.resume(request.headers.get("traceparent")),
        )
    return Response(answer, status_code=201, media_type="application/json")


@contextmanager
def refusals() -> Iterator[None]:
    """Answer with a problem where a grant is refused in the block."""
    try:
        yield
    except TooManyGrantsError as error:
        raise ApiError(
            ErrorCode.TOO_MANY_OPEN_GRANTS,
            headers=limit_headers(f'"grants";q={error.limit}', seconds=60),
        ) from error
    except BucketNotReadyError as error:
        raise ApiError(ErrorCode.STORAGE_NOT_READY, headers={"Retry-After": "2"}) from error


def declared(body: SignRequest) -> DeclaredUpload:
    """Return what a request says of the file that is to be uploaded."""
    return DeclaredUpload(body.file_name, body.size, body.type, body.profile, _about(body))


def _about(body: SignRequest) -> About | None:
    if not body.model_dump(
        include={"title", "alt", "focus", "crop", "metadata"}, exclude_none=True
    ):
        return None
    focus = Focus(x=body.focus.x, y=body.focus.y) if body.focus else None
    # Of what it says itself, domain.check_about tells what is wrong.
    return About.model_construct(
        title=body.title, alt=body.alt, focus=focus, crop=body.crop, metadata=body.metadata
    )


async def read_json(request: Request, model: type[ModelT]) -> ModelT:
    """Return the body of a request that a route reads itself; raises as FastAPI does."""
    _refuse_other_types(request)
    try:
        return model.model_validate(json.loads(await request.body()))
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        raise RequestValidationError(found) from error
    except (ValueError, RecursionError) as error:
        raise ApiError(ErrorCode.INVALID_REQUEST, "The request body is not JSON.") from error


def _refuse_other_types(request: Request) -> None:
    media_type = request.headers.get("content-type", "application/json")
    if media_type.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE)


def idempotency_key_of(request: Request) -> str | None:
    """Return the request's Idempotency-Key, if it has one."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise ApiError(ErrorCode.INVALID_IDEMPOTENCY_KEY)
    return key


@router.get(
    "/assets/{asset_id}",
    response_model=AssetView,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Look at one asset",
)
async def get_asset(request: Request, asset_id: UUID, caller: Reader) -> AssetView:
    """Return the asset; its URLs are made anew with each read and lapse."""
    services = services_of(request)
    try:
        found = await services.assets.get(caller.company_id, asset_id)
    except AssetNotFoundError as error:
        raise _not_found() from error
    return asset_view(found.asset, found.files, services.links, found.wait, found.streams)


@router.get(
    "/assets",
    response_model=AssetPage,
    responses=documented(400, 401, 403, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="List assets, newest first",
)
async def list_assets(
    request: Request,
    caller: Reader,
    *,
    status: AssetStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
    batch: UUID | None = None,
    metadata: Metadata = (),
) -> AssetPage:
    """
    Return one page; pass its ``nextCursor`` as ``cursor`` to get the next.

    With ``metadata=order:4711`` it has assets of which their client said that; several all count.
    """
    services = services_of(request)
    found = await services.assets.page(
        caller.company_id,
        status=status,
        limit=limit + 1,
        after=decode_cursor(cursor) if cursor else None,
        batch_id=batch,
        metadata=words_of(metadata),
    )
    page = found[:limit]
    return AssetPage(
        items=[asset_view(one.asset, one.files, services.links, one.wait) for one in page],
        next_cursor=encode_cursor(page[-1].asset) if len(found) > limit else None,
    )


@router.post(
    "/assets/{asset_id}/retry",
    status_code=202,
    response_model=AssetView,
    responses=documented(400, 401, 403, 404, 409, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Process a failed asset again",
)
async def retry_asset(request: Request, asset_id: UUID, caller: Uploader) -> AssetView:
    """Begin a new attempt. Only a failed asset can be retried."""
    services = services_of(request)
    try:
        asset = await services.assets.retry(caller.company_id, asset_id)
    except AssetNotFoundError as error:
        raise _not_found() from error
    except NotFailedError as error:
        raise ApiError(ErrorCode.NOT_FAILED) from error
    except OriginalGoneError as error:
        raise ApiError(ErrorCode.ORIGINAL_GONE) from error
    except RetriedTooSoonError as error:
        raise ApiError(
            ErrorCode.RETRIED_TOO_SOON,
            headers=limit_headers('"asset-retries";q=1', seconds=math.ceil(error.seconds)),
        ) from error
    return asset_view(asset, (), services.links)


@router.post(
    "/assets/{asset_id}/poster",
    status_code=202,
    response_model=AssetView,
    responses=documented(400, 401, 403, 404, 409, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Choose the moment that a video's pictures show",
)
async def choose_poster(
    request: Request, asset_id: UUID, body: PosterRequest, caller: Uploader
) -> AssetView:
    """
    Make all pictures of a ready video anew, of one moment.

    Those that it has are served until the new ones are there, which a ``thumbnailed`` event tells.
    The same request again changes nothing.
    """
    chosen = services_of(request).assets.choose_poster(caller.company_id, asset_id, body.at_seconds)
    return await _made_anew(request, chosen)


@router.post(
    "/assets/{asset_id}/pictures",
    status_code=202,
    response_model=AssetView,
    responses=documented(400, 401, 403, 404, 409, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Choose what an asset's crops have in their middle",
)
async def crop_pictures(
    request: Request, asset_id: UUID, body: CropRequest, caller: Uploader
) -> AssetView:
    """
    Make the cropped pictures of a ready asset anew, round a point, or what people look at first.

    Those that it has are served until the new ones are there, which a ``thumbnailed`` event tells;
    uploads come first. The same request again changes nothing.
    """
    focus = Focus(x=body.focus.x, y=body.focus.y) if body.focus else None
    kept = focus or body.crop or _MIDDLE
    cropped = services_of(request).assets.crop(caller.company_id, asset_id, kept)
    return await _made_anew(request, cropped)


async def _made_anew(request: Request, asked: Awaitable[tuple[Asset, Files]]) -> AssetView:
    try:
        asset, files = await asked
    except AssetNotFoundError as error:
        raise _not_found() from error
    except OriginalGoneError as error:
        raise ApiError(ErrorCode.ORIGINAL_GONE, "The uploaded file is no longer kept.") from error
    except tuple(_NO_POSTER) as error:
        raise ApiError(_NO_POSTER[type(error)]) from error
    return asset_view(asset, files, services_of(request).links)


@router.delete(
    "/assets/{asset_id}",
    status_code=204,
    response_class=Response,
    responses=documented(400, 401, 403, 404, 429, 503),
    openapi_extra=BEARER_ONLY,
    summary="Delete an asset and its files",
)
async def delete_asset(request: Request, asset_id: UUID, caller: Uploader) -> Response:
    """Delete the asset at once and its files soon after; processing under way stops."""
    try:
        await services_of(request).assets.delete(caller.company_id, asset_id)
    except AssetNotFoundError as error:
        raise _not_found() from error
    return Response(status_code=204)


def _not_found() -> ApiError:
    return ApiError(ErrorCode.ASSET_NOT_FOUND)
