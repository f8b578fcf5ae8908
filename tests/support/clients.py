"""A client app of one company, as the pipeline's users write it: plain HTTP and SSE."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from mediactl.client import media_type
from mediactl.tokens import DEFAULT_PERMISSIONS, mint_token

from support.eventually import eventually
from support.http_clients import web
from support.surroundings import variable

JSON = dict[str, Any]
FINAL = frozenset({"ready", "failed"})
NOT_READY = 503
_TIMEOUT = httpx.Timeout(30)
_RECONNECT_SECONDS = 0.2


def token_of(company_id: UUID, permissions: Sequence[str] = DEFAULT_PERMISSIONS) -> str:
    """Return a valid bearer token of a company."""
    return mint_token(
        secret=variable("JWT_SECRET"),
        company_id=company_id,
        now=datetime.now(UTC),
        permissions=permissions,
        issuer=variable("JWT_ISSUER"),
        audience=variable("JWT_AUDIENCE"),
    )


@dataclass(frozen=True)
class Event:
    """One server-sent event; ``event`` is the CloudEvent in it."""

    kind: str
    last_id: str
    event: JSON

    @property
    def asset_id(self) -> str:
        """The asset that it tells of."""
        return str(self.event["subject"])

    @property
    def data(self) -> JSON:
        """The event's payload."""
        found: JSON = self.event["data"]
        return found

    @property
    def what(self) -> str:
        """The status, stage or outcome that it tells of, or that a video can be played."""
        told = self.data.get("status") or self.data.get("stage") or self.data.get("outcome")
        return str(told or self.event["type"].split(".")[-2])


