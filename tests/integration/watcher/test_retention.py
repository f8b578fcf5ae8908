"""What is deleted when it is too old, by whose policy, and what outlives it."""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from media_contracts import ObjectRef, Profile, VideoOutput
from media_contracts.profiles import Watermark
from media_records.companies import (
    CompanyNotFoundError,
    Policy,
    PolicyChange,
    policy_of,
    set_policy,
)
from media_records.retention import assets_to_retire, plan_all
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.kafka.producer import Producer
from media_runtime.settings import KafkaSettings
from media_runtime.storage.keys import output_key
from media_runtime.storage.store import upload_key
from watcher.cleanup.retention import Retention
from watcher.cleanup.sweep import Sweep
from watcher.reconcile.assets import SERVICE

from support.assets import files_now
from support.eventually import eventually

OLD = datetime.now(UTC) - timedelta(days=366)
YOUNG = datetime.now(UTC) - timedelta(days=364)


@pytest.fixture
async def work(database):
    # No record leaves: the tests look at rows.
    nobody = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:9")
    async with Producer.connect(nobody, name="t") as producer:
        yield Work(database, Outbox(database, producer, service=SERVICE))


@pytest.fixture
def retention(work, settings):
    return Retention(work, settings)


@pytest.fixture
def company(admin):
    """Make a company with a retention policy of its own, or none."""

    async def make(days=None, keeps=None, bucket="b", found=None):
        found = found or uuid4()
        await admin.execute(
            "INSERT INTO companies (company_id, bucket, quota_bytes, retention_days,"
            " retention_keeps_thumbnails) VALUES ($1, $2, 1, $3, $4)",
            found, bucket, days, keeps,
        )  # fmt: skip
        return found

    return make


async def deleted(admin):
    rows = await admin.fetch(
        "SELECT id FROM media_assets WHERE status = 'deleted' AND sweep_at IS NOT NULL"
    )
    return {row["id"] for row in rows}


async def test_what_is_older_than_a_year_is_deleted_and_told(retention, company, add, admin):
    one = await company()
    gone = [
        *(await add("ready", 2, company=one, created_at=OLD)),
        *(await add("failed", company=one, created_at=OLD)),
    ]
    await add("ready", company=one, created_at=YOUNG)
    await add("processing", company=one, created_at=OLD)
    assert await retention() == 3
    assert await deleted(admin) == set(gone)
    assert await admin.fetchval("SELECT count(*) FROM outbox WHERE topic = 'media_status'") == 3
    assert await retention() == 0


async def test_a_companys_own_policy_wins(retention, company, add, admin):
    short, long = await company(days=30), await company(days=3650)
    days_31 = datetime.now(UTC) - timedelta(days=31)
    gone = await add("ready", company=short, created_at=days_31)
    await add("ready", company=long, created_at=OLD)
    await add("ready", company=await company(), created_at=days_31)
    assert await retention() == 1
    assert await deleted(admin) == set(gone)


async def test_what_a_profile_names_that_is_offered_is_kept(
    retention, company, add, admin, database, settings
):
    one = await company()
    watermark, former, other = await add("ready", 3, company=one, created_at=OLD)

    def marked(version: int, asset_id: object) -> tuple[object, ...]:
        mark = Watermark(asset_id=asset_id)
        video = VideoOutput(name="video", watermark=mark)
        return one, version, Profile(name="web", version=version, outputs=(video,)).body()

    publish = "INSERT INTO profiles (company_id, name, version, body) VALUES ($1, 'web', $2, $3)"
    await admin.execute(publish, *marked(1, former))
    await admin.execute(publish, *marked(2, watermark))
    plan = await plan_all(database, settings.policy)
    assert [planned.assets for planned in plan.companies] == [2]
    assert await retention() == 2
    assert await deleted(admin) == {former, other}

    await admin.execute(publish, one, 3, None)
    assert await retention() == 1, "a profile that is withdrawn needs nothing"


async def test_a_round_deletes_a_bounded_number_the_oldest_first(
    database, work, settings, company, add, admin
):
    one, other = await company(), await company()
    older = await add("ready", 2, company=one, created_at=OLD - timedelta(days=1))
    await add("ready", 3, company=other, created_at=OLD)
    few = settings.model_copy(update={"retention_batch": 2})
    retention = Retention(work, few)
    assert len(await assets_to_retire(database, few.policy, few.retention_batch)) == 2
    assert await deleted(admin) == set(), "a plan deletes nothing"
    assert await retention() == 2
    assert await deleted(admin) == set(older)
    assert await retention.apply(await plan_all(database, few.policy)) == 3


