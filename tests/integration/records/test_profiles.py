"""Profiles in PostgreSQL: whose they are, that they never change, and which one an upload gets."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from media_contracts import PictureOutput, Profile
from media_contracts.profiles import DEFAULT
from media_records import profiles
from media_records.grants import sign
from media_records.profiles import (
    MAX_PROFILES,
    NoSuchProfileError,
    TooManyProfilesError,
    newest_profile,
    newest_profiles,
    profile_of,
)
from media_records.work import Work
from media_runtime.database.outbox import Outbox
from media_runtime.database.postgres import Database
from media_runtime.errors import PermanentError
from media_runtime.kafka.producer import Producer
from media_runtime.settings import KafkaSettings

from support.assets import asset_now
from support.databases import service_url

BUILT_IN = DEFAULT.model_copy(update={"outputs": DEFAULT.outputs[:1]})
"""As ingest's settings may have it: not what the contract says."""


@pytest.fixture
async def sign_api(database_name):
    async with Database.connect(service_url(database_name, "sign_api"), name="t", size=4) as db:
        yield db


@pytest.fixture
async def ingest(database_name):
    async with Database.connect(service_url(database_name, "ingest"), name="t", size=2) as db:
        yield db


@pytest.fixture
async def operator(database_name):
    """Acts with the watcher's login, as operators do."""
    nowhere = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:9")
    async with Database.connect(service_url(database_name, "watcher"), name="t", size=9) as db:
        yield Work(db, Outbox(db, Producer(nowhere, name="t"), service="watcher"))


@pytest.fixture
def publish(operator):
    async def one(company: UUID, name: str = "web", *, width: int = 640) -> Profile:
        async with operator.begin() as tx:
            return await profiles.publish(tx, company, wanted(name, width=width))

    return one


@pytest.fixture
def withdraw(operator):
    async def one(company: UUID, name: str = "web") -> None:
        async with operator.begin() as tx:
            await profiles.withdraw(tx, company, name)

    return one


@pytest.fixture
def signed(sign_api, ingest):
    """Sign an upload and return its asset; raises AssertionError with why it is refused."""

    async def one(company: UUID, profile: str | None = None, key: str | None = None):
        asset_id = uuid4()
        refused, _, _ = await sign(
            sign_api, company_id=company, asset_id=asset_id, file_name="a", content_type="a/b",
            size=1, bucket="b", expires_at=datetime.now(UTC) + timedelta(hours=1),
            traceparent=None, key=key, request_hash="h" if key else None,
            response="{}" if key else None, max_grants=100, profile=profile,
        )  # fmt: skip
        assert refused is None, refused
        return await asset_now(ingest, asset_id)

    return one


def wanted(name: str = "web", *, width: int = 640) -> Profile:
    picture = PictureOutput(name="card", width=width, height=640)
    return Profile(name=name, version=1, outputs=(picture,))


def pinned(asset) -> tuple[str, int, bool]:
    return asset.profile, asset.profile_version, asset.own_profile


async def test_an_upload_without_a_word_gets_the_built_in_profile(ingest, signed):
    asset = await signed(uuid4())
    assert pinned(asset) == ("default", DEFAULT.version, False)
    assert await profile_of(ingest, asset, BUILT_IN) == BUILT_IN
    assert pinned(await signed(uuid4(), "default")) == ("default", DEFAULT.version, False)


async def test_an_upload_gets_the_newest_version_of_what_it_asks_for_and_keeps_it(
    ingest, publish, signed, withdraw
):
    company = uuid4()
    first = await publish(company)
    before = await signed(company, "web")
    second = await publish(company, width=320)
    after = await signed(company, "web")
    await withdraw(company)

    assert [first.version, second.version] == [1, 2]
    assert [pinned(before), pinned(after)] == [("web", 1, True), ("web", 2, True)]
    assert await profile_of(ingest, before, BUILT_IN) == first
    assert await profile_of(ingest, after, BUILT_IN) == second


async def test_a_companys_own_default_is_for_all_its_uploads_and_no_others(
    ingest, publish, signed, withdraw
):
    company = uuid4()
    own = await publish(company, "default")
    assert own.version > DEFAULT.version, "a number says which of the two is meant"
    for profile in (None, "default"):
        asset = await signed(company, profile)
        assert pinned(asset) == ("default", own.version, True)
        assert await profile_of(ingest, asset, BUILT_IN) == own
    assert pinned(await signed(uuid4())) == ("default", DEFAULT.version, False)

    await withdraw(company, "default")
    assert pinned(await signed(company)) == ("default", DEFAULT.version, False)
    assert (await publish(company, "default")).version == own.version + 2


async def test_a_built_in_version_that_grows_past_an_own_one_is_not_taken_for_it(
    ingest, publish, signed, admin
):
    company = uuid4()
    own = await publish(company, "default")
    await admin.execute("DELETE FROM profiles")  # as after a withdrawal, and a new release
    asset = await signed(company)
    await admin.execute("UPDATE media_assets SET profile_version = $1", own.version)
    await publish(company, "default")
    assert await profile_of(ingest, await asset_now(ingest, asset.id), BUILT_IN) == BUILT_IN


