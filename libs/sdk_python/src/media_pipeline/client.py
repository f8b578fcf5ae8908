"""
The pipeline as a program uses it: upload, wait, listen.

Invariant: an upload that was interrupted, by whatever, is gone on with by the same call: what is
stored is not sent again.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import httpx

from media_pipeline.api.api.batches import begin_batch, cancel_batch, get_batch, retry_batch
from media_pipeline.api.api.media import delete_asset, get_asset, sign
from media_pipeline.api.api.uploads import (
    begin_upload,
    complete_upload,
    get_upload,
    grant_parts,
    list_uploads,
)
from media_pipeline.api.client import AuthenticatedClient
from media_pipeline.api.models import (
    AssetStatus,
    AssetView,
    BatchItem,
    BatchRequest,
    BatchRequestMetadataType0,
    BatchUpload,
    BatchView,
    PartGrant,
    PartsRequest,
    Problem,
    SignRequest,
    SignRequestMetadataType0,
    Upload,
    UploadRequest,
    UploadRequestMetadataType0,
    UploadView,
)
from media_pipeline.api.types import UNSET, Response
from media_pipeline.types_by_name import TYPE_OF_EXTENSION

T = TypeVar("T")
OnBegun = Callable[[UUID], object]
OnBytes = Callable[[int], object]

_IN_PARTS_BYTES = 16 * 1024 * 1024
_ENDS_BYTES = 1024 * 1024
_AT_ONCE, _URLS_AT_ONCE = 4, 100
_TRIES = 6
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
# Who is to come back later than that is told so, and waits by itself.
_LONGEST_WISH = 60.0
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.5, 5.0
_PIECE_BYTES = 256 * 1024
_STREAM_SECONDS = 60.0
_ALREADY_UPLOADED = "already_uploaded"


class MediaError(Exception):
    """
    The pipeline refused; ``code`` is stable and for programs, the message is for people.

    ``retry_after`` is in how many seconds another try is worth it, where the pipeline said so.
    """

    def __init__(
        self, code: str, message: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after = retry_after


class AssetFailedError(MediaError):
    """The uploaded file could not be used; ``asset`` tells more."""

    def __init__(self, asset: AssetView) -> None:
        code = asset.error.code if asset.error else asset.status.value
        message = asset.error.message if asset.error else f"The asset is {asset.status.value}."
        super().__init__(code, message)
        self.asset = asset


@dataclass(frozen=True)
class Event:
    """One event: of what kind it is, and the CloudEvent. Streams resume after ``last_event_id``."""

    kind: str
    last_event_id: str
    event: dict[str, Any]


class MediaPipeline:
    """
    The pipeline at *url*, in the name of the company that *token* speaks for.

    Use it as a context manager, or close() it. All calls but events() may be made by several
    threads at once. They raise MediaError, and httpx.TransportError while the pipeline is away.
    What may pass, such as too many requests at once, is tried six times in some 15 seconds, or when
    the pipeline says, where that is within a minute.
    """

    def __init__(self, url: str, token: str, *, timeout: float = 30) -> None:
        # Each client would read the authorities that it trusts anew, for tens of milliseconds.
        self._trust = httpx.create_ssl_context()
        self.api = AuthenticatedClient(
            base_url=url.rstrip("/"),
            token=token,
            verify_ssl=self._trust,
            timeout=httpx.Timeout(timeout),
            httpx_args={"event_hooks": {"response": [_refuse_pages]}},
        )
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._storage = httpx.Client(timeout=httpx.Timeout(timeout, read=120), verify=self._trust)

    def __enter__(self) -> Self:
        """Return it; connections open as they are needed."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.api.get_httpx_client().close()
        self._storage.close()

    def upload(
        self,
        path: str | Path,
        *,
        content_type: str | None = None,
        profile: str | None = None,
        title: str | None = None,
        alt: str | None = None,
        metadata: Mapping[str, str] | None = None,
        on_begun: OnBegun = lambda _: None,
        on_bytes: OnBytes = lambda _: None,
    ) -> UUID:
        """
        Upload the file at *path*, and return its asset's id once the file is stored.

        A file of 16 MiB and more goes in parts: where another call or program began to upload it,
        this goes on with that. *on_begun* gets the asset's id before anything is sent. *on_bytes*
        gets the number of bytes of each piece that is sent or was there, negative where some have
        to be sent again. Without a *content_type* the name tells it.
        """
        file = Path(path)
        said: dict[str, Any] = {
            "file_name": file.name, "size": file.stat().st_size,
            "type_": content_type or _type_of(file), "profile": profile, "title": title, "alt": alt,
        }  # fmt: skip
        said = {name: UNSET if value is None else value for name, value in said.items()}
        words = dict(metadata or {})
        if said["size"] < _IN_PARTS_BYTES:
            request = SignRequest(**said, metadata=SignRequestMetadataType0.from_dict(words))
            grant = self._called(sign.sync_detailed, body=request)
            on_begun(grant.asset_id)
            self._put(file, grant.upload, request.size, on_bytes)
            return grant.asset_id
        fingerprint = fingerprint_of(file)
        upload = self._found(fingerprint) or self._called(
            begin_upload.sync_detailed,
            body=UploadRequest(
                **said,
                metadata=UploadRequestMetadataType0.from_dict(words),
                fingerprint=fingerprint,
            ),
        )
        on_begun(upload.asset_id)
        self._send_parts(file, upload, on_bytes)
        return upload.asset_id

    def upload_batch(
        self,
        paths: Sequence[str | Path],
        *,
        profile: str | None = None,
        metadata: Mapping[str, str] | None = None,
        on_bytes: OnBytes = lambda _: None,
    ) -> UUID:
        """
        Upload up to 1,000 files as one batch, and return its id once all of them are stored.

        The same call again goes on with the batch for 24 hours. *on_bytes* is as for upload().
        """
        files = [Path(path) for path in paths]
        said = UNSET if profile is None else profile
        request = BatchRequest(
            uploads=[
                BatchItem(
                    file_name=file.name, size=file.stat().st_size, type_=_type_of(file),
                    profile=said, fingerprint=fingerprint_of(file),
                    in_parts=file.stat().st_size >= _IN_PARTS_BYTES,
                )
                for file in files
            ],
            metadata=BatchRequestMetadataType0.from_dict(dict(metadata or {})),
        )  # fmt: skip
        key = hashlib.sha256(json.dumps(request.to_dict()).encode()).hexdigest()
        batch = self._called(begin_batch.sync_detailed, body=request, idempotency_key=key)

        def send(one: BatchUpload) -> None:
            file = files[one.number]
            if isinstance(one.upload, Upload):
                try:
                    self._put(file, one.upload, one.size, on_bytes)
                except MediaError as error:
                    # It is there, and the pipeline is about to hear of it.
                    if error.code != _ALREADY_UPLOADED:
                        raise
            else:
                upload = self._called(get_upload.sync_detailed, asset_id=one.asset_id)
                self._send_parts(file, upload, on_bytes)

        _all_or_first_error(send, batch.items)
        return batch.batch_id

    def batch(self, batch_id: UUID | str) -> BatchView:
        """Return how far a batch is."""
        return self._called(get_batch.sync_detailed, batch_id=_uuid(batch_id))

    def wait_batch(self, batch_id: UUID | str, *, seconds: float = 3600) -> BatchView:
        """
        Return the batch once it is decided; its counts tell what became of it.

        Raises TimeoutError after so many *seconds*.
        """
        until, pause = time.monotonic() + seconds, _LOOK_SECONDS
        while not (batch := self.batch(batch_id)).decided:
            if time.monotonic() > until:
                raise TimeoutError(f"Batch {batch_id} is not decided after {seconds:g} s.")
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)
        return batch

    def cancel_batch(self, batch_id: UUID | str) -> BatchView:
        """Cancel what of a batch is not decided, and return it."""
        return self._called(cancel_batch.sync_detailed, batch_id=_uuid(batch_id))

    def retry_batch(self, batch_id: UUID | str) -> BatchView:
        """Process what of a batch has failed again, and return it."""
        return self._called(retry_batch.sync_detailed, batch_id=_uuid(batch_id))

    def asset(self, asset_id: UUID | str) -> AssetView:
        """Return an asset as it is now; its links lapse after an hour."""
        return self._called(get_asset.sync_detailed, asset_id=_uuid(asset_id))

    def wait(self, asset_id: UUID | str, *, seconds: float = 3600) -> AssetView:
        """
        Return the asset once it is ready.

        Raises AssetFailedError where it fails or is gone, and TimeoutError after so many *seconds*.
        """
        until, pause = time.monotonic() + seconds, _LOOK_SECONDS
        while True:
            asset = self.asset(asset_id)
            if asset.status is AssetStatus.READY:
                return asset
            if asset.status not in {AssetStatus.PENDING, AssetStatus.PROCESSING}:
                raise AssetFailedError(asset)
            if time.monotonic() > until:
                raise TimeoutError(f"{asset_id} is {asset.status.value} after {seconds:g} s.")
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)

    def delete(self, asset_id: UUID | str) -> None:
        """Delete an asset and its files."""
        known = _uuid(asset_id)

        def delete() -> None:
            answer = delete_asset.sync_detailed(client=self.api, asset_id=known)
            if answer.status_code is not HTTPStatus.NO_CONTENT:
                raise _error(answer)

        _tried(delete)

    def events(
        self, *, asset_id: UUID | str | None = None, last_event_id: str | None = None
    ) -> Iterator[Event]:
        """
        Yield what happens to the company's assets, or to one, for ever.

        It connects again by itself, and goes on after *last_event_id* without loss. Raises
        MediaError where the token is no good any more.
        """
        params = {"assetId": str(asset_id)} if asset_id else {}
        timeout = httpx.Timeout(10, read=_STREAM_SECONDS)
        with httpx.Client(headers=self._headers, timeout=timeout, verify=self._trust) as http:
            while True:
                headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
                try:
                    with http.stream(
                        "GET", f"{self._url}/api/media/events", headers=headers, params=params
                    ) as answer:
                        _check_stream(answer)
                        for one in _server_sent(answer.iter_lines()):
                            last_event_id = one.last_event_id or last_event_id
                            if one.event:
                                yield one
                except httpx.TransportError:
                    pass
                time.sleep(_FIRST_PAUSE)

    def _put(self, file: Path, upload: Upload, size: int, on_bytes: OnBytes) -> None:
        sent: list[int] = []

        def count(piece: int) -> None:
            sent.append(piece)
            on_bytes(piece)

        def put() -> None:
            is_first = not sent
            if sent:
                on_bytes(-sum(sent))
                sent.clear()
            answer = self._storage.put(
                upload.url,
                content=_pieces(file, 0, size, count),
                headers={**upload.headers.to_dict(), "Content-Length": str(size)},
            )
            if answer.is_success:
                return
            refusal = _refusal(answer)
            # An earlier try has stored it, whose answer was lost.
            if is_first or refusal.code != _ALREADY_UPLOADED:
                raise refusal

        _tried(put)

    def _found(self, fingerprint: str) -> UploadView | None:
        page = self._called(list_uploads.sync_detailed, fingerprint=fingerprint, limit=1)
        for one in page.items:
            return self._called(get_upload.sync_detailed, asset_id=one.asset_id)
        return None

    def _send_parts(self, file: Path, upload: UploadView, on_bytes: OnBytes) -> None:
        there = {one.number: one.size for one in upload.stored}
        size_of = {
            number: min(upload.part_size, upload.size - (number - 1) * upload.part_size)
            for number in range(1, upload.parts + 1)
        }
        missing = [number for number, size in size_of.items() if there.get(number) != size]
        on_bytes(upload.size - sum(size_of[number] for number in missing))
        for begin in range(0, len(missing), _URLS_AT_ONCE):
            grants = self._grants(upload, missing[begin : begin + _URLS_AT_ONCE])
            _all_or_first_error(lambda one: self._send(file, upload, one, on_bytes), grants)
        self._called(complete_upload.sync_detailed, asset_id=upload.asset_id)

    def _grants(self, upload: UploadView, numbers: list[int]) -> list[PartGrant]:
        return self._called(
            grant_parts.sync_detailed, asset_id=upload.asset_id, body=PartsRequest(numbers=numbers)
        ).parts

    def _send(self, file: Path, upload: UploadView, grant: PartGrant, on_bytes: OnBytes) -> None:
        """Send one part, again and with a new URL where that helps."""
        begin, pause = (grant.number - 1) * upload.part_size, _FIRST_PAUSE
        error: Exception = MediaError("upload_refused", "The part was not stored.")
        for _ in range(_TRIES):
            sent: list[int] = []

            def count(size: int, sent: list[int] = sent) -> None:
                sent.append(size)
                on_bytes(size)

            try:
                answer = self._storage.put(
                    grant.url,
                    content=_pieces(file, begin, grant.size, count),
                    headers={"Content-Length": str(grant.size)},
                )
                if answer.is_success:
                    return
                error = _refusal(answer)
                if answer.status_code == HTTPStatus.NOT_FOUND:
                    break
            except httpx.TransportError as problem:
                error = problem
            on_bytes(-sum(sent))
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            (grant,) = self._grants(upload, [grant.number])
        raise error

    def _called(self, call: Callable[..., Response[T | Problem]], **arguments: Any) -> T:
        """Return what an operation answers; raises MediaError for a problem, or no JSON at all."""

        def once() -> T:
            try:
                answer = call(client=self.api, **arguments)
            except (ValueError, KeyError) as error:  # JSON, and no answer of the API
                raise MediaError(
                    "invalid_answer", f"The answer is not the API's: {error!r}"
                ) from error
            if answer.parsed is None or isinstance(answer.parsed, Problem):
                raise _error(answer)
            return answer.parsed

        return _tried(once)


