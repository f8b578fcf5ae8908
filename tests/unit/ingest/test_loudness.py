"""Films of any loudness become equally loud, and no peak is higher than players can play."""

from __future__ import annotations

from pathlib import Path

import pytest
from ingest.film.loudness import Loudness, correction, loudness_in, measure

from unit.ingest.test_chunk import FFMPEG
from unit.ingest.test_soundtrack import SOUND, grid_of, heard, samples, tone

SECONDS = 5
LOW = "0.06*sin(2*PI*440*t)"
# Not at the very beginning, where the encoder has no packet before.
HIT = "0.85*exp(-40*mod(t-0.3,1))*sin(2*PI*80*mod(t-0.3,1))"
NOISE = "0.5*exp(-90*mod(t-0.3,1))*(random(0)-0.5)"
DRUM = f"{LOW}+gt(t,0.3)*({HIT}+{NOISE})"
TONES = {
    "quiet": "0.02*sin(2*PI*440*t)|0.02*sin(2*PI*660*t)",
    "loud": "0.9*sin(2*PI*440*t)|0.9*sin(2*PI*660*t)",
    "mono": "0.1*sin(2*PI*440*t)",
    "peaky": f"{LOW}+if(gt(t,0.3)*lt(mod(t-0.3,0.9),0.0001),0.85,0)",
}


async def levels(source: Path) -> Loudness:
    measured = await measure(FFMPEG, source, SOUND, source.parent, max_seconds=SECONDS)
    assert measured is not None
    return measured


@pytest.mark.parametrize("name", TONES)
async def test_a_film_is_as_loud_as_others(tmp_path, name):
    source = tone(tmp_path / "film.mka", TONES[name], SECONDS, "-c:a", "flac", rate=44_100)
    before = await levels(source)
    assert abs(before.integrated + 16) > 4
    louder = correction(before)
    assert [one.name for one in louder[1:]] == (
        ["aresample", "alimiter", "aresample"] if name == "peaky" else []
    )
    await heard(source, tmp_path / "made.mp4", grid_of(SECONDS), louder=louder)
    after = await levels(tmp_path / "made.mp4")
    # What is limited is quieter.
    assert after.integrated == pytest.approx(-16, abs=1 if name == "peaky" else 0.5)
    assert after.peak <= -1


async def test_peaks_are_limited_where_they_are(tmp_path):
    source = tone(tmp_path / "film.mka", DRUM, SECONDS, "-c:a", "flac")
    before = await levels(source)
    louder = correction(before)
    await heard(source, tmp_path / "made.mp4", grid_of(SECONDS), louder=louder)
    after = await levels(tmp_path / "made.mp4")
    assert before.integrated < after.integrated < -16
    assert after.peak <= -1
    await heard(source, tmp_path / "plain.mp4", grid_of(SECONDS))
    begins = [
        next(n for n, one in enumerate(samples(tmp_path / f"{name}.mp4")) if abs(one) > 0.3) // 2
        for name in ("plain", "made")
    ]
    assert abs(begins[0] - begins[1]) < 48  # a millisecond


async def test_silence_stays_as_it_is(tmp_path):
    source = tone(tmp_path / "film.m4a", "0|0", SECONDS)
    measured = await levels(source)
    assert measured.integrated < -60
    assert correction(measured) == []


async def test_what_is_not_decoded_has_no_loudness(tmp_path):
    source = tmp_path / "film.m4a"
    source.write_bytes(tone(tmp_path / "whole.m4a", "0|0", 1).read_bytes()[:600])
    assert await measure(FFMPEG, source, SOUND, tmp_path, max_seconds=1) is None
    assert correction(None) == []


@pytest.mark.parametrize(
    ("integrated", "peak", "gain", "is_limited"),
    [
        (-23.0, -10.0, "7.00dB", False),
        (-23.0, -8.4, "7.00dB", True),
        (-50.0, -40.0, "20.00dB", False),
        (10.0, 12.0, "-20.00dB", False),
        (-16.0, -1.0, "0.00dB", True),
    ],
)
def test_a_gain_is_bounded_and_peaks_are_limited_where_they_need_it(
    integrated, peak, gain, is_limited
):
    found = correction(Loudness(integrated, peak))
    assert found[0].words == {"volume": gain}
    assert any(one.name == "alimiter" for one in found) == is_limited


@pytest.mark.parametrize("integrated", [-60.1, -70.0, float("-inf"), float("nan")])
def test_what_is_too_quiet_to_be_meant_is_left_alone(integrated):
    assert correction(Loudness(integrated, -50.0)) == []


def test_the_last_summary_counts():
    told = "title: Summary: I: -5.0 LUFS Peak: 0.0 dBFS\n"
    said = "Summary:\n\n  Integrated loudness:\n    I:  -21.8 LUFS\n\n True peak:\n Peak: -inf dBFS"
    assert loudness_in(told + said) == Loudness(-21.8, float("-inf"))
    assert loudness_in("") is loudness_in("Summary:\n I: nothing LUFS") is None