async def test_a_plan_is_of_everything(database, settings, company, add, admin, add_file):
    keeper, other = await company(keeps=True), await company(days=30)
    older = OLD - timedelta(days=1)
    for asset in await add("ready", 3, company=keeper, created_at=OLD):
        await add_file(asset, "thumbnail", "k", size=10)
    await add("failed", company=keeper, created_at=older)
    await add("ready", 2, company=other, created_at=OLD)
    await add("ready", company=await company(), created_at=YOUNG)
    plan = await plan_all(database, settings.policy)
    told = [(one.company_id, one.assets, one.bytes, one.oldest, one.kept_thumbnails, one.days)
            for one in plan.companies]  # fmt: skip
    assert told == [(keeper, 4, 34, older, 3, 365), (other, 2, 2, OLD, 0, 30)]
    assert await deleted(admin) == set()


async def test_no_more_is_deleted_than_was_planned(
    retention, database, settings, company, add, admin
):
    one, unplanned = await company(), await company()
    planned = await add("ready", 2, company=one, created_at=OLD)
    await add("ready", company=one, created_at=YOUNG)
    plan = await plan_all(database, settings.policy)
    # Each of these became due after the plan was made.
    await add("ready", company=unplanned, created_at=OLD)
    await add("ready", company=one, created_at=OLD, updated_at=plan.at + timedelta(seconds=1))
    await set_policy(database, one, PolicyChange(days=30))
    assert await retention.apply(plan) == 2
    assert await deleted(admin) == set(planned)


async def test_what_a_company_wants_kept_meanwhile_is_kept(
    retention, database, settings, company, add, admin, add_file
):
    one, other = await company(), await company()
    assets = [*await add("ready", company=one, created_at=OLD),
              *await add("ready", company=other, created_at=OLD)]  # fmt: skip
    for asset in assets:
        await add_file(asset, "thumbnail", "k")
    plan = await plan_all(database, settings.policy)
    await set_policy(database, one, PolicyChange(days=3650))
    await set_policy(database, other, PolicyChange(keeps_thumbnails=True))
    assert await retention.apply(plan) == 1
    assert await deleted(admin) == {assets[1]}
    assert set(await files_now(database, assets[1])) == {"thumbnail"}


async def test_a_plan_for_another_policy_is_made_without_setting_it(
    database, settings, company, add, add_file
):
    one = await company(days=3650, keeps=True)
    (asset,) = await add("ready", company=one, created_at=OLD)
    await add_file(asset, "thumbnail", "k")
    assert (await plan_all(database, settings.policy, company=one)).companies == []
    other = Policy(days=30, keeps_thumbnails=False)
    plan = await plan_all(database, settings.policy, company=one, instead=other)
    (share,) = plan.companies
    assert (share.assets, share.kept_thumbnails) == (1, 0)
    assert (await policy_of(database, one)).days == 3650


async def test_a_change_of_policy_leaves_what_it_does_not_name(database, company):
    one = await company(days=30, keeps=True)

    async def changed(**change):
        await set_policy(database, one, PolicyChange(**change))
        return astuple(await policy_of(database, one))

    assert await changed(days=9) == (9, True)
    assert await changed(keeps_thumbnails=False) == (9, False)
    assert await changed() == (9, False)
    assert await changed(default=True) == (None, None)
    for act in (policy_of(database, uuid4()), set_policy(database, uuid4(), PolicyChange(1))):
        with pytest.raises(CompanyNotFoundError):
            await act


async def test_a_kept_thumbnail_is_all_that_is_left(
    retention, database, store, settings, company, add, add_file
):
    keeper, other = await company(keeps=True), await company(keeps=False)
    assets = {}
    for owner in (keeper, other):
        bucket = await store.ensure_bucket(owner, quota_bytes=10**6)
        (asset,) = await add("ready", company=owner, bucket=bucket, created_at=OLD)
        thumbnail = output_key(owner, asset, 1, "thumbnail.jpg")
        for key in (upload_key(owner, asset), output_key(owner, asset, 1, "image"), thumbnail):
            await store.upload_bytes(bucket, key, b"x", content_type="x/y", cache_control="x")
        await add_file(asset, "thumbnail", thumbnail)
        await add_file(asset, "image", output_key(owner, asset, 1, "image"))
        assets[owner] = asset
    assert await retention() == 2
    sweep = Sweep(database, store, settings)
    await eventually(sweep_is_idle(sweep))
    left = {owner: [one.key for one in await store.objects(store.bucket_of(owner))]
            for owner in assets}  # fmt: skip
    kept = output_key(keeper, assets[keeper], 1, "thumbnail.jpg")
    assert left == {keeper: [kept], other: []}
    assert await store.stat(ObjectRef(bucket=store.bucket_of(keeper), key=kept))


def sweep_is_idle(sweep):
    async def idle():
        return await sweep() == 0

    return idle
