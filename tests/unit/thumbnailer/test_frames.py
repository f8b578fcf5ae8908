"""The frame that stands for a video."""

import subprocess
from pathlib import Path
from typing import ClassVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_runtime.media.ffmpeg import Ffmpeg, FfmpegError
from media_runtime.media.image_colours import of_png
from media_runtime.media.info import MediaInfo, VideoStream
from media_runtime.media.looks import look
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.pictures import WantedPicture, probe_image
from media_runtime.media.sandbox import Sandbox
from PIL import Image
from thumbnailer.frames import FindFrame, NoFrameError, places

THUMBNAIL = [WantedPicture("thumbnail", 320, 240, "cover")]
COLOURS = "testsrc2=s=320x180:d=4"
BLURRED = "testsrc2=s=320x180"


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def make_video(path: Path, *sources: str, options: tuple[str, ...] = ()) -> Path:
    inputs = [part for source in sources for part in ("-f", "lavfi", "-i", source)]
    pads = "".join(f"[{number}]" for number in range(len(sources)))
    joined = "-filter_complex", f"{pads}concat=n={len(sources)}", "-pix_fmt", "yuv420p"
    ffmpeg(*inputs, *joined, *options, path)
    return path


@pytest.fixture(scope="module")
async def find_frame():
    sandbox = Sandbox("bubblewrap")
    async with PicturePool(sandbox, workers=1) as pool:
        yield FindFrame(pool, Ffmpeg(sandbox), timeout_seconds=20)


@given(st.one_of(st.none(), st.floats(min_value=0, max_value=1e6)))
def test_places_lie_within_the_video(duration):
    found = places(duration)
    assert found
    assert all(0 <= place.seconds <= (duration or 15) for place in found)
    assert found[-1].exact


async def test_bright_video_needs_one_look(find_frame, tmp_path):
    source = make_video(tmp_path / "source.mp4", COLOURS)
    frame = await find_frame(source, 4.0, THUMBNAIL)
    assert frame.name == "frame-0.png"


@pytest.mark.parametrize("name", ["song.mp3", "song.m4a", "song.flac"])
async def test_the_picture_that_goes_with_a_sound_stands_for_it(find_frame, tmp_path, name):
    cover, plain = tmp_path / "cover.png", tmp_path / f"plain-{name}"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:d=0.04", "-frames:v", "1", cover)
    ffmpeg("-f", "lavfi", "-i", "sine=d=2", plain)
    ffmpeg("-i", plain, "-i", cover, "-map", "0", "-map", "1", "-c", "copy",
           "-disposition:v", "attached_pic", tmp_path / name)  # fmt: skip
    assert (await find_frame(tmp_path / name, 2.0, THUMBNAIL)).exists()
    with pytest.raises(NoFrameError):
        await find_frame(plain, 2.0, THUMBNAIL)


async def test_black_start_is_passed_over(find_frame, tmp_path):
    source = make_video(tmp_path / "source.mp4", "color=black:s=320x180:d=2", COLOURS)
    assert look(await find_frame(source, 6.0, THUMBNAIL)).shows_something


async def test_only_keyframe_black_is_passed_over(find_frame, tmp_path):
    one_keyframe = ("-x264-params", "keyint=1000:scenecut=0")
    black = "color=black:s=320x180:d=0.2"
    source = make_video(tmp_path / "source.mp4", black, COLOURS, options=one_keyframe)
    assert look(await find_frame(source, 4.2, THUMBNAIL)).shows_something


@pytest.mark.parametrize(
    "start",
    [
        "color=white:s=320x180:d=2",
        "color=red:s=320x180:d=2",
        "testsrc2=s=320x180:d=2,gblur=sigma=8",
    ],
    ids=["white", "red", "blurred"],
)
async def test_a_start_that_shows_nothing_sharply_is_passed_over(find_frame, tmp_path, start):
    source = make_video(tmp_path / "source.mp4", start, COLOURS)
    found = look(await find_frame(source, 6.0, THUMBNAIL))
    assert found.shows_something
    assert found.is_sharp


async def test_what_is_blurred_throughout_is_not_looked_at_for_long(find_frame, tmp_path):
    source = make_video(tmp_path / "source.mp4", f"{COLOURS},gblur=sigma=8")
    assert (await find_frame(source, 4.0, THUMBNAIL)).name in {
        f"frame-{number}.png" for number in range(4)
    }


