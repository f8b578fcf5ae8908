from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...types import Response, UNSET
from ... import errors

from ...models.asset_page import AssetPage
from ...models.asset_status import AssetStatus
from ...models.problem import Problem
from ...types import UNSET, Unset
from typing import cast
from uuid import UUID


def _get_kwargs(
    *,
    status: AssetStatus | None | Unset = UNSET,
    limit: int | Unset = 20,
    cursor: None | str | Unset = UNSET,
    batch: None | Unset | UUID = UNSET,
    metadata: list[str] | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    json_status: None | str | Unset
    if isinstance(status, Unset):
        json_status = UNSET
    elif isinstance(status, AssetStatus):
        json_status = status.value
    else:
        json_status = status
    params["status"] = json_status

    params["limit"] = limit

    json_cursor: None | str | Unset
    if isinstance(cursor, Unset):
        json_cursor = UNSET
    else:
        json_cursor = cursor
    params["cursor"] = json_cursor

    json_batch: None | str | Unset
    if isinstance(batch, Unset):
        json_batch = UNSET
    elif isinstance(batch, UUID):
        json_batch = str(batch)
    else:
        json_batch = batch
    params["batch"] = json_batch

    json_metadata: list[str] | Unset = UNSET
    if not isinstance(metadata, Unset):
        json_metadata = metadata

    params["metadata"] = json_metadata

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/media/assets",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> AssetPage | Problem | None:
    if response.status_code == 200:
        response_200 = AssetPage.from_dict(response.json())

        return response_200

    if response.status_code == 400:
        response_400 = Problem.from_dict(response.json())

        return response_400

    if response.status_code == 401:
        response_401 = Problem.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = Problem.from_dict(response.json())

        return response_403

    if response.status_code == 408:
        response_408 = Problem.from_dict(response.json())

        return response_408

    if response.status_code == 413:
        response_413 = Problem.from_dict(response.json())

        return response_413

    if response.status_code == 429:
        response_429 = Problem.from_dict(response.json())

        return response_429

    if response.status_code == 431:
        response_431 = Problem.from_dict(response.json())

        return response_431

    if response.status_code == 503:
        response_503 = Problem.from_dict(response.json())

        return response_503

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[AssetPage | Problem]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    status: AssetStatus | None | Unset = UNSET,
    limit: int | Unset = 20,
    cursor: None | str | Unset = UNSET,
    batch: None | Unset | UUID = UNSET,
    metadata: list[str] | Unset = UNSET,
) -> Response[AssetPage | Problem]:
    """List assets, newest first

     Return one page; pass its ``nextCursor`` as ``cursor`` to get the next.

    With ``metadata=order:4711`` it has assets of which their client said that; several all count.

    Args:
        status (AssetStatus | None | Unset):
        limit (int | Unset):  Default: 20.
        cursor (None | str | Unset):
        batch (None | Unset | UUID):
        metadata (list[str] | Unset): word:text, which what is listed has in its metadata

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AssetPage | Problem]
    """

    kwargs = _get_kwargs(
        status=status,
        limit=limit,
        cursor=cursor,
        batch=batch,
        metadata=metadata,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    status: AssetStatus | None | Unset = UNSET,
    limit: int | Unset = 20,
    cursor: None | str | Unset = UNSET,
    batch: None | Unset | UUID = UNSET,
    metadata: list[str] | Unset = UNSET,
) -> AssetPage | Problem | None:
    """List assets, newest first

     Return one page; pass its ``nextCursor`` as ``cursor`` to get the next.

    With ``metadata=order:4711`` it has assets of which their client said that; several all count.

    Args:
        status (AssetStatus | None | Unset):
        limit (int | Unset):  Default: 20.
        cursor (None | str | Unset):
        batch (None | Unset | UUID):
        metadata (list[str] | Unset): word:text, which what is listed has in its metadata

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AssetPage | Problem
    """

    return sync_detailed(
        client=client,
        status=status,
        limit=limit,
        cursor=cursor,
        batch=batch,
        metadata=metadata,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    status: AssetStatus | None | Unset = UNSET,
    limit: int | Unset = 20,
    cursor: None | str | Unset = UNSET,
    batch: None | Unset | UUID = UNSET,
    metadata: list[str] | Unset = UNSET,
) -> Response[AssetPage | Problem]:
    """List assets, newest first

     Return one page; pass its ``nextCursor`` as ``cursor`` to get the next.

    With ``metadata=order:4711`` it has assets of which their client said that; several all count.

    Args:
        status (AssetStatus | None | Unset):
        limit (int | Unset):  Default: 20.
        cursor (None | str | Unset):
        batch (None | Unset | UUID):
        metadata (list[str] | Unset): word:text, which what is listed has in its metadata

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AssetPage | Problem]
    """

    kwargs = _get_kwargs(
        status=status,
        limit=limit,
        cursor=cursor,
        batch=batch,
        metadata=metadata,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    status: AssetStatus | None | Unset = UNSET,
    limit: int | Unset = 20,
    cursor: None | str | Unset = UNSET,
    batch: None | Unset | UUID = UNSET,
    metadata: list[str] | Unset = UNSET,
) -> AssetPage | Problem | None:
    """List assets, newest first

     Return one page; pass its ``nextCursor`` as ``cursor`` to get the next.

    With ``metadata=order:4711`` it has assets of which their client said that; several all count.

    Args:
        status (AssetStatus | None | Unset):
        limit (int | Unset):  Default: 20.
        cursor (None | str | Unset):
        batch (None | Unset | UUID):
        metadata (list[str] | Unset): word:text, which what is listed has in its metadata

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AssetPage | Problem
    """

    return (
        await asyncio_detailed(
            client=client,
            status=status,
            limit=limit,
            cursor=cursor,
            batch=batch,
            metadata=metadata,
        )
    ).parsed
