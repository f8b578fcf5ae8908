"""Players offer the texts of a film, and show each with the picture that it belongs to."""

from __future__ import annotations

import pytest

from support.clients import Company

# Of a film that is loaded already, Shaka Player would show no text that was chosen later.
AT = 33.25
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
async def film(http, subtitled):
    company = Company(http)
    return await company.ready(await company.upload(subtitled), timeout=600)


@pytest.mark.parametrize(
    ("kind", "link"), [("hls.js", "hlsUrl"), ("shaka", "dashUrl"), ("shaka", "hlsUrl")]
)
@pytest.mark.parametrize(("language", "word"), [("en", "second"), ("de", "Sekunde")])
async def test_a_text_is_shown_at_its_time(stage, film, kind, link, language, word):
    played = await stage.play(
        f"text-{language}-{kind}-{link}", kind, film[link], language=language, at=AT
    )
    told = played.told
    assert told["fatal"] == []
    assert told["logged"] == []
    assert sorted(one["language"] for one in told["text"]["offered"]) == ["de", "en"]
    assert told["text"]["shown"] == [f"{word} 33"]
    # hls.js says 21 ms more than is written, which is less than a picture lasts.
    assert told["text"]["cues"] == [
        [pytest.approx(at, abs=0.03), pytest.approx(at + 0.5, abs=0.03), f"{word} {at}"]
        for at in range(1, 40)
    ]
