"""
Every stable error code: of the API's and the edge's answers, and of assets that fail.

Invariant: a code keeps its meaning for ever; one that is no longer needed is never used again.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from media_contracts.warnings import WarningCode

_SERVER_ERROR = 500


class Fault(StrEnum):
    """Whose fault an error is."""

    CLIENT = "client"
    FILE = "file"
    COMPANY = "company"
    """It has stored all that it may, or no longer has what its profile needs, whatever the file."""
    SYSTEM = "system"
    UNCLEAR = "unclear"
    """The file or the system: alerts count it, and the file may be made to do just that."""


class ErrorCode(StrEnum):
    """
    A code for programs, its HTTP status, and a sentence for people.

    ``sentence`` may have fields in braces; an error of the code says what stands for them.
    ``http_status`` is None where no request is answered with the code. ``failure`` is whose fault
    it is that an asset failed with the code, None where none does.
    """

    http_status: int | None
    failure: Fault | None
    sentence: str

    def __new__(cls, code: str, status: int | None, failure: Fault | None, sentence: str) -> Self:
        """Make a member of its row."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.http_status = status
        member.failure = failure
        member.sentence = sentence
        return member

    @property
    def fault(self) -> Fault:
        """Whose fault an error of this code is."""
        if self.failure is not None:
            return self.failure
        is_clients = self.http_status is not None and self.http_status < _SERVER_ERROR
        return Fault.CLIENT if is_clients else Fault.SYSTEM

    # fmt: off
    # Signing, reading and retrying.
    INVALID_TYPE = "invalid_type", 400, None, "type must be one of {accepted}."
    FILE_TOO_LARGE = "file_too_large", 400, None, "size is {size} bytes; at most {limit} bytes are accepted."
    INVALID_SIZE = "invalid_size", 400, None, "size must be at least 1 byte."
    INVALID_FILE_NAME = "invalid_file_name", 400, None, "fileName must have 1 to {limit} characters, without path separators or control characters."
    UNKNOWN_PROFILE = "unknown_profile", 400, None, "profile must be the name of a profile that the company has, or default."
    INVALID_TEXT = "invalid_text", 400, None, "title and alt must be null, or text of 1 to {limit} characters without control characters."
    INVALID_FOCUS = "invalid_focus", 400, None, "focus must be null, or have x and y from 0 to 1."
    INVALID_CROP = "invalid_crop", 400, None, "crop must be null, middle or attention."
    INVALID_METADATA = "invalid_metadata", 400, None, "metadata must be null, or at most {limit} words of 1 to 40 letters, digits, dots, dashes or underscores, each with a text of at most 500 characters without control characters."
    INVALID_BATCH = "invalid_batch", 400, None, "uploads must be a list of 1 to {limit} files."
    INVALID_BATCH_ID = "invalid_batch_id", 400, None, "The batch's id must be a UUID."
    INVALID_REQUEST = "invalid_request", 400, None, "The request is not valid HTTP."
    INVALID_ASSET_ID = "invalid_asset_id", 400, None, "The asset id must be a UUID."
    INVALID_CURSOR = "invalid_cursor", 400, None, "cursor is not one that a page returned."
    INVALID_LIMIT = "invalid_limit", 400, None, "limit must be a number that the API allows."
    INVALID_STATUS = "invalid_status", 400, None, "status must be one that assets have."
    INVALID_TIME = "invalid_time", 400, None, "atSeconds must be null, or a number of seconds from 0 to {limit}."
    INVALID_WEBHOOK_ID = "invalid_webhook_id", 400, None, "The endpoint's id must be a UUID."
    INVALID_URL = "invalid_url", 400, None, "url cannot be an endpoint: {why}."
    INVALID_TYPES = "invalid_types", 400, None, "types must be among {accepted}."
    INVALID_REPLAY = "invalid_replay", 400, None, "Either eventId or since must be given."
    TOO_MANY_ENDPOINTS = "too_many_endpoints", 400, None, "The company has {limit} endpoints, and may have no more."
    INVALID_PARTS = "invalid_parts", 400, None, "numbers must be 1 to {limit} different numbers of parts, from 1 to {parts}."
    INVALID_FINGERPRINT = "invalid_fingerprint", 400, None, "fingerprint must be null, or have 1 to 255 printable ASCII characters."
    INVALID_IDEMPOTENCY_KEY = "invalid_idempotency_key", 400, None, "Idempotency-Key must have 1 to 255 printable ASCII characters."
    INVALID_LAST_EVENT_ID = "invalid_last_event_id", 400, None, "Last-Event-ID is not one of this stream: {why}."
    QUOTA_EXCEEDED = "quota_exceeded", 400, Fault.COMPANY, "The company's storage is full."
    UNAUTHORIZED = "unauthorized", 401, None, "The bearer token was not accepted: {why}."
    INVALID_TICKET = "invalid_ticket", 401, None, "The ticket was used already, or has lapsed."
    FORBIDDEN = "forbidden", 403, None, "The token lacks the permission {permission}."
    ASSET_NOT_FOUND = "asset_not_found", 404, None, "There is no such asset."
    UPLOAD_NOT_FOUND = "upload_not_found", 404, None, "There is no such upload, or it is over."
    BATCH_NOT_FOUND = "batch_not_found", 404, None, "There is no such batch."
    WEBHOOK_NOT_FOUND = "webhook_not_found", 404, None, "There is no such endpoint."
    PARTS_MISSING = "parts_missing", 409, None, "These parts are not there as they were granted: {numbers}. Send them again."
    ALREADY_COMPLETE = "already_complete", 409, None, "The upload is complete; its asset can be deleted instead."
    NOT_FAILED = "not_failed", 409, None, "Only a failed asset can be retried."
    ORIGINAL_GONE = "original_gone", 409, None, "The refused file is no longer kept. Ask for a grant and upload it again."
    NOT_READY = "not_ready", 409, None, "The pictures of an asset can be made anew when it is ready."
    NOT_A_VIDEO = "not_a_video", 409, None, "Moments can be chosen of videos alone."
    NO_PICTURES = "no_pictures", 409, None, "The profile of this asset has no such pictures."
    POSTER_UNDER_WAY = "poster_under_way", 409, None, "Other pictures of this asset are being made; try again when they are there."
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused", 422, None, "This Idempotency-Key was used for a different request in the last 24 hours."
    TOO_MANY_OPEN_GRANTS = "too_many_open_grants", 429, None, "The company has too many grants that wait for their upload."
    TOO_MANY_EVENT_STREAMS = "too_many_event_streams", 429, None, "The company has as many event streams open as it may have."
    RETRIED_TOO_SOON = "retried_too_soon", 429, None, "This asset was retried only just now."
    STORAGE_NOT_READY = "storage_not_ready", 503, None, "The company is new and its storage is being made; try again in a few seconds."

    # Any request.
    NOT_FOUND = "not_found", 404, None, "There is nothing at this address."
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, None, "This address does not take this method."
    REQUEST_TOO_SLOW = "request_too_slow", 408, None, "The request was not there in whole in time."
    BODY_TOO_LARGE = "body_too_large", 413, None, "The request body is larger than bodies may be."
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415, None, "The request body must be sent as application/json."
    RATE_LIMITED = "rate_limited", 429, None, "This address asks for too much at one time; try again in a few seconds."
    HEADERS_TOO_LARGE = "headers_too_large", 431, None, "The request line or the headers are too large."
    INTERNAL_ERROR = "internal_error", 500, None, "Something went wrong on our side."
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable", 503, None, "A part of the service is away; try again in a few seconds."

    # Uploads and files at the edge, which has its copy in deploy/edge/problems.
    UPLOAD_REFUSED = "upload_refused", 400, None, "Storage did not take the file; ask for a new grant."
    GRANT_EXPIRED = "grant_expired", 403, None, "The grant has lapsed. Ask for a new one."
    GRANT_REFUSED = "grant_refused", 403, None, "The upload is not what its grant allows: send exactly the declared number of bytes, with the Content-Type of the grant, to its whole URL."
    ALREADY_UPLOADED = "already_uploaded", 409, None, "A file was already stored with this grant; ask for a new grant for another one."
    LENGTH_REQUIRED = "length_required", 411, None, "The upload must say its Content-Length."
    LINK_REFUSED = "link_refused", 403, None, "The link is not valid. Read the asset again to get a new one."
    LINK_EXPIRED = "link_expired", 403, None, "The link has lapsed. Read the asset again to get a new one."
    FILE_NOT_FOUND = "file_not_found", 404, None, "There is no such file any more."
    INVALID_RANGE = "invalid_range", 416, None, "The file has no such range of bytes."

    # Assets that fail: the stored file is not what was declared.
    SIZE_MISMATCH = "size_mismatch", None, Fault.FILE, "The file has {size} bytes, {declared} were declared."
    TYPE_MISMATCH = "type_mismatch", None, Fault.FILE, "The file's content is not what {declared} says."
    CONTENT_CHANGED = "content_changed", None, Fault.FILE, "The stored file is not the one that was checked."
    # It cannot be used.
    TRUNCATED_FILE = "truncated_file", None, Fault.FILE, "The end of the file is missing."
    ENCRYPTED_MEDIA = "encrypted_media", None, Fault.FILE, "The video or sound is encrypted."
    UNSUPPORTED_CODEC = "unsupported_codec", None, Fault.FILE, "The file holds video or sound of a kind that is not accepted."
    DOLBY_VISION_WITHOUT_BASE = "dolby_vision_without_base", None, Fault.FILE, "The video is Dolby Vision alone, without a picture that other players can show."
    UNREADABLE_MEDIA = "unreadable_media", None, Fault.FILE, "The file is no video or sound that can be read."
    UNREADABLE_IMAGE = "unreadable_image", None, Fault.FILE, "The file is not an image that can be read."
    NO_VIDEO_STREAM = "no_video_stream", None, Fault.FILE, "The file holds no video."
    NO_AUDIO_STREAM = "no_audio_stream", None, Fault.FILE, "The file holds no sound."
    NO_FRAME = "no_frame", None, Fault.FILE, "No picture of the video can be decoded."
    # It is more than is worked on.
    TOO_MANY_PIXELS = "too_many_pixels", None, Fault.FILE, "The {kind} has more than {millions:g} million pixels."
    DIMENSIONS_TOO_LARGE = "dimensions_too_large", None, Fault.FILE, "A side is longer than {limit} pixels."
    DURATION_TOO_LONG = "duration_too_long", None, Fault.FILE, "The video or sound is longer than {hours:g} hours."
    FRAME_RATE_TOO_HIGH = "frame_rate_too_high", None, Fault.FILE, "The video has more than {limit:g} frames a second."
    TOO_MANY_STREAMS = "too_many_streams", None, Fault.FILE, "The file has more than {limit} streams."
    TOO_MANY_FRAMES = "too_many_frames", None, Fault.FILE, "The image has more than {limit} frames."
    TOO_MANY_SCANS = "too_many_scans", None, Fault.FILE, "The image is coded in far too many passes for its size."
    SAMPLES_OVERLAP = "samples_overlap", None, Fault.FILE, "The file's index uses the same data many times over."
    EDITS_TOO_LONG = "edits_too_long", None, Fault.FILE, "The file's edit list repeats the video many times over."
    BITRATE_TOO_LOW = "bitrate_too_low", None, Fault.FILE, "The file is far too small for as long as it claims to last."
    TOO_MUCH_VIDEO = "too_much_video", None, Fault.FILE, "The video is too long for its size and frame rate."
    OUTPUT_TOO_LARGE = "output_too_large", None, Fault.FILE, "The converted video or sound would be too large."
    IMAGE_TIMEOUT = "image_timeout", None, Fault.FILE, "The image took too long to decode."
    IMAGE_OUT_OF_MEMORY = "image_out_of_memory", None, Fault.FILE, "The image needs too much memory."
    IMAGE_CRASHED_DECODER = "image_crashed_decoder", None, Fault.FILE, "The image cannot be decoded."
    # Its profile has nothing for it.
    NOTHING_WANTED = "nothing_wanted", None, Fault.CLIENT, "The profile {name} has no output for an upload of this kind ({kind})."
    # Processing ended without a result; a retry starts a new attempt.
    TRANSCODE_FAILED = "transcode_failed", None, Fault.FILE, "The file cannot be processed."
    TRANSCODE_TIMEOUT = "transcode_timeout", None, Fault.FILE, "Processing took too long."
    TRANSCODE_STALLED = "transcode_stalled", None, Fault.FILE, "Processing came to a halt."
    PROCESSING_FAILED = "processing_failed", None, Fault.UNCLEAR, "The file could not be processed in {tries} tries."
    PROCESSING_TIMEOUT = "processing_timeout", None, Fault.SYSTEM, "The file could not be processed in time. It can be retried."
    INVALID_PROFILE = "invalid_profile", None, Fault.SYSTEM, "Version {version} of the profile {name} cannot be used any more."
    WATERMARK_MISSING = "watermark_missing", None, Fault.COMPANY, "The picture that the profile {name} puts on videos is not there: {asset_id} is no image that is ready."
    OBJECT_MISSING = "object_missing", None, Fault.SYSTEM, "The uploaded file is no longer in storage ({key})."

    # It goes with a record to its dead letters, and to no client.
    MALFORMED_NOTIFICATION = "malformed_notification", None, None, "not a bucket notification: {why}"
    # fmt: on