async def test_black_video_has_its_picture_too(find_frame, tmp_path):
    source = make_video(tmp_path / "source.mp4", "color=black:s=320x180:d=2")
    assert look(await find_frame(source, 2.0, THUMBNAIL)).light == pytest.approx(0, abs=2)


@pytest.mark.parametrize("duration", [None, 4.0, 9000.0])
async def test_length_may_be_unknown_or_wrong(find_frame, tmp_path, duration):
    source = make_video(
        tmp_path / "source.webm", COLOURS, options=("-c:v", "libvpx", "-deadline", "realtime")
    )
    assert (await find_frame(source, duration, THUMBNAIL)).exists()


async def test_one_frame_is_enough(find_frame, tmp_path):
    source = make_video(tmp_path / "source.mp4", COLOURS, options=("-frames:v", "1"))
    assert (await find_frame(source, 0.04, THUMBNAIL)).exists()


@pytest.mark.parametrize("suffix", ["mov", "mkv", "avi", "mpg", "3gp"])
async def test_every_accepted_container_has_a_frame(find_frame, tmp_path, suffix):
    options = ("-s", "352x288", "-r", "25")
    source = make_video(tmp_path / f"source.{suffix}", COLOURS, options=options)
    assert look(await find_frame(source, 4.0, THUMBNAIL)).shows_something


async def test_frame_is_upright(find_frame, tmp_path):
    halves = make_video(tmp_path / "plain.mp4", "color=red:s=320x180:d=1")
    source = tmp_path / "source.mp4"
    ffmpeg("-i", halves, "-metadata:s:v", "rotate=90", "-c", "copy", source)
    info = probe_image(await find_frame(source, 1.0, THUMBNAIL))
    assert (info.width, info.height) == (180, 320)


async def test_frame_has_square_pixels(find_frame, tmp_path):
    wide = "color=red:s=360x360:d=1,setsar=2/1"
    source = make_video(tmp_path / "source.mp4", wide)
    info = probe_image(await find_frame(source, 1.0, THUMBNAIL))
    assert (info.width, info.height) == (720, 360)


async def test_large_frame_comes_reduced(find_frame, tmp_path):
    source = make_video(tmp_path / "source.mp4", "color=red:s=1920x1080:r=5:d=1")
    with Image.open(await find_frame(source, 1.0, THUMBNAIL)) as frame:
        assert frame.size == (853, 480)


# Each frame tells its number by its grey: 30 a second, of 2 seconds.
NUMBERED = "color=black:s=64x48:r=30:d=2,geq=lum='16+3*N':cb=128:cr=128"


def number_of(frame: Path) -> int:
    """Return which frame of a film of NUMBERED this is."""
    with Image.open(frame) as image:
        grey = image.convert("L").resize((1, 1)).getpixel((0, 0))
    assert isinstance(grey, int)
    return round(grey * 219 / 255 / 3)


def numbered(path: Path, *options: str, sound: bool = False) -> Path:
    """Write a film whose frames tell their numbers, with two keyframes."""
    heard = ("-f", "lavfi", "-i", "sine=d=3") if sound else ()
    ffmpeg("-f", "lavfi", "-i", NUMBERED, *heard, "-pix_fmt", "yuv420p", "-q:v", "2", "-g", "30",
           "-bf", "2", *options, path)  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("suffix", "shown"),
    [
        ("mp4", {0.0: 0, 0.99: 29, 1.0: 30, 1.31: 39, 604_800.0: 59}),
        ("mkv", {1.3: 39, 2.0: 59}),
        # Not all of its pictures have a time: what a decoder makes of that is some frames off.
        ("mpg", {0.5: 15, 2.5: 59}),
        ("avi", {1.3: 39, 2.0: 59}),
    ],
)
async def test_a_chosen_moment_has_the_frame_that_is_shown_then(
    find_frame, tmp_path, suffix, shown
):
    # An AVI does not tell when pictures are shown that are stored in another order.
    options = ("-bf", "0") if suffix == "avi" else ()
    source = numbered(tmp_path / f"source.{suffix}", *options)
    found = {at: number_of(await find_frame(source, 2.0, THUMBNAIL, at_seconds=at)) for at in shown}
    assert found == shown


async def test_while_sound_outlasts_the_pictures_the_last_one_is_shown(find_frame, tmp_path):
    source = numbered(tmp_path / "source.mp4", sound=True)
    assert number_of(await find_frame(source, 3.0, THUMBNAIL, at_seconds=2.5)) == 59


