"""An uploader sees its place in the line and when its upload will be ready, and nobody else's."""

from __future__ import annotations

from support.clients import Company
from support.eventually import eventually
from support.media_files import make_video

ESTIMATED = "media.asset.estimated.v1"


async def test_films_in_line_have_a_place_and_a_time_that_come_true(
    company: Company, other_company: Company, tmp_path
):
    """The first films are the evidence by which the others' times are told."""
    short = make_video(tmp_path / "short.mp4", size="160x120", seconds=1).read_bytes()
    film = make_video(tmp_path / "film.mp4", size="640x360", seconds=15).read_bytes()
    for number in range(3):
        await company.ready(await company.upload_bytes(f"{number}.mp4", short, "video/mp4"))
    async with company.listening() as listener, other_company.listening() as stranger:
        films = [await company.upload_bytes(f"{n}.mp4", film, "video/mp4") for n in range(4)]

        async def told() -> bool:
            last = await company.asset(films[-1])
            return bool(last["place"] and last["readyInSeconds"])

        await eventually(told, timeout=60)
        for one in films:
            ready = await company.ready(one, timeout=240)
            assert (ready["place"], ready["readyInSeconds"]) == (None, None)
        heard = [
            event for one in films for event in listener.of(one) if event.event["type"] == ESTIMATED
        ]
        assert {event.data["place"] for event in heard} <= {1, 2, 3, 4}
        assert max(event.data["place"] for event in heard) > 1
        assert any("readyInSeconds" in event.data for event in heard)
        assert not [event for one in films for event in stranger.of(one)]