@pytest.mark.parametrize("name", ["web", "nobody", "DEFAULT", "default2", ""])
async def test_what_the_company_does_not_have_is_unknown(publish, signed, admin, name):
    other = uuid4()
    await publish(other)
    with pytest.raises(AssertionError, match="unknown_profile"):
        await signed(uuid4(), name)
    assert await admin.fetchval("SELECT count(*) FROM media_assets") == 0


async def test_what_is_withdrawn_is_unknown_to_new_uploads(publish, signed, withdraw):
    company = uuid4()
    await publish(company)
    await withdraw(company)
    with pytest.raises(AssertionError, match="unknown_profile"):
        await signed(company, "web")
    with pytest.raises(NoSuchProfileError):
        await withdraw(company)
    with pytest.raises(NoSuchProfileError):
        await withdraw(company, "never")
    assert (await publish(company)).version == 3
    assert pinned(await signed(company, "web")) == ("web", 3, True)


async def test_a_repeated_key_gives_its_answer_though_the_profile_is_gone(
    publish, signed, withdraw, sign_api
):
    company = uuid4()
    await publish(company)
    await signed(company, "web", key="k")
    await withdraw(company)
    refused, before, answer = await sign(
        sign_api, company_id=company, asset_id=uuid4(), file_name="a", content_type="a/b",
        size=1, bucket="b", expires_at=datetime.now(UTC), traceparent=None, key="k",
        request_hash="h", response="new", max_grants=100, profile="web",
    )  # fmt: skip
    assert (refused, before, answer) == (None, "h", "{}")


async def test_sign_api_sees_its_own_companys_profiles_alone(sign_api, publish):
    one, other = uuid4(), uuid4()
    await publish(one)
    async with sign_api.company(one) as connection:
        assert len(await newest_profiles(connection)) == 1
    async with sign_api.company(other) as connection:
        assert await newest_profiles(connection) == []
        assert await newest_profile(connection, one, "web") is None
    assert await newest_profiles(sign_api) == []


async def test_nobody_changes_or_removes_what_is_published(
    sign_api, ingest, operator, publish, database_name
):
    company = uuid4()
    await publish(company)
    for database in (sign_api, ingest, operator.database):
        for statement in (
            "UPDATE profiles SET body = '{}'",
            "DELETE FROM profiles",
            "TRUNCATE profiles",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with database.transaction() as connection:
                    await connection.execute(statement)
    insert = "INSERT INTO profiles (company_id, name, version) VALUES ($1, 'x', 1)"
    for database in (sign_api, ingest):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.company(company) as connection:
                await connection.execute(insert, company)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with sign_api.company(company) as connection:
            await connection.execute("UPDATE media_assets SET profile = 'other'")


async def test_the_same_again_is_no_new_version(publish, withdraw):
    company = uuid4()
    assert [(await publish(company)).version for _ in range(3)] == [1, 1, 1]
    assert (await publish(company, width=1)).version == 2
    assert (await publish(company)).version == 3
    await withdraw(company)
    assert (await publish(company)).version == 5


async def test_versions_that_are_published_at_once_have_numbers_of_their_own(publish):
    company = uuid4()
    published = await asyncio.gather(*(publish(company, width=n) for n in range(1, 9)))
    assert sorted(one.version for one in published) == list(range(1, 9))


async def test_a_company_offers_a_bounded_number_of_names(admin, publish, withdraw):
    company = uuid4()
    await admin.execute(
        "INSERT INTO profiles (company_id, name, version, body)"
        " SELECT $1, 'p' || n, 1, $3 FROM generate_series(1, $2) n",
        company, MAX_PROFILES - 2, wanted().body(),
    )  # fmt: skip
    outcomes = await asyncio.gather(
        *(publish(company, f"q{n}") for n in range(5)), return_exceptions=True
    )
    assert sum(isinstance(one, Profile) for one in outcomes) == 2
    assert sum(isinstance(one, TooManyProfilesError) for one in outcomes) == 3
    assert (await publish(company, "p1", width=1)).version == 2, "of a name that is there"
    assert (await publish(uuid4())).version == 1
    await withdraw(company, "p2")
    assert (await publish(company, "new")).version == 1
    with pytest.raises(TooManyProfilesError):
        await publish(company, "p2")


@pytest.mark.parametrize(
    "body",
    ["nonsense", '{"outputs":[{"type":"hologram","name":"h"}]}', '{"outputs":[]}', None],
)
async def test_a_version_that_makes_no_sense_any_more_has_a_code(
    ingest, publish, signed, admin, body
):
    company = uuid4()
    await publish(company)
    asset = await signed(company, "web")
    await admin.execute("UPDATE profiles SET body = $1", body)
    with pytest.raises(PermanentError) as error:
        await profile_of(ingest, asset, BUILT_IN)
    assert error.value.code == "invalid_profile"
    assert error.value.message == "Version 1 of the profile web cannot be used any more."
    await admin.execute("DELETE FROM profiles")
    with pytest.raises(PermanentError, match="Version 1 of the profile web"):
        await profile_of(ingest, asset, BUILT_IN)


@pytest.mark.parametrize(
    ("column", "value"), [("name", "A b"), ("name", "w" * 65), ("body", "x" * 65_537)]
)
async def test_the_database_keeps_the_limits_itself(admin, publish, column, value):
    await publish(uuid4())
    with pytest.raises(asyncpg.CheckViolationError):
        await admin.execute(f"UPDATE profiles SET {column} = $1", value)