async def test_the_clock_begins_with_the_first_picture(find_frame, tmp_path):
    late = numbered(tmp_path / "late.mkv", "-output_ts_offset", "7")
    assert number_of(await find_frame(late, 2.0, THUMBNAIL, at_seconds=1.3)) == 39


async def test_the_clock_begins_with_sound_that_is_clearly_earlier(find_frame, tmp_path):
    source = tmp_path / "source.mkv"
    ffmpeg("-f", "lavfi", "-i", "sine=d=3", "-itsoffset", "0.5", "-f", "lavfi", "-i", NUMBERED,
           "-pix_fmt", "yuv420p", "-g", "30", source)  # fmt: skip
    assert number_of(await find_frame(source, 3.0, THUMBNAIL, at_seconds=0.3)) == 0
    assert number_of(await find_frame(source, 3.0, THUMBNAIL, at_seconds=1.82)) == 39


async def test_a_frame_that_stands_still_is_shown_for_as_long_as_it_does(find_frame, tmp_path):
    plain, source = numbered(tmp_path / "plain.mp4"), tmp_path / "source.mkv"
    stands = "select='lt(n,10)+gte(n,50)'"
    ffmpeg("-i", plain, "-vf", stands, "-fps_mode", "passthrough", "-g", "300", source)
    assert number_of(await find_frame(source, 2.0, THUMBNAIL, at_seconds=1.3)) == 9


async def test_what_a_film_leaves_out_by_its_edit_list_is_no_time(find_frame, tmp_path):
    plain, source = numbered(tmp_path / "plain.mp4"), tmp_path / "source.mp4"
    ffmpeg("-ss", "0.5", "-i", plain, "-c", "copy", source)
    assert number_of(await find_frame(source, 1.5, THUMBNAIL, at_seconds=0.3)) == 24


async def test_a_frame_is_not_lightened_by_what_its_png_says(find_frame, tmp_path):
    """Whoever makes pictures of it takes its values as players do."""
    source = numbered(tmp_path / "source.mp4")
    with Image.open(await find_frame(source, 2.0, THUMBNAIL, at_seconds=1.3)) as frame:
        frame.load()
        assert of_png(frame.info) is None


async def test_a_chosen_moment_may_show_nothing(find_frame, tmp_path):
    source = make_video(tmp_path / "source.mp4", "color=black:s=320x180:d=2", COLOURS)
    frame = await find_frame(source, 6.0, THUMBNAIL, at_seconds=1.0)
    assert not look(frame).shows_something


async def test_where_the_moment_cannot_be_decoded_a_film_has_another_picture(find_frame, tmp_path):
    options = ("-g", "25", "-movflags", "+faststart")
    source = make_video(tmp_path / "source.mp4", "testsrc2=s=160x120:d=2", options=options)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    assert (await find_frame(source, 2.0, THUMBNAIL, at_seconds=1.9)).exists()


async def test_sound_alone_has_no_frame(find_frame, tmp_path):
    source = tmp_path / "source.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", source)
    with pytest.raises(NoFrameError):
        await find_frame(source, 1.0, THUMBNAIL)


async def test_playlist_under_another_name_has_no_frame(find_frame, tmp_path):
    make_video(tmp_path / "secret.mp4", COLOURS)
    source = tmp_path / "source.mp4"
    source.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.mp4\n")
    with pytest.raises(NoFrameError):
        await find_frame(source, 4.0, THUMBNAIL)


async def test_a_film_that_takes_all_its_time_is_given_no_further_look(tmp_path):
    """Nobody's pictures wait for all the places where such a film could be looked at."""
    looks = []

    class Slow:
        input_options: ClassVar[dict[str, str]] = {}

        async def probe(self, _) -> MediaInfo:
            video = VideoStream("h264", 64, 48, 0, 25.0, "yuv420p", 1.0)
            return MediaInfo("mov", 10.0, video, None, 1)

        async def run(self, command, **_) -> None:
            looks.append(command)
            raise FfmpegError("transcode_timeout", "Processing took too long.")

    find = FindFrame(cast("PicturePool", None), cast("Ffmpeg", Slow()), timeout_seconds=60)
    with pytest.raises(NoFrameError):
        await find(tmp_path / "film", 10.0, [WantedPicture("thumbnail", 320, 240, "cover")])
    assert len(looks) == 2
