"""The thumbnailer as a process of its own, on real Kafka and MinIO."""

import asyncio
import hashlib
import io
import os
import subprocess
import sys
import urllib.request
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from media_contracts import (
    MEDIA_THUMBNAIL,
    MEDIA_THUMBNAILED,
    Fit,
    ImageChecked,
    ImageCheckRequested,
    MediaKind,
    ObjectRef,
    PictureSpec,
    ThumbnailFailed,
    ThumbnailMade,
    ThumbnailRequested,
    derived_id,
    new_event,
)
from media_runtime.kafka.producer import OutgoingRecord, Producer, event_record
from media_runtime.kafka.topics import create_topics, wanted_topics
from media_runtime.kafka.users import make_users, user_name
from media_runtime.settings import KafkaSettings
from minio import Minio
from minio.deleteobjects import DeleteObject
from PIL import Image

from support.eventually import eventually
from support.surroundings import Parts

COMPANY = uuid4()
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Service:
    """``python -m thumbnailer`` with a scratch folder and a port of its own."""

    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "thumbnailer"], env=self.environment)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)

    def get(self, path: str) -> str:
        url = f"http://127.0.0.1:{self.environment['HTTP_PORT']}{path}"
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.read().decode()

    def is_ready(self) -> bool:
        try:
            return "ok" in self.get("/readyz")
        except OSError:
            return False

    def fetched_bytes(self) -> float:
        return self._bytes("in")

    def stored_bytes(self) -> float:
        return self._bytes("out")

    def _bytes(self, direction: str) -> float:
        lines = self.get("/metrics").splitlines()
        name = f'thumbnailer_bytes_total{{direction="{direction}"}}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def scratch(self) -> list[Path]:
        return list(Path(self.environment["SCRATCH_DIR"]).iterdir())


@dataclass
class Storage:
    client: Minio
    bucket: str

    def put(self, data: bytes) -> ObjectRef:
        key = f"{COMPANY}/uploads/{uuid4()}"
        stored = self.client.put_object(self.bucket, key, io.BytesIO(data), len(data))
        return ObjectRef(bucket=self.bucket, key=key, version_id=stored.version_id)

    def get(self, key: str) -> tuple[bytes, dict[str, str]]:
        response = self.client.get_object(self.bucket, key)
        try:
            return response.read(), dict(response.headers)
        finally:
            response.close()

    def outputs(self) -> list[str]:
        found = self.client.list_objects(self.bucket, prefix=f"{COMPANY}/outputs/", recursive=True)
        return [one.object_name for one in found]


class Wire:
    """What stands on the other side of the topics: sends requests, collects results."""

    def __init__(self, producer: Producer, prefix: str) -> None:
        self._producer = producer
        self._prefix = prefix

    async def send(self, event) -> None:
        await self._producer.send(event_record(MEDIA_THUMBNAIL, event))

    async def send_bytes(self, value: bytes) -> None:
        await self._producer.send(OutgoingRecord(MEDIA_THUMBNAIL.name, "key", value))

    async def records(self, topic: str, partitions: int) -> list:
        consumer = AIOKafkaConsumer(**KafkaSettings().client_arguments())
        await consumer.start()
        try:
            parts = [TopicPartition(self._prefix + topic, n) for n in range(partitions)]
            consumer.assign(parts)
            await consumer.seek_to_beginning(*parts)
            ends = await consumer.end_offsets(parts)
            found = []
            while any([await consumer.position(part) < ends[part] for part in parts]):
                batches = await consumer.getmany(timeout_ms=200)
                found += [record for batch in batches.values() for record in batch]
            return found
        finally:
            await consumer.stop()

    async def results(self, *requests) -> list:
        """Return the results of *requests* once each has at least one."""
        wanted = {request.subject for request in requests}

        async def all_answered():
            records = await self.records(MEDIA_THUMBNAILED.name, MEDIA_THUMBNAILED.partitions)
            events = [MEDIA_THUMBNAILED.parse(record.value) for record in records]
            mine = [event for event in events if event.subject in wanted]
            return mine if {event.subject for event in mine} == wanted else None

        return await eventually(all_answered, timeout=75)


