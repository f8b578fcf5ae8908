"""What becomes of a request: an answer, or a retry."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from media_contracts import (
    MEDIA_THUMBNAILED,
    Fit,
    ImageCheckRequested,
    MediaKind,
    ObjectRef,
    Picture,
    PictureSpec,
    ThumbnailRequested,
    derived_id,
    new_event,
)
from media_contracts.warnings import WarningCode
from media_runtime.errors import InconclusiveError, PermanentError, TransientError
from media_runtime.media.pictures import ImageInfo
from thumbnailer.handlers import OnRequest
from thumbnailer.use_cases import Checked, Made

PICTURE = Picture(
    name="thumbnail", bucket="b", key="k", content_type="image/jpeg", width=320, height=240, size=1
)


class SentRecords:
    def __init__(self) -> None:
        self.records = []

    async def send(self, record) -> None:
        self.records.append(record)

    def events(self) -> list:
        assert {record.topic for record in self.records} <= {MEDIA_THUMBNAILED.name}
        return [MEDIA_THUMBNAILED.parse(record.value) for record in self.records]


def a_request():
    spec = PictureSpec(name="thumbnail", width=320, height=240, fit=Fit.COVER, key="k")
    source = ObjectRef(bucket="b", key="s")
    data = ThumbnailRequested(
        attempt=3, kind=MediaKind.IMAGE, content_type="image/png", source=source, pictures=[spec]
    )
    return new_event(
        data, source="/media/ingest", asset_id=uuid4(), company_id=uuid4(), time=datetime.now(UTC)
    )


def a_check():
    data = ImageCheckRequested(
        attempt=3, task="inspect", source=ObjectRef(bucket="b", key="s"), size=9,
        content_type="image/png", accept_other_types=True, max_frames=9, quick_seconds=2,
        pictures=a_request().data.pictures,
    )  # fmt: skip
    return new_event(
        data, source="/media/ingest", asset_id=uuid4(), company_id=uuid4(), time=datetime.now(UTC)
    )


class making:  # noqa: N801 - used as a function
    """Makes pictures, or fails."""

    def __init__(self, outcome) -> None:
        self.outcome = outcome

    async def __call__(self, request):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    check = __call__


async def test_an_answer_tells_what_the_pictures_were_made_in_spite_of():
    sent, made = SentRecords(), Made([PICTURE], (WarningCode.FILE_DAMAGED,))
    await OnRequest(making(made), sent)(a_request())
    assert sent.events()[0].data.warnings == ["file_damaged"]


async def test_repeated_request_is_answered_with_one_event_id():
    sent, request = SentRecords(), a_request()
    handle = OnRequest(making(Made([PICTURE])), sent)
    await handle(request)
    await handle(request)
    first, second = sent.events()
    assert first.id == second.id == derived_id(request.id, "made")
    assert (first.subject, first.companyid) == (request.subject, request.companyid)
    assert (first.data.attempt, first.data.pictures) == (3, [PICTURE])


async def test_a_check_is_answered_with_what_the_image_is():
    sent, request = SentRecords(), a_check()
    info = ImageInfo("JPEG", 40, 30, 2, scans=3, hdr=True)
    checked = Checked("image/jpeg", "0" * 64, info, [PICTURE], (WarningCode.TYPE_DIFFERS,))
    await OnRequest(making(checked), sent)(request)
    (answer,) = sent.events()
    assert answer.id == derived_id(request.id, "made")
    told = answer.data
    assert (told.task, told.attempt, told.sha256) == ("inspect", 3, "0" * 64)
    assert (told.content_type, told.format) == ("image/jpeg", "JPEG")
    assert (told.width, told.height, told.frames, told.scans, told.hdr) == (40, 30, 2, 3, True)
    assert (told.pictures, told.warnings) == ([PICTURE], ["type_differs"])


@pytest.mark.parametrize("asked", [a_request, a_check])
async def test_file_at_fault_is_an_answer(asked):
    sent, request = SentRecords(), asked()
    await OnRequest(making(PermanentError("bad_file", "Bad file.")), sent)(request)
    (failed,) = sent.events()
    assert failed.id == derived_id(request.id, "failed")
    assert (failed.data.error.code, failed.data.error.message) == ("bad_file", "Bad file.")


async def test_a_file_that_is_ended_from_outside_is_an_answer_after_a_few_tries():
    """Behind its record wait those of other companies."""
    tried = []

    async def make_pictures(request):
        tried.append(request)
        raise InconclusiveError("killed")

    sent = SentRecords()
    await OnRequest(make_pictures, sent)(a_request())
    (failed,) = sent.events()
    assert (failed.data.error.code, len(tried)) == ("processing_failed", 3)


@pytest.mark.parametrize("error", [TransientError("storage is away"), KeyError("a bug")])
async def test_any_other_error_is_left_to_the_middleware(error):
    sent = SentRecords()
    with pytest.raises(type(error)):
        await OnRequest(making(error), sent)(a_request())
    assert sent.records == []
