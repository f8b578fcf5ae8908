"""Crops round what people look at first."""

import io

import pytest
import pyvips
from media_runtime.media import pictures
from media_runtime.media.attention import attention
from media_runtime.media.picture_pool import PicturePool
from media_runtime.media.picture_worker import OWN_BYTES
from media_runtime.media.pictures import WantedPicture, render
from media_runtime.media.sandbox import Sandbox
from PIL import Image, ImageDraw, ImageStat

from support import picture_work

ORIENTATION = 0x0112
UNDO = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
SQUARE = WantedPicture("square", 200, 200, "cover", "jpeg", "attention")
WHOLE_DISC = 0.087


def scene(size=(1600, 400), *, at=0.8, mode="RGB") -> Image.Image:
    """An orange disc on calm grey ground, so far from its left edge."""
    width, height = size
    ground = Image.linear_gradient("L").resize(size).point(lambda value: 90 + value // 8)
    image = ground.convert("RGB")
    x, y, radius = round(width * at), height // 2, height // 6
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), "orange")
    return image.convert(mode)


def saved(image: Image.Image, path, **options):
    image.save(path, **options)
    return path


def orange(picture) -> float:
    """Return how much of a picture has no blue, as the disc."""
    image = Image.open(io.BytesIO(picture.data)).convert("RGB")
    disc = image.getchannel("B").point(lambda value: 255 * (value < 60))
    return ImageStat.Stat(disc).mean[0] / 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_crop_has_what_people_look_at_first(tmp_path, orientation):
    stored = scene().transpose(UNDO[orientation]) if orientation > 1 else scene()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = saved(stored, tmp_path / "a.jpg", exif=exif)
    middle = WantedPicture("middle", 200, 200, "cover", "jpeg")
    found = {one.name: orange(one) for one in render(path, [SQUARE, middle])}
    assert found == pytest.approx({"square": WHOLE_DISC, "middle": 0}, abs=0.01)


@pytest.mark.parametrize("at", [0.1, 0.35, 0.5, 0.9])
def test_what_is_seen_first_is_in_the_middle_of_its_crop(at):
    assert attention(scene((320, 80), at=at)) == pytest.approx((at, 0.5), abs=0.07)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGBA", "png"), ("P", "gif"), ("CMYK", "jpg"), ("CMYK", "tif")]
)
def test_a_crop_is_found_in_each_mode(tmp_path, mode, suffix):
    (square,) = render(saved(scene(mode=mode), tmp_path / f"a.{suffix}"), [SQUARE])
    assert orange(square) == pytest.approx(WHOLE_DISC, abs=0.02)


def test_grey_is_looked_at_as_well(tmp_path):
    image = Image.new("L", (1600, 400), 90)
    ImageDraw.Draw(image).ellipse((1200, 130, 1340, 270), 250)
    (square,) = render(saved(image, tmp_path / "a.png"), [SQUARE])
    assert ImageStat.Stat(Image.open(io.BytesIO(square.data))).mean[0] > 105


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 5000), (5000, 1), (40, 40)])
def test_where_there_is_little_to_see_there_is_a_crop_too(tmp_path, size):
    (square,) = render(saved(Image.new("RGB", size, "red"), tmp_path / "a.png"), [SQUARE])
    assert (square.width, square.height) == (200, 200)


def test_all_crops_of_a_set_are_of_one_search(tmp_path, monkeypatch):
    searches: list[tuple[int, int]] = []

    def counted(image: Image.Image) -> tuple[float, float]:
        searches.append(image.size)
        return 0.8, 0.5

    monkeypatch.setattr(pictures, "attention", counted)
    path = saved(scene(), tmp_path / "a.png")
    wanted = [
        WantedPicture(f"{side}.{one}", side, side * tall, "cover", one, "attention")
        for side in (100, 200, 300) for one in ("avif", "jpeg") for tall in (1, 2)
    ]  # fmt: skip
    assert len(render(path, wanted)) == 12
    assert searches == [(320, 80)]
    render(path, [WantedPicture("middle", 200, 200, "cover")])
    assert len(searches) == 1


def test_libvips_opens_no_file(tmp_path):
    attention(scene((320, 80)))
    for suffix in ("jpg", "png", "webp", "gif", "ppm", "tif"):
        path = saved(scene((320, 80)), tmp_path / f"a.{suffix}")
        with pytest.raises(pyvips.Error):
            pyvips.Image.new_from_file(str(path))
        with pytest.raises(pyvips.Error):
            pyvips.Image.new_from_buffer(path.read_bytes(), "")


# --- in the sandbox ---


@pytest.fixture
async def pool():
    # What remains of it for an image is 100 MiB.
    memory = OWN_BYTES + 100 * 1024**2
    async with PicturePool(Sandbox("bubblewrap"), workers=1, memory_bytes=memory) as opened_pool:
        yield opened_pool


async def test_a_worker_searches_as_it_is_done_outside(pool, tmp_path):
    path = saved(scene(), tmp_path / "a.png")
    assert await pool.run(render, path, [SQUARE], timeout_seconds=20) == render(path, [SQUARE])


async def test_a_search_starts_few_threads_and_what_needs_none_loads_nothing(pool):
    for _ in range(5):
        found = await pool.run(picture_work.search, None, timeout_seconds=20)
        assert found == {"loaded before": 0, "threads before": 1, "loaded": 1, "threads": 4}


async def test_the_largest_image_that_is_opened_leaves_room_for_a_search(pool, tmp_path):
    """Four bytes a pixel, 100 MiB of them; the pictures are as large as leave room without one."""
    grain = Image.effect_noise((1625, 1000), 50).resize((6500, 4000)).convert("RGB")
    image = Image.blend(scene(grain.size), grain, 0.2)
    path = saved(image, tmp_path / "a.png", compress_level=1)
    assert 0.98 < image.width * image.height * 4 / (100 * 1024**2) < 1
    whole = [WantedPicture(str(side), side, side, "inside", "avif") for side in (1920, 2880)]
    assert len(await pool.run(render, path, [SQUARE, *whole], timeout_seconds=60)) == 3
