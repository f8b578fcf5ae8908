"""The page at the edge, in a real browser: from the file that is dropped to the film that plays."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import os
import random
import subprocess
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from media_contracts.formats import (
    ACCEPTED_TYPES,
    ALIASES,
    FORMATS,
    family_of,
    kind_of,
    type_of_family,
)
from media_runtime.media.gate import sniff
from mediactl.devstack.home import Home
from sign_api.domain import RefusedUploadError, check_upload

from support.clients import Company
from support.media_files import make_photo
from support.player import HERE
from support.surroundings import variable
from support.tiers import FULL

PAGE = Home.from_environment().root / "deploy" / "edge" / "page"
MOST_SCRIPT_BYTES = 300_000
PART_BYTES = 8 * 1024 * 1024
AT_ONCE = 4
LARGE_BYTES = 300_000_000
LINE_BYTES_PER_SECOND = 30_000_000
OUTSIDE = {""}
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def company(http) -> Company:
    return Company(http)


def token(company: Company) -> str:
    return company.headers["Authorization"].removeprefix("Bearer ")


@pytest.fixture(scope="session")
def large(clock, tmp_path_factory) -> Path:
    """A film of 300 MB: most of it stands in a box that players pass over."""
    path = tmp_path_factory.mktemp("large") / "large.mp4"
    film = clock.read_bytes()
    rest = LARGE_BYTES - len(film)
    path.write_bytes(film + rest.to_bytes(4, "big") + b"free" + os.urandom(rest - 8))
    # What browsers say of the time has milliseconds; of a file system it has more.
    os.utime(path, ns=(1_700_000_000_123_999_999, 1_700_000_000_123_999_999))
    return path


def test_all_scripts_of_the_page_are_small():
    sizes = {
        path.name: len(gzip.compress(path.read_bytes(), 9)) for path in sorted(PAGE.rglob("*.js"))
    }
    print(f"\n{sum(sizes.values())} bytes of script: {sizes}")  # noqa: T201 - for who looks
    assert sum(sizes.values()) < MOST_SCRIPT_BYTES


def test_the_modules_of_others_are_what_npm_has(tmp_path):
    subprocess.run(["sh", str(PAGE.parent / "vendor" / "vendor.sh"), str(tmp_path)], check=True)
    for made in tmp_path.iterdir():
        assert made.read_bytes() == (PAGE / "vendor" / made.name).read_bytes(), made.name
    assert {"hls.js", "thumbhash.js"} <= {made.name for made in tmp_path.iterdir()}


async def test_a_film_is_uploaded_played_and_ready(stage, company, subtitled):
    await company.sign()
    told = await stage.browser.use_page(
        "watch", [subtitled], token=token(company), rungs=["180"], words=["second", "Sekunde"]
    )
    print("\n", json.dumps(told["stages"], ensure_ascii=False))  # noqa: T201
    assert told["logged"] == []
    assert told["refused"] == []
    assert told["address"] == f"{variable('MEDIA_URL')}/"
    assert told["playedBefore"] == 1
    assert any(text.startswith("Transcoding") for text in told["stages"])
    assert any("can be played" in text for text in told["stages"])
    assert told["rungs"][0].startswith("Auto")
    assert told["heights"] == [180]
    assert len(told["texts"]) == 3
    assert [cue.split()[0] for cue in told["cues"]] == ["second", "Sekunde"]
    assert told["isOff"]
    assert told["rate"] == 2
    assert told["tile"][0] > 50
    assert told["tile"][2].startswith('url("')
    assert told["pip"]
    assert told["picture"].startswith(f"{variable('MEDIA_URL')}/v/")
    own = variable("MEDIA_URL")
    assert {
        url for url in told["requests"] if not url.startswith((f"{own}/", "blob:", "data:"))
    } == set()
    assert not any(token(company) in url for url in told["requests"][1:])


async def test_nothing_stands_in_the_way_of_people_who_see_hear_or_move_less(
    stage, company, subtitled, large, tmp_path
):
    photo = make_photo(tmp_path / "photo.jpg")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypisom" + os.urandom(3000))
    other = tmp_path / "notes.txt"
    other.write_text("no film")
    await company.sign()
    told = await stage.browser.use_page(
        "axe", [subtitled, photo, broken, other, large], token=token(company)
    )
    for one in told["looked"]:
        assert one["violations"] == [], (one["what"], one["colorScheme"], one["width"])
        assert one["wide"] <= 0, (one["what"], one["width"])
        assert one["passes"] > 10
    assert len(told["looked"]) == 16


async def test_the_keyboard_alone_is_enough(stage, company, subtitled):
    await company.sign()
    told = await stage.browser.use_page("keyboard", [subtitled], token=token(company))
    assert told["logged"] == []
    assert told["inDialog"] == "play"
    assert told["paused"] is True
    assert told["rung"] == "180"
    assert told["muted"] is True
    assert told["afterDialog"].startswith(f"Play {subtitled.name}")
    assert told["afterRemoval"] == "gallery"
    # After the last one the browser's own controls have the focus.
    assert [at for at, outline in told["focus"] if outline == "none" and at not in OUTSIDE] == []


async def test_what_the_server_would_refuse_is_not_sent(stage, company, tmp_path):
    files = {
        "notes.txt": b"no film", "empty.mp4": b"", "film.mp4": b"\xff\xd8\xff" + bytes(500),
        "photo.jpg": bytes(500),
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    big = tmp_path / "big.mp4"
    with big.open("wb") as file:
        file.truncate(500_000_001)
    told = await stage.browser.use_page(
        "refuse", [*(tmp_path / name for name in files), big], token=token(company)
    )
    codes = {text.rpartition("(")[2].rstrip(")") for text in told["texts"]}
    assert codes == {"invalid_type", "invalid_size", "type_mismatch", "file_too_large"}
    assert len(told["texts"]) == 5
    assert told["asks"] == []


def server_says(name: str, size: int, type_: str, head: bytes | None) -> str | None:
    """Return the code with which the server refuses, as far as a file's first bytes tell."""
    try:
        plain = check_upload(name, size, type_, max_bytes=500)
    except RefusedUploadError as error:
        return error.code
    if head is None:
        return None
    family = sniff(head[:64], at_188=head[188:])
    if family is None and kind_of(plain) == "video":
        return None  # transport streams are looked for further on
    if family == family_of(plain) or (family and type_of_family(family, kind_of(plain))):
        return None
    return "type_mismatch"


