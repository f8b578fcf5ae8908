"""What callers of media_runtime.media.pictures may rely on."""

import asyncio
import contextlib
import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from media_runtime.errors import TransientError
from media_runtime.media import pictures
from media_runtime.media.looks import look
from media_runtime.media.picture_pool import PicturePool, PictureWorkError
from media_runtime.media.pictures import (
    PictureError,
    WantedPicture,
    probe_image,
    render,
)
from media_runtime.media.sandbox import Sandbox
from PIL import Image, ImageCms

from support import picture_work
from support.eventually import eventually
from support.media_files import SAMPLES, make_camera_photo, make_heic
from support.tiers import FULL

SANDBOX = Sandbox("bubblewrap")
THUMBNAIL = WantedPicture("thumbnail", 320, 240, "cover")
DISPLAY = WantedPicture("display", 1000, 1000, "inside")
ORIENTATION, GPS = 0x0112, 0x8825


def save(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def opened(picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.data))


def thumbnail_of(path: Path) -> Image.Image:
    (picture,) = render(path, [THUMBNAIL])
    image = opened(picture)
    assert picture.content_type == "image/jpeg"
    assert (image.format, image.mode) == ("JPEG", "RGB")
    assert (picture.width, picture.height) == image.size == (320, 240)
    return image


def near(pixel, expected, by: int = 12) -> bool:
    return all(abs(a - b) <= by for a, b in zip(pixel, expected, strict=True))


