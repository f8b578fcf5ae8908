"""What may be published as a profile, and what of it lasts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_contracts import Crop, Fit, Gamut, MediaKind, PictureOutput, Profile, VideoOutput
from media_contracts.profiles import (
    DEFAULT,
    MAX_PICTURE_PIXELS,
    MAX_PICTURE_SIDE,
    MAX_PROFILE_BYTES,
    ProfileError,
    read_profile,
    stored_profile,
)

VIDEO = {"type": "video", "name": "video"}
AUDIO = {
    "type": "audio", "name": "audio", "sources": ["video", "audio"], "kbitsPerSecond": 96,
    "loudness": None,
}  # fmt: skip
SIZES = {"type": "responsive", "name": "sizes"}
CARD = {"type": "picture", "name": "card", "width": 640, "height": 640}


def written(*outputs: object, **changed: object) -> bytes:
    return json.dumps({"name": "web", "outputs": outputs, **changed}).encode()


def test_a_profile_is_what_its_json_says():
    assert read_profile(written(VIDEO, CARD | {"fit": "cover", "sources": ["video"]})) == Profile(
        name="web",
        version=1,
        outputs=(
            VideoOutput(name="video"),
            PictureOutput(
                name="card", width=640, height=640, fit=Fit.COVER,
                sources=frozenset({MediaKind.VIDEO}),
            ),
        ),
    )  # fmt: skip


def test_a_profile_stored_before_there_were_choices_is_as_it_was():
    body = json.loads(read_profile(written(CARD, SIZES)).body())
    for output in body["outputs"]:
        del output["crop"]
    del body["outputs"][1]["gamut"]
    found = stored_profile("web", 1, json.dumps(body))
    assert {one.crop for one in found.pictures} == {Crop.MIDDLE}
    assert found.pictures[1].gamut is Gamut.SRGB


def test_what_is_shown_can_be_set_again_and_gets_a_version_of_its_own():
    shown = DEFAULT.model_copy(update={"version": 7}).model_dump_json(by_alias=True)
    assert read_profile(shown.encode()) == DEFAULT


def test_what_is_stored_says_all_that_a_later_default_could_change():
    profile = read_profile(written(VIDEO, CARD))
    assert json.loads(read_profile(written(AUDIO)).body())["outputs"] == [
        {"name": "audio", "required": True, "priority": 0, "type": "audio", "codec": "aac",
         "sources": ["audio", "video"], "kbitsPerSecond": 96, "loudness": None}
    ]  # fmt: skip
    (video, card) = json.loads(profile.body())["outputs"]
    assert set(video) == {
        "name", "required", "priority", "type", "codecs", "maxLongSide", "maxShortSide", "crf",
        "preset", "shortSides", "loudness", "maxFrameRate", "text", "watermark",
        "ssim", "vmaf",
    }  # fmt: skip
    assert (card["kind"], card["fit"], card["crop"], card["sources"]) == (
        "picture", "inside", "middle", ["audio", "image", "video"],
    )  # fmt: skip
    assert stored_profile("web", 3, profile.body()) == profile.model_copy(update={"version": 3})


REFUSED = {
    "nothing": (b"", "Invalid JSON"),
    "no text": (b"\xff\xfe", "Invalid JSON"),
    "a list": (b"[]", "should be an object"),
    "nested without end": (b"[" * 60_000, "recursion limit"),
    "a number without end": (b'{"name":' + b"9" * 60_000 + b"}", "Invalid JSON"),
    "too long": (written(VIDEO) + b" " * MAX_PROFILE_BYTES, "more than 65536 bytes"),
    "without outputs": (written(), "A profile has one output at least"),
    "with too many": (written(*({**CARD, "name": f"p{n}"} for n in range(33))), "at most 32"),
    "of an unknown kind": (written({"type": "hologram", "name": "h"}), "'hologram'"),
    "with an unknown field": (written(VIDEO, colour="red"), "colour: Extra inputs"),
    "without a name": (json.dumps({"outputs": [VIDEO]}).encode(), "name: Field required"),
    "with a name of two words": (written(VIDEO, name="my web"), "name: String should match"),
    "with a name of two lines": (written(VIDEO, name="web\n"), "name: String should match"),
    "with a long name": (written(VIDEO, name="w" * 65), "name: String should match"),
    "with a path as a name": (
        written({**CARD, "name": "../card"}), "outputs.0.picture.name: String should match",
    ),
    "with words of ffmpeg's": (
        written({**VIDEO, "preset": "slow -i /etc/passwd"}), "outputs.0.video.preset",
    ),
    "with text for a number": (written({**VIDEO, "crf": "23"}), "outputs.0.video.crf"),
    "with no number": (
        written(CARD).replace(b'"width": 640', b'"width": NaN'), "outputs.0.picture.width",
    ),
    "with a number beyond all": (
        written(CARD).replace(b'"width": 640', b'"width": 1e999'), "outputs.0.picture.width",
    ),
    "with a side of nothing": (written({**CARD, "width": 0}), "outputs.0.picture.width"),
    "with a side too long": (
        written({**CARD, "width": MAX_PICTURE_SIDE + 1}), "outputs.0.picture.width",
    ),
    "with a moment before the beginning": (
        written({**CARD, "atSeconds": -1}), "outputs.0.picture.atSeconds",
    ),
    "with a moment that never comes": (
        written({**CARD, "atSeconds": 604_801}), "outputs.0.picture.atSeconds",
    ),
    "with a moment that is no number": (
        written({**CARD, "atSeconds": 1}).replace(b'"atSeconds": 1', b'"atSeconds": NaN'),
        "outputs.0.picture.atSeconds",
    ),
    "with more moments than are looked for": (
        written(*({**CARD, "name": f"p{n}", "atSeconds": n} for n in range(9))),
        "are of 8 moments at most",
    ),
    "with a preview of no video": (
        written(CARD, {"type": "preview", "name": "preview"}), "of a video that the profile has",
    ),
    "with a preview of too many moments": (
        written(VIDEO, {"type": "preview", "name": "p", "moments": 7}), "outputs.1.preview.moments",
    ),
    "with more films than are made": (
        written(*({**VIDEO, "name": f"v{n}"} for n in range(5))), "4 videos and as many",
    ),
    "with more sounds than are made": (
        written(*({**AUDIO, "name": f"a{n}"} for n in range(5))), "as many sounds at most",
    ),
    "with a sound of too few bits": (
        written({**AUDIO, "kbitsPerSecond": 8}), "outputs.0.audio.kbitsPerSecond",
    ),
    "with the name of a sound's piece": (
        written(AUDIO, {**CARD, "name": "audio-sound"}), "begin with that of a video, a sound",
    ),
    "with the name of a film's piece": (
        written(VIDEO, {**CARD, "name": "video-early"}), "begin with that of a video",
    ),
    "without the codec that all know": (
        written({**VIDEO, "codecs": ["av1", "h264"]}), "The first codec of a video is h264",
    ),
    "without any codec": (written({**VIDEO, "codecs": []}), "The first codec of a video is h264"),
    "with a codec twice": (written({**VIDEO, "codecs": ["h264", "av1", "av1"]}), "codec once"),
    "with an unknown codec": (written({**VIDEO, "codecs": ["h264", "vp9"]}), "codecs.1"),
    "with a rate of nothing": (written({**VIDEO, "maxFrameRate": 0}), "maxFrameRate"),
    "with a rate too high": (written({**VIDEO, "maxFrameRate": 120}), "maxFrameRate"),
    "with more sizes than are made": (
        written({**VIDEO, "shortSides": [*range(100, 109)]}), "shortSides",
    ),
    "with a size of nothing": (written({**VIDEO, "shortSides": [0]}), "shortSides.0"),
    "with a film too large": (written({**VIDEO, "maxLongSide": 8193}), "maxLongSide"),
    "with more pixels than are made at once": (
        written(*({**CARD, "name": f"p{n}", "width": 6000, "height": 6000} for n in range(2))),
        "The pictures of one video have 72000000 pixels together",
    ),
    "with a picture of nothing": (written({**CARD, "sources": []}), "outputs.0.picture.sources"),
    "with one name twice": (written(CARD, CARD), "Two outputs of one name"),
    "with a name that is taken": (
        written({**CARD, "name": "pictures"}), "No output may be named pictures",
    ),
    "with a thumbnail of another name": (
        written({**CARD, "kind": "thumbnail"}), "The output of kind thumbnail",
    ),
    "with a film named thumbnail": (
        written({**VIDEO, "name": "thumbnail"}), "The output of kind thumbnail",
    ),
    "with more animations than are made": (
        written(*({"type": "animation", "name": f"a{n}"} for n in range(5))), "4 animations at",
    ),
    "with an animation too large": (
        written({"type": "animation", "name": "a", "maxLongSide": 1921}), "maxLongSide",
    ),
    "with the name of a picture's size": (
        written(SIZES, {**CARD, "name": "sizes-320"}), "begin with that of a video, a sound or a",
    ),
    "with sizes in no format that all know": (
        written({**SIZES, "formats": ["jpeg", "avif"]}), "The last format is jpeg",
    ),
    "with sizes without a format": (written({**SIZES, "formats": []}), "The last format is jpeg"),
    "with sizes in one format twice": (
        written({**SIZES, "formats": ["avif", "avif", "jpeg"]}), "has each format once",
    ),
    "with sizes in no order": (written({**SIZES, "longSides": [640, 320]}), "and in order"),
    "with one size twice": (written({**SIZES, "longSides": [320, 320]}), "and in order"),
    "with sizes of nothing": (written({**SIZES, "longSides": []}), "longSides"),
    "with sizes too large": (written({**SIZES, "longSides": [4000]}), "longSides"),
    "with sizes of an unknown shape": (written({**SIZES, "shape": "0:1"}), "shape"),
    "with a focus beside the picture": (
        written({**SIZES, "shape": "1:1", "focus": {"x": 1.1, "y": 0}}), "focus.x",
    ),
    "with a gamut that nobody knows": (
        written({**SIZES, "gamut": "rec2020"}), "outputs.0.responsive.gamut",
    ),
    "with a gamut that none of its formats has": (
        written({**SIZES, "formats": ["webp", "jpeg"], "gamut": "display-p3"}),
        "Only an avif can have the gamut display-p3",
    ),
    "with a crop that nobody knows": (
        written({**SIZES, "shape": "1:1", "crop": "faces"}), "outputs.0.responsive.crop",
    ),
    "with more pixels in sizes than are made at once": (
        written(
            *({**SIZES, "name": f"s{n}", "longSides": [3800], "sources": ["video"]} for n in (1, 2))
        ),
        "The pictures of one video have 57760000 pixels together",
    ),
    "with an image of films": (written({**CARD, "kind": "image"}), "of images alone"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_profile_is_refused_in_a_sentence(text, why):
    with pytest.raises(ProfileError) as refused:
        read_profile(text)
    sentence = str(refused.value)
    assert why in sentence
    assert sentence.endswith(".")
    assert len(sentence) < 1000


def test_as_many_pixels_as_are_made_at_once_are_made():
    width, height = 4500, 4000
    cards = [{**CARD, "name": f"p{n}", "width": width, "height": height} for n in range(3)]
    assert width * height * len(cards) == MAX_PICTURE_PIXELS
    assert len(read_profile(written(*cards)).outputs) == 3
    of_films = {**CARD, "name": "more", "sources": ["video"]}
    with pytest.raises(ProfileError, match="of one video have"):
        read_profile(written(*cards, of_films))


def test_of_an_image_what_has_one_priority_is_made_at_once():
    sizes = [
        {**SIZES, "name": f"s{n}", "longSides": [3800], "sources": ["image"], "priority": n}
        for n in (1, 2)
    ]
    profile = read_profile(written(*sizes, CARD, {**CARD, "name": "other", "priority": 1}))
    names = [[one.name for one in group] for group in profile.made_at_once(MediaKind.IMAGE)]
    assert names == [["card"], ["s1", "other"], ["s2"]]
    assert [len(group) for group in profile.made_at_once(MediaKind.VIDEO)] == [2]


@pytest.mark.parametrize(
    "body", ["", "[]", '{"outputs":[]}', '{"outputs":[{"type":"laser","name":"l"}]}']
)
def test_what_was_stored_and_makes_no_sense_any_more_is_a_profile_error(body):
    with pytest.raises(ProfileError):
        stored_profile("web", 1, body)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["name", "outputs", "type", "kind", "width", "version"]) | st.text(), inner
    ),
))  # fmt: skip
def test_no_json_is_anything_but_a_profile_or_refused(found):
    try:
        profile = read_profile(json.dumps(found).encode())
    except ProfileError:
        return
    assert stored_profile(profile.name, 1, profile.body()) == profile
