"""Profiles as client apps ask for them, and as operators publish them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import uuid4

import pytest
from media_contracts.profiles import DEFAULT, MAX_PROFILE_BYTES

from support.clients import JSON, Company
from support.surroundings import variable
from support.typed import mediactl

PHOTO = {"fileName": "photo.jpg", "size": 1000, "type": "image/jpeg"}


def picture(name: str = "card", width: int = 640) -> JSON:
    return {"type": "picture", "name": name, "width": width, "height": 640}


def typed(*words: str, code: int = 0) -> str:
    """Run ``mediactl profile``, check how it ends, and return what it says."""
    variable("MEDIACTL_HOME")
    done = mediactl("profile", *words, environment=dict(os.environ))
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


@pytest.fixture
def publish(tmp_path: Path):
    """Publish a profile as operators do and return its version."""

    def one(company: Company, name: str = "web", *outputs: JSON) -> int:
        file = tmp_path / "profile.json"
        file.write_text(json.dumps({"name": name, "outputs": outputs or [picture()]}))
        said = typed("set", str(file), "--company", str(company.id), "--json")
        version: int = json.loads(said)["version"]
        return version

    return one


async def profile_of(company: Company, **asked: str) -> tuple[str, int]:
    """Sign an upload and return which profile its asset has."""
    asset = await company.asset((await company.sign(**asked))["assetId"])
    return asset["profile"]["name"], asset["profile"]["version"]


async def test_an_asset_says_which_profile_it_was_signed_with(company, other_company, publish):
    publish(company)
    signed = (await company.sign(profile="web"))["assetId"]
    publish(company, "web", picture(width=320))

    assert (await company.asset(signed))["profile"] == {"name": "web", "version": 1}
    assert await profile_of(company, profile="web") == ("web", 2)
    assert await profile_of(company) == ("default", DEFAULT.version)
    (newest, *_) = (await company.get("/assets")).json()["items"]
    assert newest["profile"] == {"name": "default", "version": DEFAULT.version}

    answer = await other_company.post("/sign", json={**PHOTO, "profile": "web"})
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_profile")


async def test_a_companys_own_default_takes_the_place_of_the_built_in_one(
    company, other_company, publish
):
    own = publish(company, "default")
    assert await profile_of(company) == ("default", own)
    assert await profile_of(company, profile="default") == ("default", own)
    assert await profile_of(other_company) == ("default", DEFAULT.version)

    assert "built-in one" in typed("rm", "default", "--company", str(company.id), "--yes")
    assert await profile_of(company) == ("default", DEFAULT.version)


@pytest.mark.parametrize(
    "name", ["nobody", "Web", "", "a b", "../web", "web\n", "w" * 10_000, "\0", "\ud800", 7, [], {}]
)
async def test_a_profile_that_there_is_not_is_named_by_its_code(company, name):
    answer = await company.post(
        "/sign", content=json.dumps({**PHOTO, "profile": name}),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "unknown_profile"
    assert answer.json()["detail"].startswith("profile")
    assert (await company.get("/assets")).json()["items"] == []


async def test_no_profile_may_be_said_as_null(company):
    answer = await company.post("/sign", json={**PHOTO, "profile": None})
    assert answer.status_code == 201


async def test_a_request_for_another_profile_is_another_request(company, publish):
    publish(company)
    key = {"Idempotency-Key": str(uuid4())}
    web = {**PHOTO, "profile": "web"}
    first = await company.post("/sign", json=web, headers=key)
    assert first.status_code == 201
    assert (await company.post("/sign", json=web, headers=key)).json() == first.json()
    for other in (PHOTO, {**PHOTO, "profile": "default"}):
        answer = await company.post("/sign", json=other, headers=key)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_profiles_are_listed_and_shown(company, publish):
    publish(company)
    publish(company, "web", picture("small", 320), picture("large", 1600))
    publish(company, "old")
    typed("rm", "old", "--company", str(company.id), "--yes")

    built_in, own = json.loads(typed("list", "--company", str(company.id), "--json"))
    assert (built_in["name"], built_in["company_id"]) == ("default", None)
    assert built_in["outputs"] == [
        "video", "audio", "image", "thumbnail", "responsive", "animation",
    ]  # fmt: skip
    assert (own["name"], own["version"], own["outputs"]) == ("web", 2, ["small", "large"])
    assert own["company_id"] == str(company.id)
    table = typed("list")
    for words in ("all, built in", str(company.id), "small, large"):
        assert words in table

    newest = json.loads(typed("show", "web", "--company", str(company.id)))
    assert [one["width"] for one in newest["outputs"]] == [320, 1600]
    first = typed("show", "web", "--company", str(company.id), "--version", "1")
    assert [one["name"] for one in json.loads(first)["outputs"]] == ["card"]
    assert json.loads(typed("show", "default"))["outputs"][0]["name"] == "video"


async def test_what_is_shown_can_be_set(company, publish, tmp_path):
    publish(company)
    file = tmp_path / "shown.json"
    file.write_text(typed("show", "default"))
    said = typed("set", str(file), "--company", str(company.id))
    assert said == f"default, version {DEFAULT.version + 1}.\n"
    assert typed("set", str(file), "--company", str(company.id)) == said, "nothing has changed"


BAD = {
    "no json": (b"{", "profile.json is no profile. Invalid JSON"),
    "no outputs": (b'{"name": "web", "outputs": []}', "A profile has one output at least."),
    "too long": (b" " * (MAX_PROFILE_BYTES + 1), f"It has more than {MAX_PROFILE_BYTES} bytes."),
    "words for a terminal": (
        b'{"name": "web", "outputs": [], "\\u001b[31m": 1}', "\\x1b[31m: Extra inputs",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "why"), BAD.values(), ids=BAD)
def test_a_file_that_is_no_profile_is_refused_in_a_sentence(tmp_path, text, why):
    file = tmp_path / "profile.json"
    file.write_bytes(text)
    said = typed("set", str(file), "--company", str(uuid4()), code=2)
    assert why in said
    assert "\x1b[31m" not in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("set", "/nowhere.json", "--company", str(uuid4())), "No such file"),
        (("show", "web"), "name a company"),
        (("show", "web", "--company", str(uuid4())), "has no profile web of its own."),
        (("show", "A b", "--company", str(uuid4())), "No profile can be named A b."),
        (("rm", "web", "--company", str(uuid4()), "--yes"), "has no profile web of its own."),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(words, why):
    assert why in typed(*words, code=2)


def test_a_profile_of_a_company_that_nobody_has_seen_is_published_and_doubted(tmp_path):
    file = tmp_path / "profile.json"
    file.write_text(json.dumps({"name": "web", "outputs": [picture()]}))
    done = mediactl(
        "profile", "set", str(file), "--company", str(uuid4()), environment=dict(os.environ)
    )
    assert (done.returncode, done.stdout) == (0, "web, version 1.\n")
    assert "is the id right?" in done.stderr
