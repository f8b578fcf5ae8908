"""What a source gets of a profile."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Literal

import pytest
from ingest import plan as planning
from ingest.film.grid import Grid
from ingest.film.sound import Sound
from ingest.outputs.source import Source
from ingest.plan import plan
from ingest.settings import IngestSettings
from media_contracts import (
    About,
    AudioOutput,
    Crop,
    Fit,
    Focus,
    Gamut,
    MediaKind,
    PictureFormat,
    PictureOutput,
    PreviewOutput,
    Profile,
    ResponsiveOutput,
    VideoOutput,
)
from media_contracts.profiles import DEFAULT, Output
from media_records.editions import cropped
from media_records.tasks import NewTask, Pool
from media_runtime.errors import PermanentError
from media_runtime.media.info import TextStream, VideoStream
from pydantic import ValidationError

VIDEO = VideoStream("h264", 3840, 2160, 0, 30.0, "yuv420p", 1.0)
FILM = Source(
    MediaKind.VIDEO, 3840, 2160, duration_seconds=60.0, frame_rate=30.0, video=VIDEO,
    has_sound=True, sound=Sound((1,), "aresample=async=1"),
    grid=Grid(Fraction(30), 1800, Fraction(0), 0, keys=tuple(map(Fraction, range(60)))),
)  # fmt: skip
SIZES = [
    f"responsive-{side}{ending}" for side in (320, 640, 1280, 1920) for ending in (".avif", "")
]
PHOTO = Source(MediaKind.IMAGE, 4000, 3000)
SONG = Source(
    MediaKind.AUDIO, 0, 0, duration_seconds=200.0, has_sound=True,
    sound=Sound((0,), "aresample=async=1"), content_type="audio/mpeg",
)  # fmt: skip


def by_name(tasks):
    return {task.name: task for task in tasks}


def test_a_film_gets_a_video_and_a_thumbnail():
    tasks = by_name(plan(DEFAULT, FILM))
    chunks = [f"video-{number:04}" for number in range(8)]
    assert set(tasks) == {"video-early", *chunks, "video-sound", "video", "pictures"}
    video, pictures = tasks["video"], tasks["pictures"]
    assert (video.pool, video.params["film"]["ladder"][-1][1:3]) == (Pool.ENCODE, [1920, 1080])
    assert video.needs == ("video-early", *chunks, "video-sound")
    assert pictures.pool == Pool.PICTURES
    assert [one["name"] for one in pictures.params["pictures"]] == ["thumbnail", *SIZES]
    assert all(task.required for task in tasks.values())
    assert all(not task.needs for task in tasks.values() if task is not video)


def test_pictures_of_a_large_film_leave_the_machine_to_its_beginning():
    large = replace(FILM, size=400_000_000)
    tasks = by_name(plan(DEFAULT, large))
    assert tasks["pictures"].needs == ("video-early",)
    assert tasks["video-early"].needs == ()
    assert by_name(plan(DEFAULT, replace(large, grid=None)))["pictures"].needs == ()
    assert all(not one.needs for one in plan(DEFAULT, replace(PHOTO, size=400_000_000)))


def test_pictures_never_wait_for_a_video_that_may_fail_alone():
    outputs = [
        one.model_copy(update={"required": False}) if isinstance(one, VideoOutput) else one
        for one in DEFAULT.outputs
    ]
    profile = DEFAULT.model_copy(update={"outputs": tuple(outputs)})
    tasks = by_name(plan(profile, replace(FILM, size=400_000_000)))
    assert tasks["pictures"].needs == ()


@pytest.mark.parametrize(
    ("size", "sides"),
    [((4000, 3000), [320, 640, 1280, 1920]), ((1000, 700), [320, 640, 1000]),
     ((700, 1000), [320, 640, 1000]),
     ((320, 100), [320]), ((12, 9), [12])],
)  # fmt: skip
def test_no_size_is_larger_than_its_source_and_none_is_there_twice(size, sides):
    tasks = by_name(plan(DEFAULT, Source(MediaKind.IMAGE, *size)))
    wanted = tasks["image"].params["pictures"][1:]
    assert [(one["name"], one["format"]) for one in wanted] == [
        (f"responsive-{side}{ending}", name)
        for side in sides for ending, name in ((".avif", "avif"), ("", "jpeg"))
    ]  # fmt: skip
    assert {(one["width"], one["height"], one["fit"]) for one in wanted} == {
        (side, side, "inside") for side in sides
    }


def test_sizes_of_a_shape_are_crops_of_the_largest_that_there_is():
    wide = ResponsiveOutput(name="wide", shape="16:9", focus=Focus(x=0.2, y=0.8))
    profile = Profile(name="p", version=1, outputs=(wide,))
    (task,) = plan(profile, Source(MediaKind.IMAGE, 1000, 3000))
    boxes = [(one["width"], one["height"]) for one in task.params["pictures"][::2]]
    assert boxes == [(320, 180), (640, 360), (1000, 562)]
    assert {one["fit"] for one in task.params["pictures"]} == {"cover"}
    assert task.params["pictures"][0]["focus"] == {"x": 0.2, "y": 0.8}


def test_what_a_client_says_of_its_file_wins_over_the_profile():
    source = replace(PHOTO, focus=Focus(x=0.9, y=0.1))
    tasks = plan(DEFAULT, source)
    focuses = [one["focus"] for task in tasks for one in task.params["pictures"]]
    assert focuses == [{"x": 0.9, "y": 0.1}] * len(focuses)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({}, ({"x": 0.2, "y": 0.8}, "middle")),
        ({"crop": Crop.ATTENTION}, (None, "attention")),
        ({"crop": Crop.MIDDLE}, (None, "middle")),
        ({"focus": Focus(x=0.9, y=0.1), "crop": Crop.ATTENTION}, ({"x": 0.9, "y": 0.1}, "middle")),
    ],
)
def test_what_a_client_says_of_its_crops_wins_over_the_profile_and_a_point_over_a_word(said, kept):
    wide = ResponsiveOutput(name="wide", shape="16:9", focus=Focus(x=0.2, y=0.8))
    card = PictureOutput(name="card", width=64, height=64, fit=Fit.COVER, focus=Focus(x=0.2, y=0.8))
    profile = Profile(name="p", version=1, outputs=(wide, card))
    (task,) = plan(profile, replace(PHOTO, **said))
    found = [(one["focus"], one["crop"]) for one in task.params["pictures"]]
    assert found == [kept] * 9


def test_a_profile_may_leave_it_to_what_people_look_at_first():
    output = ResponsiveOutput(name="wide", shape="16:9", crop=Crop.ATTENTION)
    for source in (PHOTO, FILM):
        (task,) = plan(Profile(name="p", version=1, outputs=(output,)), source)
        assert {one["crop"] for one in task.params["pictures"]} == {"attention"}


def test_only_avif_files_keep_a_wider_gamut():
    formats = (PictureFormat.AVIF, PictureFormat.WEBP, PictureFormat.JPEG)
    output = ResponsiveOutput(name="wide", formats=formats, gamut=Gamut.DISPLAY_P3)
    for outputs, wanted in (((output,), "display-p3"), (DEFAULT.outputs, "srgb")):
        tasks = plan(Profile(name="p", version=1, outputs=outputs), PHOTO)
        pictures = [one for task in tasks for one in task.params["pictures"] if "format" in one]
        assert {one["gamut"] for one in pictures if one["format"] == "avif"} == {wanted}
        assert {one["gamut"] for one in pictures if one["format"] != "avif"} == {"srgb"}


def test_sizes_are_those_of_the_film_as_people_see_it():
    turned = replace(FILM, width=1080, height=1920, video=replace(VIDEO, rotation=90))
    stretched = replace(FILM, width=720, height=576, pixel_aspect=16 / 15)
    square = ResponsiveOutput(name="square", shape="3:1", long_sides=(3840,))
    profile = Profile(name="p", version=1, outputs=(square,))

    def box(source):
        one = by_name(plan(profile, source))["pictures"].params["pictures"][0]
        return one["width"], one["height"]

    assert box(turned) == (1080, 360)
    assert box(stretched) == (768, 256)


def test_each_distinct_moment_of_a_film_costs_a_look():
    def cost(*moments):
        outputs = (
            PictureOutput(name=f"p{number}", width=9, height=9, at_seconds=at)
            for number, at in enumerate(moments)
        )
        (pictures,) = plan(Profile(name="p", version=1, outputs=tuple(outputs)), FILM)
        assert [one["at_seconds"] for one in pictures.params["pictures"]] == list(moments)
        return pictures.cost_seconds

    assert cost(1, 1, 1) == cost(None) < cost(1, 2)


def test_a_preview_follows_its_video():
    preview = PreviewOutput(name="moving", moments=3)
    profile = Profile(name="p", version=1, outputs=(preview, VideoOutput(name="video")))
    tasks = by_name(plan(profile, FILM))
    assert "moving" not in tasks
    assert [one["name"] for one in tasks["video"].params["previews"]] == ["moving"]
    other = (VideoOutput(name="other"), VideoOutput(name="video"), preview)
    tasks = by_name(plan(Profile(name="p", version=1, outputs=other), FILM))
    assert "previews" not in tasks["other"].params


def with_video(**wanted):
    return Profile(name="p", version=1, outputs=(VideoOutput(name="video", **wanted),))


def test_other_codecs_are_made_after_h264_by_tasks_of_their_own():
    tasks = plan(with_video(codecs=("h264", "hevc", "av1")), FILM)
    usual = plan(with_video(), FILM)
    names = [task.name for task in tasks]
    further = [
        f"video-{track}-{number:04}"
        for track in ("720-hevc", "1080-hevc", "720-av1", "1080-av1")
        for number in range(len(usual) - 3)
    ]
    assert names == [*(task.name for task in usual[:-1]), *further, "video"]
    assert tasks[-1].needs == tuple(names[:-1])
    by = by_name(tasks)
    costs = [by[f"video-{track}0003"].cost_seconds for track in ("", "1080-hevc-", "1080-av1-")]
    assert costs == sorted(costs)
    assert max(task.priority for task in tasks) == by["video-0003"].priority
    film = tasks[0].params["film"]
    assert [track[4] for track in film["further"]] == ["hevc"] * 5 + ["av1"] * 5
    assert by["video-1080-av1-0002"].params["rungs"] == [14, 15]
    assert all(task.params["warnings"] == [] for task in tasks)


def test_what_is_made_in_one_piece_is_h264_alone_and_says_so():
    (task,) = plan(with_video(codecs=("h264", "hevc")), replace(FILM, grid=None))
    assert task.params["film"]["further"] == []
    assert task.params["warnings"] == ["codecs_left_out"]
    (usual,) = plan(with_video(), replace(FILM, grid=None))
    assert (usual.params["warnings"], usual.cost_seconds) == ([], task.cost_seconds)


def test_a_film_too_small_for_a_codec_says_so():
    tiny = replace(FILM, width=48, height=48)
    tasks = plan(with_video(codecs=("h264", "av1")), tiny)
    assert not any("av1" in task.name for task in tasks)
    assert all(task.params["warnings"] == ["codecs_left_out"] for task in tasks)


def test_a_lower_frame_rate_is_that_of_the_whole_plan():
    (usual, slow) = (plan(with_video(**more), FILM) for more in ({}, {"max_frame_rate": 25}))
    assert (usual[0].params["film"]["rate"], slow[0].params["film"]["rate"]) == ("30", "15")
    frames = [sum(task.params["chunk"][2] for task in tasks
                  if task.kind == "chunk" and task.params["rungs"][1] == 5)
              for tasks in (usual, slow)]  # fmt: skip
    assert frames == [1800, 900]
    assert slow[0].params["warnings"] == [], "it is what was asked for"
    (whole,) = plan(with_video(max_frame_rate=25), replace(FILM, grid=None))
    assert whole.params["film"]["rate"] == "15"
    (fast,) = plan(with_video(), replace(FILM, grid=None, frame_rate=120.0))
    assert fast.params["film"]["rate"] == "60"
    assert fast.params["warnings"] == ["frame_rate_reduced"]


def test_a_film_waits_for_its_texts_which_are_made_by_a_task_of_their_own():
    found = (
        TextStream("subrip", 2, "en", 'A\n"title"\0', is_default=True),
        TextStream("hdmv_pgs_subtitle", 3, "en"),
        *(TextStream("ass", number, "fr") for number in range(4, 30)),
    )
    tasks = by_name(plan(with_video(), replace(FILM, texts=found)))
    text = tasks["video-text"]
    assert (text.kind, text.pool, text.required, text.needs) == ("text", Pool.ENCODE, True, ())
    assert "video-text" in tasks["video"].needs
    assert len(text.params["texts"]) == 16
    assert text.params["texts"][:2] == [
        [2, "subrip", {"language": "en", "title": 'A "title"', "default": True}],
        [4, "ass", {"language": "fr"}],
    ]
    assert text.params["warnings"] == ["text_left_out"]
    without = plan(with_video(text=False), replace(FILM, texts=found))
    assert "video-text" not in by_name(without)
    assert without[0].params["warnings"] == []
    whole = by_name(plan(with_video(), replace(FILM, texts=found[:1], grid=None)))
    assert set(whole) == {"video-whole", "video-whole-text"}
    assert whole["video-whole-text"].params["is_whole"]


def test_an_image_gets_a_thumbnail_first():
    task, sizes = plan(DEFAULT, PHOTO)
    assert (task.name, sizes.name) == ("pictures", "image")
    assert task.priority < sizes.priority
    assert task.cost_seconds < sizes.cost_seconds
    wanted = [
        {one["name"]: (one["width"], one["height"], one["fit"]) for one in made.params["pictures"]}
        for made in (task, sizes)
    ]
    assert wanted[0] == {"thumbnail": (320, 240, "cover")}
    assert list(wanted[1]) == ["image", *SIZES]
    assert wanted[1]["image"] == (4096, 4096, "inside")


def test_an_image_that_moves_gets_a_film_as_well():
    gif = Source(MediaKind.IMAGE, 400, 300, frames=50, content_type="image/gif")
    tasks = by_name(plan(DEFAULT, gif))
    assert set(tasks) == {"pictures", "image", "animation"}
    film = tasks["animation"]
    assert (film.pool, film.kind, film.params["max_long_side"]) == (Pool.ENCODE, "animation", 1280)
    assert (
        film.cost_seconds > by_name(plan(DEFAULT, replace(gif, frames=2)))["animation"].cost_seconds
    )
    assert "animation" not in by_name(plan(DEFAULT, replace(gif, frames=1)))
    assert "animation" not in by_name(plan(DEFAULT, FILM))
    for pages in ("image/tiff", "image/heic"):
        assert "animation" not in by_name(plan(DEFAULT, replace(gif, content_type=pages)))


def test_a_sound_gets_a_sound_and_a_picture_if_one_goes_with_it():
    (task,) = plan(DEFAULT, SONG)
    assert (task.name, task.pool, task.required) == ("audio", Pool.ENCODE, True)
    assert (task.params["stream"], task.params["kbits_per_second"]) == ("audio", 128)
    tasks = by_name(plan(DEFAULT, replace(SONG, width=600, height=600)))
    assert set(tasks) == {"audio", "pictures"}
    pictures = tasks["pictures"]
    assert [one["name"] for one in pictures.params["pictures"]] == ["thumbnail"]
    assert pictures.params["kind"] == "video", "events know no third kind"
    assert not pictures.required, "a picture that cannot be made silences no sound"


def test_the_sound_of_a_film_is_made_alone_where_it_is_wanted():
    both = frozenset({MediaKind.AUDIO, MediaKind.VIDEO})
    outputs = (*DEFAULT.outputs, AudioOutput(name="sound", sources=both, kbits_per_second=96))
    profile = Profile(name="p", version=1, outputs=outputs)
    assert by_name(plan(profile, FILM))["sound"].params["kbits_per_second"] == 96
    assert set(by_name(plan(profile, SONG))) == {"audio", "sound"}
    silent = replace(FILM, sound=None, has_sound=False)
    assert "sound" not in by_name(plan(profile, silent))
    assert "sound" not in by_name(plan(profile, PHOTO))


def test_a_longer_sound_costs_more():
    costs = [plan(DEFAULT, replace(SONG, duration_seconds=s))[0].cost_seconds for s in (60, 3600)]
    assert 0 < costs[0] < costs[1] / 10


def test_the_settings_profile_is_the_built_in_one(tmp_path):
    settings = IngestSettings(
        kafka_bootstrap_servers="k", database_url="postgresql://d", s3_endpoint_url="http://s",
        s3_access_key="k", s3_secret_key="s", scratch_dir=tmp_path,
    )  # fmt: skip
    assert settings.profile == DEFAULT


def test_a_longer_or_larger_film_costs_more():
    def cost(**changes):
        source = Source(**{**FILM.__dict__, **changes})
        return sum(task.cost_seconds for task in plan(DEFAULT, source))

    usual = cost()
    assert FILM.grid is not None
    assert cost(grid=replace(FILM.grid, frames=18_000)) > 9 * usual
    assert cost(width=640, height=360) < usual / 4
    assert cost(grid=None) == pytest.approx(usual, rel=0.2), "in one piece it costs the same"


def test_a_photo_in_many_scans_costs_more():
    usual, _ = plan(DEFAULT, PHOTO)
    many, _ = plan(DEFAULT, Source(MediaKind.IMAGE, 4000, 3000, scans=100))
    assert usual.cost_seconds < 1
    assert many.cost_seconds > 10


def test_a_plan_is_the_same_each_time_and_any_profile_of_outputs_that_fit_is_empty():
    assert plan(DEFAULT, FILM) == plan(DEFAULT, FILM)
    films = Profile(name="films", version=1, outputs=(VideoOutput(name="video"),))
    assert plan(films, PHOTO) == ()


def test_optional_outputs_make_optional_tasks():
    profile = Profile(
        name="p", version=1,
        outputs=(
            VideoOutput(name="video", required=False, priority=3),
            PictureOutput(name="a", width=1, height=1, required=False),
        ),
    )  # fmt: skip
    tasks = by_name(plan(profile, FILM))
    assert not any(task.required for task in tasks.values())
    usual = by_name(plan(DEFAULT, FILM))
    assert all(
        tasks[name].priority > task.priority for name, task in usual.items() if name != "pictures"
    )


def test_another_picture_is_one_line():
    banner = PictureOutput(name="banner", width=1200, height=300, fit=Fit.COVER)
    profile = Profile(name="p", version=1, outputs=(*DEFAULT.outputs, banner))
    task = by_name(plan(profile, FILM))["pictures"]
    assert [one["name"] for one in task.params["pictures"]] == [
        "thumbnail", "banner", *SIZES
    ]  # fmt: skip
    assert task.params["pictures"][1]["kind"] == "picture"


class Waveform(Output):
    """A kind of output that nobody has made yet, as a module of its own would declare it."""

    type: Literal["waveform"] = "waveform"


def waveforms(outputs, source):
    if not source.has_sound:
        return ()
    return [NewTask(one.name, "waveform", Pool.ENCODE, required=False) for one in outputs]


def test_another_kind_of_output_is_a_planner_and_a_line(monkeypatch):
    monkeypatch.setattr(planning, "PLANNERS", {**planning.PLANNERS, Waveform: waveforms})
    profile = DEFAULT.model_copy(update={"outputs": (*DEFAULT.outputs, Waveform(name="sound"))})
    assert "sound" in by_name(plan(profile, FILM))
    silent = Source(**{**FILM.__dict__, "has_sound": False})
    assert "sound" not in by_name(plan(profile, silent))


def test_two_outputs_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="Two outputs of one name"):
        Profile(name="p", version=1, outputs=(VideoOutput(name="a"), VideoOutput(name="a")))


def test_tasks_of_one_name_are_refused_as_the_second_would_never_be_made(monkeypatch):
    def twice(outputs, source):
        return [NewTask("video", "waveform", Pool.ENCODE) for _ in outputs]

    monkeypatch.setattr(planning, "PLANNERS", {**planning.PLANNERS, Waveform: twice})
    profile = DEFAULT.model_copy(update={"outputs": (*DEFAULT.outputs, Waveform(name="sound"))})
    with pytest.raises(PermanentError) as error:
        plan(profile, FILM)
    assert error.value.code == "invalid_profile"


def test_the_largest_settings_make_a_profile(tmp_path):
    settings = IngestSettings(
        kafka_bootstrap_servers="k", database_url="postgresql://d", s3_endpoint_url="http://s",
        s3_access_key="k", s3_secret_key="s", scratch_dir=tmp_path, image_max_side=6144,
        thumbnail_width=2048, thumbnail_height=2048, video_max_long_side=8192,
        video_max_short_side=8192,
    )  # fmt: skip
    assert settings.profile.name == "default"


@pytest.mark.parametrize("source", [FILM, PHOTO], ids=["film", "photo"])
@pytest.mark.parametrize("said", [About(focus=Focus(x=0.2, y=0.7)), About(crop=Crop.ATTENTION)])
def test_what_was_said_of_crops_before_needs_no_edition_after(source, said):
    """An attempt that was planned by it is taken for one that heeds it."""
    planned = plan(DEFAULT, replace(source, focus=said.focus, crop=said.crop))
    pictures = [task.params for task in planned if task.pool == Pool.PICTURES]
    assert pictures
    for params in pictures:
        stored = json.loads(json.dumps(params))
        assert cropped(stored, said) == stored
