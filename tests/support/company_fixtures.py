"""Fixtures of the tests that act as companies of a running stack; a conftest imports them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from support.clients import Company, open_http
from support.surroundings import Parts
from support.wire import Rows, open_rows


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """One HTTP client for all."""
    async with open_http() as client:
        yield client


@pytest.fixture
def company(http: httpx.AsyncClient) -> Company:
    """A company that nobody has seen before."""
    return Company(http)


@pytest.fixture
def other_company(http: httpx.AsyncClient) -> Company:
    """Another company."""
    return Company(http)


@pytest.fixture
async def rows() -> AsyncIterator[Rows]:
    """The database, past row-level security."""
    async with open_rows() as found:
        yield found


@pytest.fixture
def parts() -> Parts:
    """The processes of the stack."""
    return Parts()