@pytest.mark.parametrize(
    "size",
    [(1, 1), (1, 5000), (5000, 1), (2, 3), (319, 239), (320, 240), (321, 241), (640, 480),
     (240, 320), (1000, 1000), (4000, 3000), (3001, 777), (777, 3001)],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_thumbnail_has_exactly_its_size(tmp_path, size, suffix):
    thumbnail_of(save(Image.new("RGB", size, "red"), tmp_path / f"source.{suffix}"))


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("1", "png"), ("L", "jpg"), ("LA", "png"), ("P", "png"), ("P", "gif"), ("RGBA", "png"),
     ("RGBA", "webp"), ("RGB", "avif"), ("I;16", "png"), ("I;16", "tif"), ("I", "tif"),
     ("F", "tif"), ("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "tif"), ("LAB", "tif")],
)  # fmt: skip
def test_every_mode_gives_a_thumbnail(tmp_path, mode, suffix):
    thumbnail_of(save(Image.new(mode, (500, 400)), tmp_path / f"source.{suffix}"))


def test_cover_crops_evenly(tmp_path):
    image = Image.new("RGB", (1280, 480), "green")
    image.paste("red", (0, 0, 320, 480))
    image.paste("blue", (960, 0, 1280, 480))
    thumbnail = thumbnail_of(save(image, tmp_path / "wide.png"))
    assert all(near(thumbnail.getpixel((x, 120)), (0, 128, 0)) for x in (3, 160, 316))


# Where they are told by EXIF, and where by the container itself, all of them.
TURNS = [
    (suffix, orientation)
    for suffix in ("jpg", "png", "webp", "avif", "tif")
    for orientation in range(1, 9)
    if FULL or suffix in {"jpg", "avif"} or orientation in {2, 6}
]


@pytest.mark.parametrize(("suffix", "orientation"), TURNS)
def test_orientation_is_baked_in(tmp_path, orientation, suffix):
    """Each of the eight orientations shows red at the top left and blue at the bottom right."""
    upright = Image.new("RGB", (1200, 900), "white")
    upright.paste("red", (0, 0, 600, 450))
    upright.paste("blue", (600, 450, 1200, 900))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = save(stored, tmp_path / f"source.{suffix}", exif=exif)

    for image in (thumbnail_of(path), opened(render(path, [DISPLAY])[0])):
        width, height = image.size
        assert width > height
        assert near(image.getpixel((10, 10)), (254, 0, 0))
        assert near(image.getpixel((width - 10, height - 10)), (0, 0, 254))
    info = probe_image(path)
    assert (info.width, info.height) == (1200, 900)


def test_no_metadata_survives(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Maker-of-cameras"
    exif.get_ifd(GPS)[2] = (52.0, 31.0, 12.0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = save(
        Image.new("RGB", (900, 900), "red"), tmp_path / "a.jpg",
        exif=exif, icc_profile=profile, comment="secret", xmp=b"<x:xmpmeta>secret</x:xmpmeta>",
    )  # fmt: skip
    for picture in render(path, [THUMBNAIL, DISPLAY]):
        assert set(opened(picture).info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        for trace in (b"secret", b"Maker", b"Exif", b"ICC_PROFILE"):
            assert trace not in picture.data


def test_colours_become_srgb(tmp_path):
    """A profile under which "red" means blue is applied before it is dropped."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
    for suffix in ("jpg", "png"):
        path = tmp_path / f"a.{suffix}"
        save(Image.new("RGB", (400, 300), "red"), path, icc_profile=swapped)
        assert near(thumbnail_of(path).getpixel((9, 9)), (0, 0, 254))


def test_profile_for_other_colours_is_left_out(tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    path = save(Image.new("RGB", (400, 300), "red"), tmp_path / "a.jpg", icc_profile=lab)
    assert near(thumbnail_of(path).getpixel((9, 9)), (254, 0, 0))


def test_inside_keeps_the_whole_picture_and_never_enlarges(tmp_path):
    wide = save(Image.new("RGB", (3000, 500), "red"), tmp_path / "wide.jpg")
    small = save(Image.new("RGB", (30, 50), "red"), tmp_path / "small.png")
    (fitted,), (kept,) = render(wide, [DISPLAY]), render(small, [DISPLAY])
    assert opened(fitted).size == (fitted.width, fitted.height) == (1000, 167)
    assert opened(kept).size == (30, 50)


@pytest.mark.parametrize(("alpha", "content_type"), [(0, "image/png"), (255, "image/jpeg")])
def test_inside_stays_png_only_where_something_shines_through(tmp_path, alpha, content_type):
    path = save(Image.new("RGBA", (50, 50), (255, 0, 0, alpha)), tmp_path / "a.png")
    thumbnail, display = render(path, [THUMBNAIL, DISPLAY])
    assert thumbnail.content_type == "image/jpeg"
    assert display.content_type == content_type


def test_transparent_thumbnail_stands_on_white(tmp_path):
    path = save(Image.new("RGBA", (500, 500), (255, 0, 0, 0)), tmp_path / "a.png")
    assert thumbnail_of(path).getpixel((9, 9)) == (255, 255, 255)


def test_first_frame_stands_for_a_moving_image(tmp_path):
    frames = [Image.new("RGB", (400, 300), colour) for colour in ("red", "blue", "green")]
    path = save(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert near(thumbnail_of(path).getpixel((9, 9)), (254, 0, 0))
    assert probe_image(path).frames == 3


@pytest.mark.parametrize("suffix", ["gif", "webp", "avif", "tif", "png"])
def test_frames_are_counted_up_to_a_limit(tmp_path, suffix):
    frames = [Image.new("RGB", (64, 48), (40 * number, 0, 0)) for number in range(5)]
    path = save(frames[0], tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    assert [probe_image(path, limit).frames for limit in (1, 3, 4, 5, 9)] == [2, 4, 5, 5, 5]


def test_a_million_frames_take_no_longer_than_the_limit(tmp_path):
    path = save(Image.new("P", (1, 1)), tmp_path / "a.gif")
    whole = path.read_bytes()
    image = whole[whole.index(b",") : -1]
    path.write_bytes(whole[:-1] + image * 1_000_000 + b";")
    started = time.process_time()
    assert probe_image(path, 3000).frames == 3001
    assert time.process_time() - started < 0.5
    thumbnail_of(path)
    assert time.process_time() - started < 1


def test_camera_preview_in_a_jpeg_is_no_frame(tmp_path):
    both = [Image.new("RGB", (160, 120), "blue")]
    path = tmp_path / "a.jpg"
    Image.new("RGB", (1600, 1200), "red").save(path, "MPO", save_all=True, append_images=both)
    info = probe_image(path)
    assert (info.format, info.width, info.frames) == ("JPEG", 1600, 1)
    assert near(thumbnail_of(path).getpixel((9, 9)), (254, 0, 0))


@pytest.mark.parametrize("work", [probe_image, lambda path: render(path, [THUMBNAIL])])
def test_pixel_bomb_is_refused_by_its_header(tmp_path, work):
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in parts
        )
    )
    with pytest.raises(PictureError) as caught:
        work(path)
    assert caught.value.code == "too_many_pixels"


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xff\xd8\xff\xe0" + b"\0" * 99, b"<svg/>"],
)
def test_what_is_no_image_is_refused(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(PictureError) as caught:
        probe_image(path)
    assert caught.value.code == "unreadable_image"
    assert str(tmp_path) not in caught.value.message


def test_format_outside_the_list_is_refused(tmp_path):
    path = save(Image.new("RGB", (9, 9)), tmp_path / "a.bmp")
    with pytest.raises(PictureError):
        probe_image(path)


def test_truncated_image_is_refused_when_it_is_rendered(tmp_path):
    path = save(Image.effect_noise((900, 900), 99), tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(PictureError) as caught:
        render(path, [THUMBNAIL])
    assert caught.value.code == "unreadable_image"


CAMERAS = {
    "camera.jpg": make_camera_photo,
    "portrait.jpg": lambda path: make_camera_photo(path, orientation=8),
    "iphone.heic": lambda path: make_heic(path, size=(640, 480)),
}
REAL = [
    name
    for name in ("IMG_5195.HEIC", "gps-DSCN0010.jpg", "orientation-Portrait_8.jpg")
    if (SAMPLES / name).exists()
]


@pytest.mark.parametrize("name", [*CAMERAS, *REAL])
def test_photos_of_cameras_give_thumbnails_that_tell_nothing(name, tmp_path):
    path = CAMERAS[name](tmp_path / name) if name in CAMERAS else SAMPLES / name
    image = thumbnail_of(path)
    assert not image.getexif()
    assert not set(image.info) & {"exif", "xmp", "comment"}


def start_python(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)


@pytest.mark.parametrize(
    "xmp",
    [b'<rdf xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>',
     b"<x>urn:com:apple:photo:2020:aux:hdrgainmap</x>"],
)  # fmt: skip
def test_a_photo_with_a_gain_map_is_told_as_hdr_and_loses_it(tmp_path, xmp):
    photo = Image.new("RGB", (900, 600), "orange")
    plain = save(photo, tmp_path / "plain.jpg")
    mapped = save(photo, tmp_path / "mapped.jpg", xmp=b"<x:xmpmeta>" + xmp + b"</x:xmpmeta>")
    assert (probe_image(plain).hdr, probe_image(mapped).hdr) == (False, True)
    for picture in render(mapped, [THUMBNAIL, DISPLAY]):
        assert b"hdrg" not in picture.data


# --- the pool ---


@pytest.fixture(scope="module")
async def pool():
    async with PicturePool(SANDBOX, workers=2, memory_bytes=1024**3) as opened_pool:
        yield opened_pool


async def test_crash_costs_only_its_own_work(pool):
    crashing = pool.run(picture_work.crash, None, timeout_seconds=20)
    others = [
        pool.run(picture_work.joined, None, "a", str(n), timeout_seconds=20) for n in range(50)
    ]
    crash, *answers = await asyncio.gather(crashing, *others, return_exceptions=True)
    assert crash.code == "image_crashed_decoder"
    assert answers == [f"a/{n}" for n in range(50)]


async def test_time_out_ends_the_work(pool, tmp_path):
    with pytest.raises(PictureError) as caught:
        await pool.run(picture_work.rest, None, 61.5, timeout_seconds=0.2)
    assert caught.value.code == "image_timeout"
    assert await pool.run(picture_work.joined, None, "a", "b", timeout_seconds=20) == "a/b"


async def test_time_on_the_cpu_is_limited_by_pixels(pool):
    """One that runs out of it gets no second try."""
    started = time.monotonic()
    with pytest.raises(PictureError) as caught:
        await pool.run(picture_work.spin, None, timeout_seconds=60)
    assert caught.value.code == "image_timeout"
    assert time.monotonic() - started > 5
    assert await pool.run(picture_work.joined, None, "a", "b", timeout_seconds=20) == "a/b"


async def test_cancellation_frees_the_worker(pool):
    tasks = [
        asyncio.create_task(pool.run(picture_work.rest, None, 60.0, timeout_seconds=90))
        for _ in "ab"
    ]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await pool.run(picture_work.joined, None, "a", "b", timeout_seconds=20) == "a/b"


@pytest.mark.parametrize("why", ["time", "hunger"])
async def test_a_worker_that_is_slow_to_end_costs_the_next_work_nothing(why, monkeypatch):
    """It was killed, for its time was up or, by the kernel, for another's hunger."""
    # As on a busy machine: it ends when somebody waits for it, and not before.
    monkeypatch.setattr(subprocess.Popen, "poll", lambda process: process.returncode)
    async with PicturePool(SANDBOX, workers=1) as pool:
        if why == "time":
            with pytest.raises(PictureError):
                await pool.run(picture_work.rest, None, 61.5, timeout_seconds=0.2)
        else:
            (worker,) = pool._workers
            os.killpg(worker._process.pid, signal.SIGKILL)
        assert await pool.run(picture_work.joined, None, "a", "b", timeout_seconds=60) == "a/b"


async def test_pixels_are_limited_by_a_setting(tmp_path):
    path = save(Image.new("RGB", (101, 100)), tmp_path / "a.png")
    async with PicturePool(SANDBOX, workers=1, max_pixels=10_000) as strict:
        with pytest.raises(PictureError, match=r"0\.01 million pixels") as caught:
            await strict.run(probe_image, path, timeout_seconds=20)
        assert caught.value.code == "too_many_pixels"
    async with PicturePool(SANDBOX, workers=1, max_pixels=10_100) as generous:
        assert (await generous.run(probe_image, path, timeout_seconds=20)).width == 101


async def test_memory_is_limited(pool):
    with pytest.raises(PictureError) as caught:
        await pool.run(picture_work.hunger, None, 2 * 1024**3, timeout_seconds=20)
    assert caught.value.code == "image_out_of_memory"


async def test_worker_that_cannot_start_is_no_fault_of_the_image():
    with pytest.raises(TransientError):
        async with PicturePool(SANDBOX, workers=1, memory_bytes=10 * 1024**2):
            pass


async def test_a_bug_is_told_as_one(pool):
    with pytest.raises(PictureWorkError, match="ZeroDivisionError"):
        await pool.run(picture_work.bug, None, timeout_seconds=20)


async def test_refusal_crosses_the_wall(pool, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"hello")
    with pytest.raises(PictureError) as caught:
        await pool.run(probe_image, tmp_path / "a.jpg", timeout_seconds=20)
    assert (caught.value.code, bool(caught.value.detail)) == ("unreadable_image", True)


async def test_pictures_cross_the_wall_as_they_are(pool, tmp_path):
    path = save(Image.effect_noise((640, 480), 50), tmp_path / "a.png")
    assert await pool.run(render, path, [THUMBNAIL, DISPLAY], timeout_seconds=20) == render(
        path, [THUMBNAIL, DISPLAY]
    )
    assert await pool.run(probe_image, path, timeout_seconds=20) == probe_image(path)
    assert await pool.run(look, path, timeout_seconds=20) == look(path)


@pytest.mark.parametrize(
    "said",
    [b"", b'V{"a": 1}', b"R[1]", b"X1", *([b"V", b"V{", b'R["a"]', b"V" * 99] if FULL else [])],
)
async def test_what_a_hostile_process_says_is_not_believed(pool, said):
    """As if an image had taken its process over."""
    with pytest.raises(PictureError) as caught:
        await pool.run(picture_work.say, None, said, timeout_seconds=20)
    assert caught.value.code == "image_crashed_decoder"


async def test_a_hostile_process_reaches_no_other_file_and_no_next_image(pool, tmp_path):
    (tmp_path / "canary").write_text("the canary")
    (tmp_path / "own").write_text("its own")
    found = await pool.run(
        picture_work.look_around, tmp_path / "own", str(tmp_path / "canary"), timeout_seconds=20
    )
    assert found == {"own": "its own", "other": "", "network": "", "environment": "", "left": ""}
    again = await pool.run(
        picture_work.look_around, tmp_path / "own", str(tmp_path / "canary"), timeout_seconds=20
    )
    assert again["left"] == "", "nothing of one work is left for the next"


async def test_event_loop_runs_on_while_an_image_is_decoded(pool, tmp_path):
    path = save(Image.effect_noise((4000, 3000), 50), tmp_path / "big.png")
    running = asyncio.create_task(pool.run(render, path, [THUMBNAIL], timeout_seconds=30))
    started = last = time.perf_counter()
    longest = 0.0
    while not running.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    assert (await running)[0].width == 320
    assert longest < (last - started) / 2


@pytest.mark.parametrize("kind", ["bubblewrap", "none"])
async def test_workers_die_with_their_parent(kind):
    program = (
        "import asyncio, sys\n"
        f"sys.path.append({str(Path(__file__).parents[2])!r})\n"
        "from media_runtime.media.sandbox import Sandbox\n"
        "from media_runtime.media.picture_pool import PicturePool\n"
        "from support import picture_work\n"
        "async def main():\n"
        f"    async with PicturePool(Sandbox({kind!r}), workers=1) as pool:\n"
        "        print('up', flush=True)\n"
        "        await pool.run(picture_work.rest, None, 60.0, timeout_seconds=90)\n"
        "asyncio.run(main())\n"
    )
    with start_python(program) as parent:
        assert b"up\n" in iter(parent.stdout.readline, b"")
        # One that waits for images, and its fork that has one.
        await eventually(lambda: len(workers_of(parent.pid)) >= 2)
        workers = workers_of(parent.pid)
        parent.kill()
    await eventually(lambda: not workers & set(workers_alive()), timeout=10)


def workers_alive() -> dict[int, int]:
    """Return the ids of all processes that wait for images or have one, with their parents'."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes()
            if b"media_runtime.media.picture_worker" in line:
                # pid (name) state ppid: the name may hold anything but the last parenthesis.
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                found[int(folder.name)] = int(stat[1])
    return found


def workers_of(pid: int) -> set[int]:
    """Return those of them that descend from the process *pid*."""
    alive, found = workers_alive(), {pid}
    while more := {child for child, parent in alive.items() if parent in found} - found:
        found |= more
    return found - {pid}


def test_time_is_allowed_for_all_that_is_made_of_an_image(tmp_path):
    """Red where it goes by the source alone: many large pictures of it would be cut short."""
    path = save(Image.new("RGB", (400, 300)), tmp_path / "a.jpg")
    allowed: list[int] = []
    pictures.open_up_to(pictures.MAX_PIXELS, before_decoding=allowed.append)
    try:
        render(path, [THUMBNAIL])
        assert max(allowed) == 400 * 300
        render(path, [WantedPicture(f"p{n}", 4000, 3000, "cover") for n in range(2)])
        assert allowed[-1] == 2 * 4000 * 3000
        render(path, [WantedPicture(f"p{n}", 4000, 3000, "inside") for n in range(3)])
        assert allowed[-1] == 3 * 400 * 300
    finally:
        pictures.open_up_to(pictures.MAX_PIXELS)
