"""What one company uploads holds nobody else up, whatever it is and however much."""

from __future__ import annotations

import asyncio

from support.clients import Company
from support.media_files import make_photo, make_video
from support.surroundings import Parts
from support.wire import Rows

_FLOOD = 60


async def test_no_image_waits_for_films(company: Company, tmp_path):
    """All workers have a film that takes long, and a photo of the same company passes them."""
    film = make_video(tmp_path / "film.mp4", size="1280x720", seconds=15).read_bytes()
    photo = make_photo(tmp_path / "photo.jpg", size=(800, 600)).read_bytes()
    films = [await company.upload_bytes("film.mp4", film, "video/mp4") for _ in range(3)]
    await company.ready(await company.upload_bytes("photo.jpg", photo, "image/jpeg"))
    unfinished = [one for one in films if (await company.asset(one))["status"] != "ready"]
    assert len(unfinished) >= 2, "the photo was no faster than the films"
    for one in films:
        await company.call("DELETE", f"/assets/{one}")


async def test_a_flood_of_one_companys_images_holds_up_no_other(
    company: Company, other_company: Company, parts: Parts, rows: Rows, tmp_path
):
    """Its photos come last of all, after a pause of ingest's, and are among the first."""
    photo = make_photo(tmp_path / "photo.jpg", size=(1000, 750)).read_bytes()
    at_once = asyncio.Semaphore(8)

    async def upload(number: int) -> str:
        async with at_once:
            return await company.upload_bytes(f"{number}.jpg", photo, "image/jpeg")

    with parts.down("ingest"):
        flood = await asyncio.gather(*map(upload, range(_FLOOD)))
        others = await other_company.upload_bytes("photo.jpg", photo, "image/jpeg")
    await other_company.ready(others, timeout=120)
    for one in flood:
        await company.ready(one, timeout=240)
    assert await rows.passed_by(others, flood) < _FLOOD / 2