@dataclass
class Listener:
    """A client that follows its company's events and reconnects by Last-Event-ID."""

    url: str
    token: str
    events: list[Event] = field(default_factory=list)
    last_id: str | None = None
    connections: int = 0

    def of(self, asset_id: str) -> list[Event]:
        """Return the events of one asset so far, in order of arrival."""
        return [event for event in self.events if event.asset_id == asset_id]

    def stages(self, asset_id: str) -> list[str]:
        """Return status and stages of an asset in order; repetitions and estimates left out."""
        told = [event.what for event in self.of(asset_id) if event.kind == "media_status"]
        told = [what for what in told if what != "estimated"]
        return list(dict.fromkeys(told))

    async def heard(self, asset_id: str, *words: str, timeout: float = 60) -> Event:  # noqa: ASYNC109
        """Wait for a status, stage or outcome of an asset and return its first event."""

        def look() -> Event | None:
            return next((event for event in self.of(asset_id) if event.what in words), None)

        try:
            found: Event | None = await eventually(look, timeout=timeout)
        except AssertionError as error:
            told = [(event.kind, event.what) for event in self.of(asset_id)]
            raise AssertionError(f"{words} was not heard; heard {told}") from error
        assert found is not None
        return found

    async def outcome(self, asset_id: str, *, timeout: float = 60) -> Event:  # noqa: ASYNC109
        """Wait for the media_processed event of an asset."""

        def look() -> Event | None:
            told = (event for event in self.of(asset_id) if event.kind == "media_processed")
            return next(told, None)

        found: Event | None = await eventually(look, timeout=timeout)
        assert found is not None
        return found

    async def follow(self) -> None:
        """Follow the events until cancelled, through any number of connections."""
        async with web(timeout=httpx.Timeout(10, read=60)) as http:
            while True:
                with suppress(httpx.TransportError):
                    await self._follow_once(http)
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _follow_once(self, http: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        if self.last_id:
            headers["Last-Event-ID"] = self.last_id
        async with http.stream("GET", self.url, headers=headers) as answer:
            if answer.status_code == 503:
                return
            assert answer.status_code == 200, await answer.aread()
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                else:
                    self._take(fields)
                    fields = {}

    def _take(self, fields: Mapping[str, str]) -> None:
        self.last_id = fields.get("id") or self.last_id
        kind = fields.get("event", "message")
        assert kind != "media_resync", "the notifier says that events were lost"
        if kind == "media_hello":
            self.connections += 1
        elif kind in {"media_status", "media_processed"}:
            self.events.append(Event(kind, fields.get("id", ""), json.loads(fields["data"])))


class Company:
    """A company with a token: what its app does with the sign API, storage and the notifier."""

    def __init__(self, http: httpx.AsyncClient, company_id: UUID | None = None) -> None:
        self.id = company_id or uuid4()
        self.http = http
        self.headers = {"Authorization": f"Bearer {token_of(self.id)}"}

    async def post(self, path: str, **options: Any) -> httpx.Response:
        """POST to the API below /api/media."""
        return await self.call("POST", path, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """GET from the API below /api/media."""
        return await self.call("GET", path, **options)

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the API; *headers* are sent besides the token."""
        headers = {**self.headers, **options.pop("headers", {})}
        url = f"{variable('MEDIA_URL')}/api/media{path}"
        return await self.http.request(method, url, headers=headers, **options)

    async def sign(
        self,
        name: str = "photo.jpg",
        size: int = 1000,
        type: str = "image/jpeg",  # noqa: A002
        **more: object,
    ) -> JSON:
        """
        Return a grant; *more* is what else is asked for, such as a profile.

        A company that is new asks again while its storage is made, as clients are told to.
        """
        body = {"fileName": name, "size": size, "type": type, **more}

        async def asked() -> httpx.Response | None:
            answer = await self.post("/sign", json=body)
            return None if answer.status_code == NOT_READY else answer

        answer = await eventually(asked, timeout=30)
        assert answer.status_code == 201, answer.text
        grant: JSON = answer.json()
        return grant

    async def store(self, grant: JSON, data: bytes, **changed: str) -> httpx.Response:
        """PUT *data* to storage with the grant's headers, some of them *changed*, or others."""
        upload = grant["upload"]
        headers = {**upload["headers"], **{k.replace("_", "-"): v for k, v in changed.items()}}
        return await self.http.put(upload["url"], content=data, headers=headers)

    async def upload(self, path: Path, *, type: str | None = None) -> str:  # noqa: A002
        """Sign and upload a file and return its asset's id."""
        data = path.read_bytes()  # noqa: ASYNC240 - a test's files are small
        return await self.upload_bytes(path.name, data, type or media_type(path))

    async def upload_bytes(
        self,
        name: str,
        data: bytes,
        type: str,  # noqa: A002
        *,
        declared: int | None = None,
    ) -> str:
        """Sign and upload *data*, declared to have *declared* bytes; return its asset's id."""
        grant = await self.sign(name, declared or len(data), type)
        answer = await self.store(grant, data)
        assert answer.status_code == 200, answer.text
        return str(grant["assetId"])

    async def asset(self, asset_id: str) -> JSON:
        """Return an asset as the API shows it."""
        answer = await self.get(f"/assets/{asset_id}")
        assert answer.status_code == 200, answer.text
        found: JSON = answer.json()
        return found

    async def ended(self, asset_id: str, *, timeout: float = 90) -> JSON:  # noqa: ASYNC109
        """Wait until an asset is ready or failed and return it."""
        return await self._when(asset_id, lambda asset: asset["status"] in FINAL, timeout)

    async def ready(self, asset_id: str, *, timeout: float = 90) -> JSON:  # noqa: ASYNC109
        """Wait until an asset has ended, which must be as ready, and return it."""
        asset = await self.ended(asset_id, timeout=timeout)
        assert asset["status"] == "ready", asset["error"]
        return asset

    async def _when(self, asset_id: str, wanted: Callable[[JSON], bool], seconds: float) -> JSON:
        seen: JSON = {}

        async def look() -> bool:
            # A service that is being restarted answers in a moment.
            with suppress(httpx.TransportError):
                seen.update(await self.asset(asset_id))
            return bool(seen) and wanted(seen)

        try:
            await eventually(look, timeout=seconds)
        except AssertionError as error:
            raise AssertionError(f"asset did not end: {seen}") from error
        return seen

    async def fetch(self, url: str) -> httpx.Response:
        """Return the file that a URL of an asset serves."""
        answer = await self.http.get(url)
        assert answer.status_code == 200, answer.text[:300]
        return answer

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Listener]:
        """Follow the company's events for the block, from before it begins."""
        url = f"{variable('MEDIA_URL')}/api/media/events"
        listener = Listener(url, self.headers["Authorization"].removeprefix("Bearer "))
        following = asyncio.create_task(listener.follow())
        try:
            await eventually(lambda: listener.connections > 0 or following.done(), timeout=20)
            if following.done():
                await following
            yield listener
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


@asynccontextmanager
async def open_http() -> AsyncIterator[httpx.AsyncClient]:
    """Give a client without proxies; every URL of a stack is on this machine."""
    async with web(timeout=_TIMEOUT) as http:
        yield http