def _tried(act: Callable[[], T]) -> T:
    """Return what *act* returns, of up to six tries; raises what cannot pass at once."""
    pause = _FIRST_PAUSE
    for left in reversed(range(_TRIES)):
        wish = 0.0
        try:
            return act()
        except MediaError as error:
            wish = error.retry_after or 0.0
            if not left or error.status not in _PASSING or wish > _LONGEST_WISH:
                raise
        except httpx.TransportError:
            if not left:
                raise
        time.sleep(max(pause * random.uniform(0.75, 1.25), wish))  # noqa: S311 - jitter
        pause = min(pause * 2, _LONGEST_PAUSE)
    raise AssertionError("the last try returns or raises")


def _all_or_first_error(act: Callable[[T], object], each: Sequence[T]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        acting = [threads.submit(act, one) for one in each]
        try:
            for one in acting:
                one.result()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def fingerprint_of(path: Path) -> str:
    """
    Return what an upload of this file is found by again, on other pages and devices too.

    It is the SHA-256 of the file's name, its size in bytes and the milliseconds of its last change,
    each as decimal text on a line of its own, and of its first and its last MiB.
    """
    found = path.stat()
    digest = hashlib.sha256(
        f"{path.name}\n{found.st_size}\n{found.st_mtime_ns // 1_000_000}\n".encode()
    )
    with path.open("rb") as file:
        digest.update(file.read(_ENDS_BYTES))
        file.seek(max(0, found.st_size - _ENDS_BYTES))
        digest.update(file.read(_ENDS_BYTES))
    return f"sha256:{digest.hexdigest()}"


def _type_of(file: Path) -> str:
    found = TYPE_OF_EXTENSION.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0]
    if found is None:
        raise MediaError("invalid_type", f"{file.name} does not tell its type: give content_type.")
    return found


