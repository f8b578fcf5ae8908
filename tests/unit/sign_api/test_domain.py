"""What may be uploaded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_contracts.formats import ACCEPTED_TYPES, ALIASES, plain_type
from sign_api.domain import RefusedUploadError, check_profile, check_upload

MAX = 500_000_000


def refusal(name: str = "a.mp4", size: int = 1, content_type: str = "video/mp4") -> str | None:
    try:
        check_upload(name, size, content_type, max_bytes=MAX)
    except RefusedUploadError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "holiday.mp4",
        "x" * 255,
        "🎬" * 255,
        "👩‍👩‍👧‍👦 family.png",
        "ünï cödé.jpg",
        "写真.heic",
        "صورة.jpg",
        "\u202egpj.exe",
        "quo\"te's & <b>.gif",
        "a;b|c$(d)`e`.png",
        "%2e%2e%2f.png",
        "...",
        ".hidden",
        " spaces ",
        "no\u00a0break.jpg",
    ],
)
def test_a_name_may_be_anything_that_people_write(name):
    assert refusal(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 256,
        "🎬" * 256,
        ".",
        "..",
        "/etc/passwd",
        "../up.mp4",
        "a/b",
        "a\\b",
        "..\\up",
        "nul\0",
        "line\nbreak",
        "carriage\rreturn",
        "tab\t",
        "bell\x07",
        "delete\x7f",
        "c1\x85",
        "line\u2028separator",
        "paragraph\u2029separator",
        "lone\ud800surrogate",
        "lone\udfff",
    ],
)
def test_a_name_holds_no_path_and_no_control_character(name):
    assert refusal(name) == "invalid_file_name"


@given(st.text(st.characters(codec=None), max_size=260))
def test_a_name_that_is_accepted_can_be_stored_and_logged(name):
    if refusal(name) is None:
        name.encode()  # no lone surrogate
        assert 1 <= len(name) <= 255
        assert not {"/", "\\", "\0", "\n", "\r"} & set(name)


@pytest.mark.parametrize(
    ("size", "code"),
    [
        (1, None),
        (MAX, None),
        (MAX + 1, "file_too_large"),
        (2**63, "file_too_large"),
        (0, "invalid_size"),
        (-1, "invalid_size"),
    ],
)
def test_a_size_is_from_one_byte_to_the_limit(size, code):
    assert refusal(size=size) == code


@pytest.mark.parametrize("content_type", sorted(ACCEPTED_TYPES))
def test_these_types_are_accepted(content_type):
    assert refusal(content_type=content_type) is None


def test_there_are_twenty_three_types():
    assert len(ACCEPTED_TYPES) == 23


@pytest.mark.parametrize(
    ("content_type", "plain"),
    [
        ("IMAGE/JPEG", "image/jpeg"),
        ("image/jpg", "image/jpeg"),
        ("image/pjpeg", "image/jpeg"),
        ("image/x-png", "image/png"),
        ("image/apng", "image/png"),
        ("image/heic-sequence", "image/heic"),
        ("video/mp4 ", "video/mp4"),
        ('video/webm; codecs="vp8, opus"', "video/webm"),
        ("video/x-matroska;codecs=avc1", "video/x-matroska"),
        ("Video/X-M4V", "video/mp4"),
        ("video/mp2t", "video/mpeg"),
        ("video/avi", "video/x-msvideo"),
        ("video/msvideo;", "video/x-msvideo"),
        ("video/mp4;\r\nX: y", "video/mp4"),
    ],
)
def test_a_type_as_clients_say_it_is_taken_as_the_plain_one(content_type, plain):
    assert check_upload("a", 1, content_type, max_bytes=MAX) == plain


def test_every_alias_leads_to_an_accepted_type_of_another_name():
    assert not ALIASES.keys() & ACCEPTED_TYPES
    assert set(ALIASES.values()) <= ACCEPTED_TYPES
    for alias, plain in ALIASES.items():
        assert plain_type(f" {alias.upper()} ; a=b") == plain


@given(st.text())
def test_no_text_gives_a_type_that_is_not_accepted(text):
    assert plain_type(text) in {None, *ACCEPTED_TYPES}


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "video",
        "video/",
        "video/*",
        "*/*",
        "; video/mp4",
        "video/mp4, image/png",
        "audio/midi",
        "audio/*",
        "image/svg+xml",
        "text/html",
        "application/octet-stream",
        "application/vnd.apple.mpegurl",
        "video/mp4\r\nX: y",
    ],
)
def test_other_types_are_refused(content_type):
    assert refusal(content_type=content_type) == "invalid_type"


@pytest.mark.parametrize("name", [None, "default", "web", "4k", "a-b_c", "w" * 64])
def test_a_profile_may_be_asked_for_by_any_name_that_one_can_have(name):
    check_profile(name)


@pytest.mark.parametrize("name", ["", "Web", "a b", "web\n", "\0", "../web", "-a", "w" * 65, "é"])
def test_a_name_that_no_profile_can_have_never_reaches_the_database(name):
    with pytest.raises(RefusedUploadError) as refused:
        check_profile(name)
    assert refused.value.code == "unknown_profile"