SYSTEM_FAULTS = frozenset(
    code for code in ErrorCode if code.failure in {Fault.SYSTEM, Fault.UNCLEAR}
)
"""
Codes of failures that a well-kept system would not have had; alerts count these alone.

No file may cause one at will: whoever uploads would wake whoever is on call.
"""

NO_FAULT_OF_THE_FILE = frozenset(
    code for code in ErrorCode if code.failure in {Fault.SYSTEM, Fault.COMPANY}
)
"""Codes after which nothing speaks against the file: a retry can make it ready."""


_PAGE = """\
# Error codes

Each error has a stable `code` for programs and a sentence for people, in which values stand for
what is in braces; an error may have a more exact sentence. Codes are added, never changed. This
page is written by `python -m media_contracts libs/contracts`.

## Answers

RFC 9457 problem details (`application/problem+json`), with the sentence as `detail`. Answers 429
and 503 say in `Retry-After` when to come back.

| code | status | sentence |
| --- | --- | --- |
{answers}

## Failed assets

The `error` of an asset and of its events. After a fault of the system, and where it is unclear
whose it is, a retry can make the asset ready; alerts count these two alone.

| code | fault | sentence |
| --- | --- | --- |
{failures}

## Warnings

The `warnings` of an asset and of its outcome: what it is ready in spite of.

| code | sentence |
| --- | --- |
{warnings}
"""


def table() -> str:
    """Return all codes that clients see as a page of Markdown."""
    answers = [(code, code.http_status) for code in ErrorCode if code.http_status]
    failures = [(code, code.failure) for code in ErrorCode if code.failure]
    warnings = "\n".join(f"| `{code}` | {code.sentence} |" for code in WarningCode)
    return _PAGE.format(answers=_rows(answers), failures=_rows(failures), warnings=warnings)


def _rows(found: Iterable[tuple[ErrorCode, object]]) -> str:
    return "\n".join(f"| `{code}` | {value} | {code.sentence} |" for code, value in found)