def request(source: ObjectRef, kind: MediaKind, duration: float | None = None):
    asset = uuid4()
    key = f"{COMPANY}/outputs/{asset}/1-1/thumbnail.jpg"
    picture = PictureSpec(name="thumbnail", width=320, height=240, fit=Fit.COVER, key=key)
    data = ThumbnailRequested(
        attempt=1,
        kind=kind,
        content_type="video/mp4" if kind is MediaKind.VIDEO else "image/jpeg",
        source=source,
        duration_seconds=duration,
        pictures=[picture],
    )
    return new_event(
        data,
        source="/media/ingest",
        asset_id=asset,
        company_id=COMPANY,
        time=datetime.now(UTC),
        traceparent=TRACEPARENT,
    )


def check(source: ObjectRef, size: int, **others):
    """A request that an image is checked, and shown in a first picture."""
    facts = {
        "size": size, "content_type": "image/jpeg", "accept_other_types": True,
        "max_frames": 100, "quick_seconds": 2,
        "pictures": request(source, MediaKind.IMAGE).data.pictures,
    }  # fmt: skip
    return new_event(
        ImageCheckRequested(attempt=1, task="inspect", source=source, **{**facts, **others}),
        source="/media/ingest",
        asset_id=uuid4(),
        company_id=COMPANY,
        time=datetime.now(UTC),
        traceparent=TRACEPARENT,
    )


