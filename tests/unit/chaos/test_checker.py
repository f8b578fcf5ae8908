"""Good evidence breaks no promise; each thing that is broken in it breaks exactly its own."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chaos.checker import INVARIANTS, judge
from chaos.evidence import Decoded, Found, Message
from chaos.golden_run import AT, BAD, CLIP, NOW, ONE, OTHER, PHOTO, GoodRun, some_id
from chaos.load import Heard

POISON = {"dlq-topic": "media_ingest", "dlq-partition": "3", "dlq-offset": "7", "dlq-service": "x"}


@pytest.fixture
def run() -> GoodRun:
    return GoodRun()


def test_good_evidence_breaks_no_promise(run):
    verdict = judge(run.evidence, garbage_allowed=False)
    assert verdict.ok, str(verdict)
    assert verdict.counters["assets_ready"] == 2
    assert verdict.counters["wire_duplicates"] == 0


# What is in order, though it looks odd.


def test_messages_and_events_may_be_repeated(run):
    run.evidence.messages += [m for m in run.evidence.messages if m.topic != "media_ingest"]
    run.evidence.heard *= 2
    verdict = judge(run.evidence)
    assert verdict.ok, str(verdict)
    assert verdict.counters["wire_duplicates"] == 9
    assert verdict.counters["events_heard_again"] == 9


def test_an_attempt_may_be_retried(run):
    run.retry(BAD, "failed", "type_mismatch")
    verdict = judge(run.evidence)
    assert verdict.ok, str(verdict)


def test_a_task_may_be_taken_over(run):
    run.another_key(CLIP, "video", video(run).replace("1-1", "1-2"))
    run.task(CLIP, "video")["fence"] = run.file(CLIP, "video")["fence"] = 2
    verdict = judge(run.evidence)
    assert verdict.ok, str(verdict)
    assert (verdict.counters["garbage"], verdict.counters["tasks_taken_over"]) == (1, 1)
    assert judge(run.evidence, garbage_allowed=False).broken == {"I4"}


def test_pictures_may_be_asked_for_again(run):
    run.task(CLIP, "pictures")["fence"] = run.file(CLIP, "thumbnail")["fence"] = 3
    verdict = judge(run.evidence)
    assert verdict.ok, str(verdict)
    assert verdict.counters["pictures_asked_again"] == 1


def test_a_task_that_is_not_required_may_fail(run):
    run.add_task(CLIP, 1, "preview", "failed")["required"] = False
    assert judge(run.evidence).ok


def test_a_blocked_task_may_wait_for_one_that_goes_on(run):
    waiting(run, video="running", join="blocked")
    run.task(some_id("waiting"), "video")["lease_until"] = NOW + timedelta(seconds=1)
    assert judge(run.evidence).ok


def test_pictures_may_carry_the_fence_too(run):
    for asset_id, kind in ((PHOTO, "image"), (PHOTO, "thumbnail"), (CLIP, "thumbnail")):
        key = run.file(asset_id, kind)["key"]
        run.another_key(asset_id, kind, key.replace("/1/", "/1-1/"))
    verdict = judge(run.evidence)
    assert verdict.ok, str(verdict)


def test_a_client_may_delete(run):
    run.delete(PHOTO)
    verdict = judge(run.evidence)
    assert verdict.ok, str(verdict)


def test_an_upload_in_quarantine_is_stored(run):
    found = original(run)
    replace(run.evidence.objects, found, key=found.key.replace("uploads", "quarantine"))
    verdict = judge(run.evidence)
    assert verdict.ok, str(verdict)


def test_an_upload_that_nobody_acknowledged_may_be_missing(run):
    asset_id = some_id("doubtful")
    run.signed(asset_id, ONE, "photo.jpg", "image/jpeg", "ready")
    run.drop("journal", lambda e: e.asset_id == asset_id and e.op == "upload")
    run.journal("upload", "info", asset_id=asset_id, company=ONE, expect="ready")
    run.drop("objects", lambda found: asset_id in found.key)
    run.drop("transitions", lambda row: row["asset_id"] == asset_id)
    run.drop("messages", lambda m: asset_id in m.key)
    run.drop("files", lambda file: file["asset_id"] == asset_id)
    run.asset(asset_id)["status"] = "pending"
    verdict = judge(run.evidence)
    assert verdict.ok, str(verdict)


def test_a_client_that_lost_events_may_have_read_the_state(run):
    run.drop("heard", lambda heard: heard.asset_id == PHOTO)
    run.evidence.heard.append(
        Heard(at=AT, company=ONE, kind="read", asset_id=PHOTO, event_company=ONE, what="ready")
    )
    assert judge(run.evidence).ok


def test_planted_poison_is_expected_and_may_be_dead_lettered_twice(run):
    for offset in (0, 1):
        run.evidence.dead_letters.append(
            Message(topic="x_dlq", partition=0, offset=offset, at=AT, key="", headers=POISON)
        )
    verdict = judge(run.evidence, planted_dead_letters=1)
    assert verdict.ok, str(verdict)
    assert verdict.counters["dead_letter_duplicates"] == 1


# One thing is broken.


def replace(items: list, old, **changed) -> None:
    items[items.index(old)] = type(old)(**{**vars(old), **changed})


def find(items, wanted):
    return next(one for one in items if wanted(one))


def original(run):
    return find(run.evidence.objects, lambda found: "uploads" in found.key)


def waiting(run, **states):
    """Add a pending asset with tasks; only they tell what it waits for."""
    asset = some_id("waiting")
    run.evidence.assets.append({**run.asset(BAD), "id": asset, "status": "pending"})
    for name, state in states.items():
        run.add_task(asset, 1, name, state)


def outcome_of(run, asset_id):
    return find(
        run.evidence.messages, lambda m: m.topic == "media_processed" and m.key == asset_id
    ).event["data"]


def object_without_asset(run):
    found = original(run)
    run.evidence.objects.append(
        Found(bucket=found.bucket, key=f"{ONE}/uploads/{some_id('x')}", size=1, etag="e")
    )


def asset_is_gone(run):
    asset_id = some_id("gone")
    run.journal("upload", asset_id=asset_id, company=ONE, expect="ready", size=1)


def upload_is_not_stored(run):
    run.drop("objects", lambda found: found is original(run))


def upload_is_hidden(run):
    replace(run.evidence.objects, original(run), deleted=True)


def upload_is_short(run):
    replace(run.evidence.objects, original(run), size=999)


def upload_is_another(run):
    replace(run.evidence.objects, original(run), etag="1" * 32)


def upload_is_not_recorded(run):
    run.forget(BAD, lambda file: file["kind"] == "original")


def upload_of_another_asset_is_recorded(run):
    run.file(BAD, "original")["key"] = run.file(PHOTO, "original")["key"]


def upload_is_recorded_with_another_size(run):
    run.file(PHOTO, "original")["size"] = 999


def unfinished(run, status):
    asset_id = some_id("unfinished")
    run.signed(asset_id, ONE, "photo.jpg", "image/jpeg", "ready")
    run.asset(asset_id)["status"] = status


def still_processing(run):
    unfinished(run, "processing")


def still_pending(run):
    unfinished(run, "pending")
    run.drop("transitions", lambda row: row["asset_id"] == some_id("unfinished"))
    run.drop("messages", lambda m: m.key == some_id("unfinished"))


def expired(run):
    unfinished(run, "expired")
    run.status(some_id("unfinished"), 1, "pending", "expired")


def stored_without_answer_and_pending(run):
    still_pending(run)
    run.drop("journal", lambda e: e.asset_id == some_id("unfinished") and e.op == "upload")
    run.journal("upload", "info", asset_id=some_id("unfinished"), company=ONE, expect="ready")


def deleted_by_nobody(run):
    run.delete(PHOTO)
    run.drop("journal", lambda entry: entry.op == "delete")


def ended_twice(run):
    run.status(PHOTO, 1, "processing", "ready")


def ended_both_ways(run):
    run.status(PHOTO, 1, "processing", "failed")


def no_transition(run):
    run.drop("transitions", lambda r: (r["asset_id"], r["to_status"]) == (PHOTO, "ready"))
    run.drop("messages", lambda m: m.event.get("data", {}).get("status") == "ready")


def retried_without_an_end(run):
    run.retry(BAD, "failed", "type_mismatch")
    ended = (BAD, 1, "failed")
    run.drop("transitions", lambda r: (r["asset_id"], r["attempt"], r["to_status"]) == ended)


def row_says_otherwise(run):
    run.asset(PHOTO)["status"] = "failed"
    run.forget(PHOTO, lambda file: file["kind"] != "original")
    expects(run, PHOTO, None)
    run.hear(ONE, PHOTO, "media_status", "failed", 1)
    run.hear(ONE, PHOTO, "media_processed", "failed", 1)


def retried_though_ready(run):
    run.retry(PHOTO, "ready")


def ended_an_attempt_that_never_was(run):
    run.status(BAD, 2, "processing", "failed")


def outcome_is_not_told(run):
    run.drop("messages", lambda m: m.topic == "media_processed" and m.key == PHOTO)


def outcome_is_told_by_two_events(run):
    run.event("media_processed", "media.asset.processed.v1", PHOTO, outcome_of(run, PHOTO))


def outcome_is_told_wrongly(run):
    outcome_of(run, BAD)["outcome"] = "ready"


def another_file_is_told(run):
    outcome_of(run, PHOTO)["thumbnail"]["key"] = "elsewhere"


def a_file_is_not_told(run):
    outcome_of(run, PHOTO)["files"].pop()


def a_file_is_told_wrongly(run):
    outcome_of(run, CLIP)["files"][0]["size"] += 1


def another_error_is_told(run):
    outcome_of(run, BAD)["error"]["code"] = "unreadable_image"


def status_is_not_told(run):
    wanted = {"processing"}
    run.drop("messages", lambda m: {m.event.get("data", {}).get("status")} == wanted)


def expects(run, asset_id, code):
    entry = find(run.evidence.journal, lambda e: e.op == "upload" and e.asset_id == asset_id)
    replace(run.evidence.journal, entry, expect=code)


def good_file_is_refused(run):
    expects(run, BAD, "ready")


def bad_file_is_ready(run):
    expects(run, PHOTO, "unreadable_image")


def bad_file_failed_for_another_reason(run):
    expects(run, BAD, "unreadable_image")


def picture(run):
    return run.file(PHOTO, "thumbnail")["key"]


def video(run):
    return run.file(CLIP, "video")["key"]


def looks(run, key, **changed):
    run.evidence.decoded[key] = Decoded(**{**vars(run.evidence.decoded[key]), **changed})


def ready_without_thumbnail(run):
    run.forget(PHOTO, lambda file: file["kind"] == "thumbnail")
    outcome_of(run, PHOTO)["thumbnail"] = None
    outcome_of(run, PHOTO)["files"].pop()


def thumbnail_is_missing(run):
    run.drop("objects", lambda found: found.key == picture(run))


def video_is_missing(run):
    run.drop("objects", lambda found: found.key == video(run))


def video_is_broken(run):
    looks(run, video(run), problem="moov atom not found")


def thumbnail_has_another_size(run):
    looks(run, picture(run), width=319)


def video_has_another_size(run):
    looks(run, video(run), height=92)


def video_is_cut_short(run):
    looks(run, video(run), seconds=1.0)


def video_has_other_bytes(run):
    looks(run, video(run), size=51)


def a_stream_has_a_gap(run):
    run.file(CLIP, "segment")["part"] = 1


def a_stream_ends_early(run):
    run.file(CLIP, "segment")["duration_seconds"] = 1.0
    looks(run, run.file(CLIP, "segment")["key"], seconds=1.0)


def a_part_of_a_stream_is_missing(run):
    run.drop("objects", lambda found: found.key == run.file(CLIP, "segment")["key"])


def a_part_of_a_stream_is_broken(run):
    looks(run, run.file(CLIP, "segment")["key"], problem="a track of other boxes than ours")


def a_part_of_a_stream_is_of_a_stale_claim(run):
    run.task(CLIP, "video-early")["fence"] = 2


def a_video_has_no_stream(run):
    run.forget(CLIP, lambda file: file["kind"] == "segment")


def thumbnail_is_recorded_with_another_size(run):
    run.file(CLIP, "thumbnail")["height"] = 180
    outcome_of(run, CLIP)["thumbnail"]["height"] = 180
    outcome_of(run, CLIP)["files"][1]["height"] = 180


def output_of_another_attempt_is_left(run):
    """Beside those of the attempt that made the asset ready."""
    run.retry(BAD, "ready")
    expects(run, BAD, "ready")
    image = run.file(BAD, "image")
    key = image["key"].replace("/2/", "/1/")
    run.store(run.asset(BAD)["bucket"], key, run.evidence.decoded[image["key"]])
    run.evidence.files.append({**image, "key": key, "attempt": 1})


def a_failed_asset_has_outputs(run):
    asset = run.asset(BAD)
    run.made(asset, 1, 1, is_video=False)


def a_deleted_asset_has_its_upload(run):
    key = run.file(PHOTO, "original")["key"]
    run.delete(PHOTO)
    run.add_file(PHOTO, 0, "original", key, size=1000)


def a_stale_worker_won(run):
    run.task(CLIP, "video")["fence"] = run.file(CLIP, "video")["fence"] = 2


def a_stale_worker_won_and_says_so(run):
    run.task(CLIP, "video")["fence"] = 2


def a_stale_worker_won_unrecorded(run):
    a_stale_worker_won_and_says_so(run)
    run.file(CLIP, "video")["fence"] = None


def a_worker_from_nowhere_won(run):
    run.task(CLIP, "video")["fence"] = run.file(CLIP, "video")["fence"] = 0


def a_worker_without_a_claim_won(run):
    run.task(CLIP, "video")["fence"] = 0


def a_stale_answer_won(run):
    run.task(PHOTO, "pictures")["fence"] = 2


def no_task_was_there(run):
    run.drop("tasks", lambda task: task["asset_id"] == PHOTO)


def no_task_made_the_pictures(run):
    run.evidence.tasks.remove(run.task(PHOTO, "pictures"))


def the_task_had_failed(run):
    run.task(PHOTO, "pictures")["state"] = "failed"


def another_task_had_failed(run):
    run.task(CLIP, "inspect")["state"] = "failed"


def with_keys(run, asset_id, old, new):
    """Let row, storage and Kafka agree on a key that is wrong."""
    for file in run.evidence.files:
        key = file["key"]
        if file["asset_id"] == asset_id and file["kind"] != "original" and old in key:
            run.another_key(asset_id, file["kind"], key.replace(old, new))
            run.drop("objects", lambda found, key=key: found.key == key)


def video_without_fence(run):
    with_keys(run, CLIP, "/1-1/", "/1/")


def thumbnail_of_another_attempt(run):
    with_keys(run, CLIP, "/1/", "/2/")


def picture_of_a_stale_fence(run):
    with_keys(run, PHOTO, "/1/", "/1-1/")
    run.task(PHOTO, "pictures")["fence"] = run.file(PHOTO, "image")["fence"] = 2
    run.file(PHOTO, "thumbnail")["fence"] = 2


def outputs_of_another_asset(run):
    with_keys(run, PHOTO, PHOTO, BAD)


def did_not_come_to_rest(run):
    run.journal("quiesce", "fail", detail="after 120 s: 1 assets")


def outbox_is_not_empty(run):
    run.evidence.outbox.append({"key": PHOTO, "producer": "ingest", "topic": "media_status"})


def lease_ended(run):
    waiting(run, inspect="running")
    run.task(some_id("waiting"), "inspect")["lease_until"] = NOW - timedelta(seconds=1)


def task_of_an_ended_asset_is_open(run):
    run.task(BAD, "inspect")["state"] = "queued"


def task_of_an_ended_asset_is_blocked(run):
    run.add_task(BAD, 1, "join", "blocked")


def optional_task_of_a_ready_asset_is_open(run):
    run.add_task(CLIP, 1, "preview", "queued")["required"] = False


def task_of_an_older_attempt_is_open(run):
    run.retry(BAD, "failed", "type_mismatch")
    run.task(BAD, "inspect")["state"] = "queued"


def blocked_by_nothing(run):
    waiting(run, inspect="done", join="blocked")


def ffmpeg_is_left(run):
    run.evidence.processes.append("ffmpeg -i scratch/source")


def scratch_is_not_empty(run):
    run.evidence.scratch.append("ingest/1-1-1")


def a_group_lags(run):
    run.evidence.lag["thumbnailer/media_thumbnail"] = 1


def a_dead_letter(run):
    run.evidence.dead_letters.append(
        Message(topic="media_ingest_dlq", partition=0, offset=0, at=AT, key="")
    )


def row_of_another_company(run):
    asset_id = some_id("astray")
    run.journal("sign", company=ONE, asset_id=asset_id)
    run.evidence.assets.append(
        {
            **run.asset(BAD),
            "id": asset_id,
            "status": "pending",
            "company_id": OTHER,
            "bucket": f"media-{OTHER}",
        }
    )


def row_points_to_a_foreign_bucket(run):
    run.asset(BAD)["bucket"] = f"media-{OTHER}"


def transition_of_another_company(run):
    run.evidence.transitions[0]["company_id"] = OTHER


def task_of_another_company(run):
    run.evidence.tasks[0]["company_id"] = OTHER


def file_of_another_company(run):
    run.evidence.files[0]["company_id"] = OTHER


def object_in_a_foreign_bucket(run):
    found = find(run.evidence.objects, lambda found: found.key == picture(run))
    run.evidence.objects.append(Found(bucket=f"media-{OTHER}", key=found.key, size=50, etag="e"))


def upload_key_of_another_company(run):
    run.file(PHOTO, "original")["key"] = f"{OTHER}/uploads/{PHOTO}"


def output_key_of_another_company(run):
    with_keys(run, PHOTO, ONE, OTHER)


def event_names_another_company(run):
    run.event("media_thumbnailed", "media.thumbnail.made.v1", PHOTO, {}, company=OTHER)


def a_stranger_heard(run):
    run.hear(OTHER, PHOTO, "media_status", "ready", 1)


def a_stranger_heard_of_an_unknown_asset(run):
    run.evidence.heard.append(
        Heard(at=AT, company=ONE, kind="media_status", asset_id="x", event_company=OTHER)
    )


def client_heard_no_end(run):
    run.drop("heard", lambda heard: heard.asset_id == PHOTO)


def client_heard_no_result(run):
    run.drop("heard", lambda h: (h.asset_id, h.kind) == (CLIP, "media_processed"))


def client_heard_of_the_first_attempt_only(run):
    run.retry(BAD, "failed", "type_mismatch")
    run.drop("heard", lambda heard: heard.attempt == 2)


BROKEN = {
    "I1": [
        object_without_asset,
        asset_is_gone,
        upload_is_not_stored,
        upload_is_hidden,
        upload_is_short,
        upload_is_another,
        upload_is_not_recorded,
        upload_of_another_asset_is_recorded,
        upload_is_recorded_with_another_size,
    ],
    "I2": [
        still_processing,
        still_pending,
        expired,
        stored_without_answer_and_pending,
        deleted_by_nobody,
        ended_twice,
        ended_both_ways,
        no_transition,
        retried_without_an_end,
        row_says_otherwise,
        retried_though_ready,
        ended_an_attempt_that_never_was,
        outcome_is_not_told,
        outcome_is_told_by_two_events,
        outcome_is_told_wrongly,
        another_file_is_told,
        a_file_is_not_told,
        a_file_is_told_wrongly,
        another_error_is_told,
        status_is_not_told,
    ],
    "I3": [good_file_is_refused, bad_file_is_ready, bad_file_failed_for_another_reason],
    "I4": [
        ready_without_thumbnail,
        thumbnail_is_missing,
        video_is_missing,
        video_is_broken,
        thumbnail_has_another_size,
        thumbnail_is_recorded_with_another_size,
        output_of_another_attempt_is_left,
        a_failed_asset_has_outputs,
        a_deleted_asset_has_its_upload,
        video_has_another_size,
        video_is_cut_short,
        video_has_other_bytes,
        a_stream_has_a_gap,
        a_stream_ends_early,
        a_part_of_a_stream_is_missing,
        a_part_of_a_stream_is_broken,
        a_part_of_a_stream_is_of_a_stale_claim,
        a_video_has_no_stream,
        a_stale_worker_won,
        a_stale_worker_won_and_says_so,
        a_stale_worker_won_unrecorded,
        a_worker_from_nowhere_won,
        a_worker_without_a_claim_won,
        a_stale_answer_won,
        no_task_was_there,
        no_task_made_the_pictures,
        the_task_had_failed,
        another_task_had_failed,
        video_without_fence,
        thumbnail_of_another_attempt,
        picture_of_a_stale_fence,
        outputs_of_another_asset,
    ],
    "I5": [
        did_not_come_to_rest,
        outbox_is_not_empty,
        lease_ended,
        task_of_an_ended_asset_is_open,
        task_of_an_ended_asset_is_blocked,
        optional_task_of_a_ready_asset_is_open,
        task_of_an_older_attempt_is_open,
        blocked_by_nothing,
        ffmpeg_is_left,
        scratch_is_not_empty,
        a_group_lags,
        a_dead_letter,
    ],
    "I6": [
        row_of_another_company,
        row_points_to_a_foreign_bucket,
        transition_of_another_company,
        task_of_another_company,
        file_of_another_company,
        object_in_a_foreign_bucket,
        upload_key_of_another_company,
        output_key_of_another_company,
        event_names_another_company,
        a_stranger_heard,
        a_stranger_heard_of_an_unknown_asset,
    ],
    "I7": [client_heard_no_end, client_heard_no_result, client_heard_of_the_first_attempt_only],
}
CASES = [(invariant, change) for invariant, changes in BROKEN.items() for change in changes]


@pytest.mark.parametrize(
    ("invariant", "change"), CASES, ids=lambda case: getattr(case, "__name__", case)
)
def test_what_is_broken_breaks_its_own_promise_alone(run, invariant, change):
    change(run)
    verdict = judge(run.evidence)
    assert verdict.broken == {invariant}, str(verdict)


def test_every_promise_is_tried():
    assert set(BROKEN) == set(INVARIANTS)


def test_poison_that_is_not_dead_lettered_is_missed(run):
    assert judge(run.evidence, planted_dead_letters=1).broken == {"I5"}


def test_clients_that_were_kept_from_listening_are_left_out(run):
    run.evidence.heard.clear()
    assert judge(run.evidence).broken == {"I7"}
    assert judge(run.evidence, clients_listened=False).ok


def test_who_subscribes_later_is_told_of_nothing_before(run):
    run.evidence.heard.clear()
    for entry in list(run.evidence.journal):
        if entry.op == "subscribe":
            replace(run.evidence.journal, entry, at=AT + 1)
    assert judge(run.evidence).ok