def test_the_page_refuses_with_the_codes_of_the_server():
    names = ["a.mp4", "", ".", "..", "a/b", "a\\b", "x" * 255, "x" * 256, "🎬" * 255,
             "🎬" * 256,
             "nul\0", "a\u2028", "tab\t", "\u202egpj.exe", "é", "\x7f", "\x85"]  # fmt: skip
    cases = [(name, 1, "video/mp4", None) for name in names]
    cases += [("a", size, "image/png", None) for size in (-1, 0, 1, 500, 501)]
    types = [*sorted(ACCEPTED_TYPES), *ALIASES, "text/plain", "", "video/", " VIDEO/MP4 ; codecs=x"]
    cases += [("a", 1, one, None) for one in types]
    draw = random.Random(1)
    heads = [bytes(256), draw.randbytes(256), b"\xff\xd8\xff"]
    for one in FORMATS:
        for magic in one.magics:
            head = bytearray(256)
            for at, word in magic:
                head[at : at + len(word)] = word
            heads += [bytes(head), bytes(head[:100])]
    brands = {brand for one in FORMATS for brand in one.brands} | {b"isom", b"qt  ", b"mif1"}
    heads += [b"\0\0\0\x1cftyp" + brand + bytes(4) + more for brand in sorted(brands)
              for more in (b"isomiso2", b"mif1avif", b"heicmif1")]  # fmt: skip
    kinds = ["video/mp4", "image/jpeg", "audio/mpeg", "image/heic", "video/webm", "audio/webm"]
    cases += [("a", 1, kind, head) for head in heads for kind in kinds]
    words = json.dumps({"maxBytes": 500, "cases": [
        {"name": name, "size": size, "type": kind,
         "head": None if head is None else base64.b64encode(head).decode()}
        for name, size, kind, head in cases
    ]})  # fmt: skip
    done = subprocess.run(
        ["node", str(HERE / "preflight.mjs"), str(PAGE)], input=words,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    for case, refusal in zip(cases, found, strict=True):
        assert (refusal and refusal["code"]) == server_says(*case), case
    codes = [refusal["code"] for refusal in found if refusal]
    print(f"\n{len(cases)} cases, refused: { {code: codes.count(code) for code in set(codes)} }")  # noqa: T201
    assert len(set(codes)) == 5


async def test_an_upload_goes_on_wherever_it_was_killed(stage, company, large):
    await company.sign()
    digest = await asyncio.to_thread(lambda: hashlib.sha256(large.read_bytes()).hexdigest())
    draw = random.Random()
    for _ in range(5 if FULL else 1):
        kills = [
            {"how": how, "at": round(draw.uniform(low, low + 12), 1)}
            for how, low in zip(
                ("close", "kill", "profile", "kill", "close", "profile"),
                range(5, 86, 14),
                strict=True,
            )
        ]
        told = await stage.browser.use_page(
            "kill", [large], token=token(company), kills=kills,
            bytesPerSecond=2 * LINE_BYTES_PER_SECOND,
        )  # fmt: skip
        check_kills(told["sessions"])
        asset = await company.ready(told["assetId"], timeout=300)
        assert asset["sha256"] == digest
        assert asset["size"] == LARGE_BYTES
        assert (await company.call("DELETE", f"/assets/{told['assetId']}")).status_code == 204


def check_kills(sessions):
    """Check that no session sent what an earlier one had sent, and that all parts were sent."""
    parts = -(-LARGE_BYTES // PART_BYTES)
    for before, after in pairwise(sessions):
        assert after["listed"].startswith("Stopped at"), after
        done = {number for one in sessions[: sessions.index(after)] for number in one["sent"]}
        assert not done & set(after["begun"]), (before, after)
    begun = [number for one in sessions for number in one["begun"]]
    again = len(begun) - len(set(begun))
    kills = [one for one in sessions if one["how"] != "done" and one["isThere"]]
    print(f"\nkilled {[(one['how'], one['at']) for one in kills]}, {again} parts sent again")  # noqa: T201
    assert set(begun) == set(range(1, parts + 1))
    assert len(kills) == len(sessions) - 1
    assert again <= len(kills) * AT_ONCE


async def test_an_upload_pauses_and_goes_on_after_a_reload_with_the_same_file_alone(
    stage, company, large, clock, tmp_path
):
    await company.sign()
    other = tmp_path / "other" / large.name
    other.parent.mkdir()
    other.write_bytes(clock.read_bytes())
    told = await stage.browser.use_page("pause", [large, other], token=token(company))
    assert told["logged"] == []
    assert told["sentWhilePaused"] == 0
    assert told["otherFile"].startswith("This is another file")
    assert told["rows"] == 1
    digest = await asyncio.to_thread(lambda: hashlib.sha256(large.read_bytes()).hexdigest())
    assert (await company.ready(told["assetId"], timeout=300))["sha256"] == digest
    assert len(told["begun"]) <= -(-LARGE_BYTES // PART_BYTES) + 2 * AT_ONCE


async def test_the_page_finds_what_another_client_began(stage, company, large):
    """Its fingerprint is that of docs/how-to/upload-large-files.md, to the millisecond."""
    from media_pipeline.client import fingerprint_of

    await company.sign()
    body = {
        "fileName": large.name, "size": LARGE_BYTES, "type": "video/mp4",
        "fingerprint": fingerprint_of(large),
    }  # fmt: skip
    begun = (await company.post("/uploads", json=body)).json()
    told = await stage.browser.use_page("kill", [large], token=token(company), kills=[])
    assert told["assetId"] == begun["assetId"]


@pytest.mark.alone
async def test_a_line_is_used_as_curl_uses_it(stage, company, large):
    await company.sign()
    for bytes_per_second in (LINE_BYTES_PER_SECOND, 0):
        told = await stage.browser.use_page(
            "speed", [large], token=token(company), rounds=3, bytesPerSecond=bytes_per_second
        )
        page, curl = median(told["page"]), median(told["curl"])
        line = f"{bytes_per_second / 1e6:g} MB/s" if bytes_per_second else "loopback"
        print(f"\n{line}: page {page / 1e6:.1f}, curl {curl / 1e6:.1f}, ratio {page / curl:.2f}")  # noqa: T201
        if bytes_per_second:
            assert told["passed"] > 5 * LARGE_BYTES
            assert page / curl >= 0.90