def jpeg(size: tuple[int, int] = (1600, 1200)) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    buffer = io.BytesIO()
    Image.effect_noise(size, 40).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def video_with_black_start(path: Path) -> Path:
    black, colours = "color=black:s=640x360:d=2", "testsrc2=s=640x360:d=4"
    inputs = ["-f", "lavfi", "-i", black, "-f", "lavfi", "-i", colours]
    joined = ["-filter_complex", "[0][1]concat", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(["ffmpeg", "-v", "error", *inputs, *joined], check=True)
    return path


@pytest.fixture(scope="module")
async def prefix():
    name = f"th{uuid4().hex[:8]}_"
    settings = KafkaSettings(kafka_topic_prefix=name)
    await create_topics(settings)
    yield name
    admin = AIOKafkaAdminClient(**settings.client_arguments())
    await admin.start()
    await admin.delete_topics([topic.name for topic in wanted_topics(name)])
    await admin.close()


@pytest.fixture(scope="module")
async def wire(prefix):
    settings = KafkaSettings(kafka_topic_prefix=prefix)
    async with Producer.connect(settings, name="test") as producer:
        yield Wire(producer, prefix)


@pytest.fixture(scope="module")
def storage():
    client = Minio(
        os.environ["S3_ENDPOINT_URL"].partition("://")[2],
        access_key=os.environ["S3_ACCESS_KEY"],
        secret_key=os.environ["S3_SECRET_KEY"],
        secure=os.environ["S3_ENDPOINT_URL"].startswith("https"),
    )
    bucket = f"media-{uuid4()}"
    client.make_bucket(bucket)
    yield Storage(client, bucket)
    found = client.list_objects(bucket, recursive=True)
    list(client.remove_objects(bucket, [DeleteObject(one.object_name) for one in found]))
    client.remove_bucket(bucket)


@pytest.fixture(scope="module")
async def service(prefix, tmp_path_factory):
    settings = KafkaSettings(kafka_topic_prefix=prefix)
    await make_users(settings, {"thumbnailer": "its password"})
    scratch = tmp_path_factory.mktemp("thumbnailer") / "scratch"
    scratch.mkdir()
    (scratch / "left-by-a-killed-process").touch()
    running = Service(
        {
            **Parts().environment_of("thumbnailer"),
            "KAFKA_TOPIC_PREFIX": prefix,
            "KAFKA_SASL_USERNAME": user_name(prefix, "thumbnailer"),
            "KAFKA_SASL_PASSWORD": "its password",
            "SCRATCH_DIR": str(scratch),
            "THUMBNAILER_CONSUMERS": "2",
        }
    )
    running.start()
    try:
        await eventually(running.is_ready, timeout=30)
        yield running
    finally:
        running.stop()


@asynccontextmanager
async def killed_and_started_again(service: Service):
    """Kill the service as the kernel would, let the block look around, start it again."""
    service.kill()
    try:
        yield
    finally:
        service.start()


async def test_start_removes_leftovers(service):
    assert [path for path in service.scratch() if path.name.startswith("left")] == []


async def test_image_gets_its_thumbnail(service, wire, storage):
    wanted = request(storage.put(jpeg()), MediaKind.IMAGE)
    await wire.send(wanted)
    (made,) = await wire.results(wanted)

    assert made.id == derived_id(wanted.id, "made")
    assert (made.companyid, made.traceparent) == (COMPANY, TRACEPARENT)
    assert made.source == "/media/thumbnailer"
    assert isinstance(made.data, ThumbnailMade)
    (picture,) = made.data.pictures
    assert (picture.bucket, picture.key) == (storage.bucket, wanted.data.pictures[0].key)
    data, headers = storage.get(picture.key)
    assert len(data) == picture.size
    assert headers["Cache-Control"] == "public, max-age=3600"
    assert headers["Content-Type"] == picture.content_type == "image/jpeg"
    image = Image.open(io.BytesIO(data))
    assert image.size == (picture.width, picture.height) == (320, 240)
    assert not image.getexif()


async def test_an_image_is_fetched_once_for_its_check_and_all_its_pictures(service, wire, storage):
    photo = jpeg()
    source = storage.put(photo)
    before = service.fetched_bytes()
    first = check(source, len(photo))
    await wire.send(first)
    (answer,) = await wire.results(first)
    told = answer.data
    assert isinstance(told, ImageChecked)
    assert (told.task, told.sha256) == ("inspect", hashlib.sha256(photo).hexdigest())
    assert (told.content_type, told.format, told.warnings) == ("image/jpeg", "JPEG", None)
    assert (told.width, told.height, told.frames, told.scans) == (1600, 1200, 1, 1)
    (picture,) = told.pictures
    assert storage.get(picture.key)[1]["Content-Type"] == "image/jpeg"
    then = request(source.model_copy(update={"sha256": told.sha256}), MediaKind.IMAGE)
    await wire.send(then)
    (made,) = await wire.results(then)
    assert isinstance(made.data, ThumbnailMade)
    assert service.fetched_bytes() - before == len(photo)


async def test_a_check_that_comes_again_stores_nothing_anew(service, wire, storage):
    photo = jpeg()
    wanted = check(storage.put(photo), len(photo))
    await wire.send(wanted)
    await wire.results(wanted)
    stored = storage.client.stat_object(storage.bucket, wanted.data.pictures[0].key).last_modified
    written = service.stored_bytes()
    await wire.send(wanted)

    async def both():
        found = await wire.results(wanted)
        return found if len(found) == 2 else None

    first, second = await eventually(both)
    assert (first.id, first.data.pictures) == (second.id, second.data.pictures)
    assert service.stored_bytes() == written
    again = storage.client.stat_object(storage.bucket, wanted.data.pictures[0].key).last_modified
    assert again == stored


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"size": 9}, "size_mismatch"),
        ({"content_type": "image/png", "accept_other_types": False}, "type_mismatch"),
        ({"pictures": []}, None),
        ({"quick_seconds": 0.001}, None),
        ({"content_type": "image/png"}, None),
    ],
)
async def test_an_image_is_checked_against_its_grant(service, wire, storage, change, code):
    photo = jpeg()
    wanted = check(storage.put(photo), **{"size": len(photo), **change})
    await wire.send(wanted)
    (answer,) = await wire.results(wanted)
    if code:
        assert answer.data.error.code == code
        assert wanted.data.pictures[0].key not in storage.outputs()
    else:
        assert len(answer.data.pictures) == ("content_type" in change)
        assert answer.data.warnings == (["type_differs"] if "content_type" in change else None)