def _pieces(file: Path, begin: int, size: int, on_bytes: OnBytes) -> Iterator[bytes]:
    with file.open("rb") as opened:
        opened.seek(begin)
        while size and (piece := opened.read(min(size, _PIECE_BYTES))):
            yield piece
            size -= len(piece)
            on_bytes(len(piece))


def _server_sent(lines: Iterator[str]) -> Iterator[Event]:
    """Yield events (WHATWG HTML, section 9.2.6); one without a CloudEvent is a position alone."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        kind = fields.get("event", "message")
        is_event = kind in {"media_status", "media_processed"}
        event = json.loads(fields["data"]) if is_event else {}
        if fields:
            yield Event(kind, fields.get("id", ""), event)
        fields = {}


def _check_stream(answer: httpx.Response) -> None:
    if answer.is_client_error:
        answer.read()
        raise _refusal(answer)
    if not answer.is_success:
        raise httpx.ReadError(f"the pipeline answered {answer.status_code}")


def _refuse_pages(answer: httpx.Response) -> None:
    """Raise MediaError for a proxy's page: its status tells whether another try is worth it."""
    kind = answer.headers.get("Content-Type", "")
    if answer.status_code != HTTPStatus.NO_CONTENT and "json" not in kind:
        raise _invalid(answer.status_code, answer.headers)


def _invalid(status: int, headers: Mapping[str, str]) -> MediaError:
    said = f"The pipeline answered {status}."
    return MediaError("invalid_answer", said, status, _wish(headers))


def _refusal(answer: httpx.Response) -> MediaError:
    try:
        problem = answer.json()
        return MediaError(
            problem["code"], problem["detail"], answer.status_code, _wish(answer.headers)
        )
    except (ValueError, KeyError, TypeError):
        return _invalid(answer.status_code, answer.headers)


def _wish(headers: Mapping[str, str]) -> float | None:
    """Return in how many seconds the pipeline wants to be asked again."""
    said = httpx.Headers(headers).get("Retry-After", "")
    return float(said) if said.isdecimal() else None


def _error(answer: Response[Any]) -> MediaError:
    if isinstance(answer.parsed, Problem):
        problem = answer.parsed
        return MediaError(problem.code, problem.detail, answer.status_code, _wish(answer.headers))
    return _invalid(int(answer.status_code), answer.headers)


def _uuid(known: UUID | str) -> UUID:
    try:
        return known if isinstance(known, UUID) else UUID(known)
    except ValueError as error:
        raise MediaError("invalid_id", f"{known!r} is no id: ids are UUIDs.") from error
