"""A browser takes the picture that fits its screen, and nothing moves when it comes."""

from __future__ import annotations

import pytest
from PIL import Image

from support.clients import Company
from support.media_files import make_photo

# A phone, a desk, and a desk with two pixels for one.
SCREENS = [(360, 1.0), (1280, 1.0), (1280, 2.0)]
WIDTHS = {(360, 1.0): 640, (1280, 1.0): 640, (1280, 2.0): 1280}


@pytest.fixture(scope="module")
async def assets(http, tmp_path_factory):
    company, folder = Company(http), tmp_path_factory.mktemp("pictures")
    photo = make_photo(folder / "photo.jpg", size=(2400, 1600))
    drawing = Image.new("RGBA", (1500, 1500), (0, 0, 0, 0))
    drawing.paste((200, 30, 60, 255), (300, 300, 1200, 1200))
    drawing.save(folder / "drawing.png")
    found = []
    for path in (photo, folder / "drawing.png"):
        grant = await company.sign(
            path.name, path.stat().st_size, f"image/{path.suffix[1:].replace('jpg', 'jpeg')}",
            alt=path.stem,
        )  # fmt: skip
        assert (await company.store(grant, path.read_bytes())).status_code == 200
        found.append(await company.ready(grant["assetId"]))
    return found


async def test_each_screen_gets_the_picture_that_fits(stage, assets):
    for screen, looked in zip(SCREENS, await stage.browser.look(assets, SCREENS), strict=True):
        print(f"\n{screen}: {looked.images}, {looked.screenshot}")  # noqa: T201 - for who looks
        assert looked.logged == []
        assert looked.shifts == 0
        assert [one["alt"] for one in looked.images] == ["photo", "drawing"]
        for image in looked.images:
            assert f"-{WIDTHS[screen]}.avif?" in image["loaded"] + "?"
            assert image["width"] > 0
            assert image["background"] == "none"