async def test_an_image_with_too_many_frames_is_refused(service, wire, storage):
    buffer = io.BytesIO()
    frames = [Image.new("L", (8, 8), number * 40) for number in range(4)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    data = buffer.getvalue()
    wanted = check(storage.put(data), len(data), content_type="image/gif", max_frames=3)
    await wire.send(wanted)
    (answer,) = await wire.results(wanted)
    assert answer.data.error.code == "too_many_frames"
    assert wanted.data.pictures[0].key not in storage.outputs()


async def test_video_that_starts_black_gets_a_frame_that_is_not(service, wire, storage, tmp_path):
    path = video_with_black_start(tmp_path / "video.mp4")
    wanted = request(storage.put(path.read_bytes()), MediaKind.VIDEO, 6.0)
    await wire.send(wanted)
    (made,) = await wire.results(wanted)

    data, _ = storage.get(made.data.pictures[0].key)
    image = Image.open(io.BytesIO(data))
    assert image.size == (320, 240)
    assert image.convert("L").getextrema()[1] > 100


async def test_no_picture_is_made_of_other_bytes_than_those_that_were_checked(
    service, wire, storage
):
    photo = jpeg()
    checked = hashlib.sha256(photo).hexdigest()
    source = storage.put(photo).model_copy(update={"sha256": checked})
    other = storage.put(jpeg()).model_copy(update={"sha256": checked})
    good, bad = request(source, MediaKind.IMAGE), request(other, MediaKind.IMAGE)
    await wire.send(good)
    await wire.send(bad)
    answers = {one.subject: one.data for one in await wire.results(good, bad)}
    assert isinstance(answers[good.subject], ThumbnailMade)
    assert answers[bad.subject].error.code == "content_changed"


@pytest.mark.parametrize(
    ("kind", "code"), [(MediaKind.IMAGE, "unreadable_image"), (MediaKind.VIDEO, "no_frame")]
)
async def test_file_at_fault_is_answered_with_why(service, wire, storage, kind, code):
    wanted = request(storage.put(b"hello"), kind, 3.0 if kind is MediaKind.VIDEO else None)
    await wire.send(wanted)
    (failed,) = await wire.results(wanted)
    assert failed.id == derived_id(wanted.id, "failed")
    assert isinstance(failed.data, ThumbnailFailed)
    assert failed.data.error.code == code


async def test_missing_object_is_answered_with_why(service, wire, storage):
    gone = ObjectRef(bucket=storage.bucket, key=f"{COMPANY}/uploads/{uuid4()}")
    wanted = request(gone, MediaKind.IMAGE)
    await wire.send(wanted)
    (failed,) = await wire.results(wanted)
    assert failed.data.error.code == "object_missing"


async def test_repeated_request_gives_the_same_objects_and_event_id(service, wire, storage):
    wanted = request(storage.put(jpeg()), MediaKind.IMAGE)
    await wire.send(wanted)
    await wire.send(wanted)

    async def both():
        found = await wire.results(wanted)
        return found if len(found) == 2 else None

    first, second = await eventually(both)
    assert first.id == second.id
    assert first.data.pictures == second.data.pictures
    assert storage.outputs().count(wanted.data.pictures[0].key) == 1


async def test_malformed_record_is_dead_lettered_and_the_next_one_served(service, wire, storage):
    garbage = b'{"specversion": "1.0", "type": "nonsense"}'
    await wire.send_bytes(garbage)
    wanted = request(storage.put(jpeg()), MediaKind.IMAGE)
    await wire.send(wanted)
    assert await wire.results(wanted)

    async def dead_letter():
        found = await wire.records(MEDIA_THUMBNAIL.dlq, 1)
        return [record for record in found if record.value == garbage]

    (record,) = await eventually(dead_letter)
    assert dict(record.headers)["dlq-reason"] == b"malformed"


async def test_work_leaves_nothing_in_scratch_and_counts_itself(service):
    await eventually(lambda: not service.scratch())
    metrics = service.get("/metrics")
    assert 'thumbnailer_pictures_total{outcome="made"}' in metrics
    assert 'thumbnailer_pictures_total{outcome="failed"}' in metrics
    assert 'thumbnailer_render_seconds_count{kind="video"}' in metrics


async def test_kill_during_work_loses_nothing(service, wire, storage):
    buffer = io.BytesIO()
    Image.effect_noise((3000, 2000), 60).save(buffer, "PNG", compress_level=1)
    source = storage.put(buffer.getvalue())
    wanted = [request(source, MediaKind.IMAGE) for _ in range(20)]
    await asyncio.gather(*(wire.send(one) for one in wanted))
    await eventually(service.scratch)

    async with killed_and_started_again(service):
        done = [one for one in wanted if one.data.pictures[0].key in storage.outputs()]
        assert len(done) < len(wanted), "killed too late to show anything"

    results = await wire.results(*wanted)
    assert {one.id for one in results} == {derived_id(one.id, "made") for one in wanted}
    outputs = set(storage.outputs())
    assert {one.data.pictures[0].key for one in wanted} <= outputs
    assert isinstance(results[0].id, UUID)
