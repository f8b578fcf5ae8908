"""Subtitles become WebVTT: at their times, in their languages, and as nothing but text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from ingest.film import text as texts
from ingest.film.text import Cue, Packet, clean, cues, packets, webvtt
from ingest.outputs import text as doing
from ingest.outputs import video
from ingest.outputs.source import Source
from ingest.settings import IngestSettings
from media_contracts import FileKind, MediaKind, Text, VideoOutput
from media_contracts.warnings import WarningCode
from media_records.files import Segment
from media_runtime.media.languages import tag_of

from support.films import FFMPEG, Film, made_of, silence_progress
from support.making import Making, an_asset
from support.media_files import run_ffmpeg

OUTPUT = VideoOutput(name="video", short_sides=(48,), preset="ultrafast", loudness=None)
ENGLISH = """1
00:00:00,123 --> 00:00:01,457
Hello <i>there</i> & <font color="red">you</font>
two <3

2
00:00:01,500 --> 00:00:02,001
{\\an8}C:\\new --> x

3
00:00:01,900 --> 00:00:09,000
Fin.
"""
FRENCH = """[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.10,0:00:00.90,Default,,0,0,0,,{\\i1\\pos(1,2)}Bonjour{\\i0}, \\Ntout, le monde
Dialogue: 0,0:00:01.00,0:00:01.04,Default,,0,0,0,,{\\p1}m 0 0 l 10 0{\\p0}Un {\\bord2}signe
Dialogue: 0,0:00:01.04,0:00:01.08,Default,,0,0,0,,{\\p1}m 0 0 l 20 0{\\p0}Un {\\bord3}signe
Dialogue: 0,0:00:01.20,0:00:01.90,Default,,0,0,0,,{\\p1}m 0 0 l 10 0
"""
SECONDS = 2


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    silence_progress(monkeypatch)


def subtitled(path: Path, *options: str, texts: dict[str, str], codec: str = "copy") -> Path:
    """Write a film of 2 s with these texts, by the names of their files."""
    inputs: list[str] = []
    for name, text in texts.items():
        path.with_name(name).write_text(text)
        inputs += ["-i", str(path.with_name(name))]
    maps = [word for number in range(len(texts) + 1) for word in ("-map", str(number))]
    run_ffmpeg(
        "-f", "lavfi", "-i", f"testsrc2=size=64x48:rate=25:duration={SECONDS}", *inputs, *maps,
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:s", codec,
        *options, str(path),
    )  # fmt: skip
    return path


def texts_of(film: Film) -> dict[str, tuple[Text, list[str]]]:
    """Return what is told of each text, and its cues, by the names of their files."""
    files = [file for done in film.made.done.values() for file in done.files]
    return {
        file.name: (
            Text.model_validate_json(file.layout),
            film.made.files[file.name].read_text().split("\n\n"),
        )
        for file in files
        if isinstance(file, Segment) and file.kind == FileKind.TEXT
    }


async def test_each_text_of_a_film_becomes_a_file_with_what_is_known_of_it(tmp_path):
    path = subtitled(
        tmp_path / "film.mkv",
        *("-metadata:s:s:0", "language=eng", "-disposition:s:0", "default+hearing_impaired"),
        *("-metadata:s:s:1", "language=fre", "-metadata:s:s:1", 'title=Texte "F"'),
        *("-disposition:s:1", "forced"),
        texts={"en.srt": ENGLISH, "fr.ass": FRENCH},
    )
    film = await made_of(path, tmp_path / "made", OUTPUT)
    found = texts_of(film)
    assert list(found) == ["video-text-0", "video-text-1"]
    english, said = found["video-text-0"]
    assert english == Text(language="en", default=True, hearing_impaired=True)
    assert said == [
        "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0",
        "00:00:00.123 --> 00:00:01.457\nHello there &amp; you\ntwo &lt;3",
        "00:00:01.500 --> 00:00:02.000\nC:\\new --&gt; x",
        "00:00:01.900 --> 00:00:02.000\nFin.\n",
    ]
    french, said = found["video-text-1"]
    assert french == Text(language="fr", title='Texte "F"', forced=True)
    assert said[1:] == [
        "00:00:00.100 --> 00:00:00.900\nBonjour,\ntout, le monde",
        "00:00:01.000 --> 00:00:01.080\nUn signe\n",
    ], "styles and drawings are gone, and what is drawn anew is one cue"
    assert not film.warnings
    assert [(one.codec, one.language) for one in film.source.probe.text] == [
        ("subrip", "en"), ("ass", "fr"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4", "film.mov"])
async def test_cues_are_shown_with_the_pictures_that_they_were_shown_with(tmp_path, name):
    codec = "copy" if name.endswith("mkv") else "mov_text"
    # Sound begins half a second before the picture, which begins late as well.
    plain = subtitled(tmp_path / f"plain-{name}", texts={"en.srt": ENGLISH}, codec=codec)
    path = tmp_path / name
    run_ffmpeg(
        *("-itsoffset", "1.48", "-i", str(plain), "-copyts", "-map", "0", "-c", "copy"),
        *("-avoid_negative_ts", "disabled", str(path)),
    )
    film = await made_of(path, tmp_path / "made", OUTPUT)
    assert list(film.made.done)[:2] == ["video-early", "video-text"]
    if name.endswith("mkv"):
        assert film.source.grid.origin == Fraction(148, 100)
    ((_, said),) = texts_of(film).values()
    assert [one.partition("\n")[0] for one in said[1:]] == [
        "00:00:00.123 --> 00:00:01.457",
        # In MP4 no two cues are there at once.
        f"00:00:01.500 --> 00:00:0{'2.000' if name.endswith('mkv') else '1.900'}",
        "00:00:01.900 --> 00:00:02.000",
    ]


async def test_a_film_in_one_piece_has_its_texts_by_its_own_clock(tmp_path):
    path = subtitled(tmp_path / "film.mkv", "-output_ts_offset", "1.48", texts={"en.srt": ENGLISH})
    info = await FFMPEG.probe(path)
    assert info.video is not None
    source = Source(
        MediaKind.VIDEO, 64, 48, video=info.video, texts=info.text_streams,
        duration_seconds=SECONDS, starts_at=info.start_seconds,
    )  # fmt: skip
    settings = IngestSettings(
        kafka_bootstrap_servers="k", database_url="postgresql://d", s3_endpoint_url="http://s",
        s3_access_key="k", s3_secret_key="s", scratch_dir=tmp_path,
    )  # fmt: skip
    text, whole = video.plan([OUTPUT], source)
    assert (text.name, whole.name) == ("video-whole-text", "video-whole")
    asset = an_asset("video/x-matroska", 1_000_000)
    made = await Making(settings, FFMPEG, tmp_path / "made").all([text], path, asset)
    assert not made.warnings
    assert made.files["video-text-0"].read_text().split("\n\n")[1:] == [
        "00:00:00.123 --> 00:00:01.457\nHello there &amp; you\ntwo &lt;3",
        "00:00:01.500 --> 00:00:02.000\nC:\\new --&gt; x",
        "00:00:01.900 --> 00:00:02.000\nFin.\n",
    ]


async def test_texts_that_cannot_be_read_never_fail_a_film(tmp_path, monkeypatch):
    path = subtitled(tmp_path / "film.mkv", texts={"en.srt": ENGLISH})
    command = texts.text_command
    monkeypatch.setattr(
        doing,
        "text_command",
        lambda source, folder, _, options: command(source, folder, [7], options),
    )
    film = await made_of(path, tmp_path / "made", OUTPUT)
    assert film.made.files["video"].exists()
    assert texts_of(film) == {}
    assert film.warnings == {WarningCode.TEXT_LEFT_OUT}


async def test_texts_without_end_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "_MOST_TOLD", texts._MOST_TOLD // 8)
    clock = [f"00:00:{n // 2000:02},{n // 2 % 1000:03}" for n in range(3740)]
    endless = "".join(f"{n}\n{at} --> 00:00:02,000\n{n}\n\n" for n, at in enumerate(clock, 1))
    names = [f"{language}.srt" for language in ("en", "de", "fr", "es")]
    path = subtitled(tmp_path / "film.mkv", texts=dict.fromkeys(names, endless))
    film = await made_of(path, tmp_path / "made", OUTPUT)
    assert film.warnings == {WarningCode.TEXT_LEFT_OUT}
    assert 1250 < sum(len(said) for _, said in texts_of(film).values()) < 11_250


def test_all_texts_together_are_bounded():
    assert texts.most_bytes(1) == 16 * 1024**2
    assert texts.MOST_TRACKS * texts.most_bytes(texts.MOST_TRACKS) == 32 * 1024**2


def read(codec: str, *stored: bytes, lasts: float = 1, seconds: int = 100) -> list[Cue]:
    """Return the cues of packets that come one a second."""
    found = [Packet(Fraction(at), Fraction(lasts), data) for at, data in enumerate(stored)]
    return list(cues(found, codec, origin=Fraction(0), seconds=Fraction(seconds)))


@pytest.mark.parametrize(
    ("codec", "stored", "text"),
    [
        ("subrip", b"a\0b\x1b[31m\x7fc\r\n\r\n\r\nd", "ab[31mc\nd"),
        ("subrip", b"<script>x</script><b onclick=x>B</b>", "&lt;script&gt;x&lt;/script&gt;B"),
        ("subrip", b"x\n\n00:01.000 --> 00:09.000\ny", "x\n00:01.000 --&gt; 00:09.000\ny"),
        ("subrip", b"caf\xe9 \xff", "caf\ufffd \ufffd"),
        ("text", b"{\\an8}<i>", "{\\an8}&lt;i&gt;"),
        ("webvtt", b"<v Bob><c.x>&lt;i&gt;</c> <00:01.000>&#0;it", "&lt;i&gt; \ufffdit"),
        ("mov_text", b"\0\x02hi\0\0\0\x0cstyl\0\x01\0\0", "hi"),
        ("mov_text", b"\0\x06\xfe\xff\0h\0i", "hi"),
        ("mov_text", b"\xff\xffhi", "hi"),
        ("mov_text", b"\0", ""),
        ("ass", rb"0,0,S,,0,0,0,,{\k20}ka{\k30}ra\hok\e {unclosed", "kara\u00a0ok\\e {unclosed"),
        ("ass", rb"0,0,S,,0,0,0,,{\pos(1,2)\p4}m 0 0{\p0}a{\pbo3}b", "ab"),
        ("ass", b"no event", ""),
    ],
)  # fmt: skip
def test_nothing_but_text_comes_into_a_cue(codec, stored, text):
    assert [one.text for one in read(codec, stored)] == ([text] if text else [])


def test_a_cue_is_a_few_lines_of_bounded_length():
    assert len(clean("x" * 1_000_000)) == 1000
    assert clean("\n".join("abcdefghijklmnopqrstuvwxyz")).count("\n") == 11
    assert clean(" \u2028 a \n\n\t\n b\x85") == "a\nb"


def test_cues_stay_within_the_film():
    found = [
        Packet(Fraction(at), Fraction(lasts), text.encode())
        for at, lasts, text in [(-5, 3, "before"), (-1, 2, "early"), (8, 5, "late"), (11, 1, "no")]
    ]
    shown = list(cues(found, "text", origin=Fraction(0), seconds=Fraction(10)))
    assert shown == [Cue(0, 1000, "early"), Cue(8000, 10_000, "late")]


def test_a_cue_that_does_not_tell_how_long_ends_with_the_next_one():
    assert read("text", b"a", b"b", lasts=0) == [Cue(0, 1000, "a"), Cue(1000, 6000, "b")]


def test_a_text_that_is_too_long_is_cut_between_two_cues():
    text, is_all = webvtt(Cue(at, at + 1, "y" * 990 + str(at)) for at in range(5000))
    assert not is_all
    assert 3_900_000 < len(text) <= 4 * 1024**2 + 100
    assert text.endswith("\n")
    assert webvtt([Cue(3_723_004, 3_723_005, "x")])[0].splitlines()[3] == (
        "01:02:03.004 --> 01:02:03.005"
    )


def test_packets_are_read_as_far_as_they_are_stored():
    told: Sequence[str] = (
        "#tb 0: 1/90000", "#tb 1: 1/1000",
        "0,      90000,      90000,    45000,        2, 0x1",
        "1,          7,          7,        1,        9, 0x2, S=1, 4, 0x3",
        "0,      NOPTS,      NOPTS,        0,        1, 0x4",
        "0,     180000,     180000,        0,        1, 0x5",
        "0,     270000,     270000,        0,     9999, 0x6",
    )  # fmt: skip
    found = list(packets(told, io.BytesIO(b"ab?c..."), 0))
    assert found == [
        Packet(Fraction(1), Fraction(1, 2), b"ab"), Packet(Fraction(2), Fraction(0), b"c"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "tag"),
    [("eng", "en"), ("fre", "fr"), ("fra", "fr"), ("GER", "de"), ("yue", "yue"), ("pt_BR", "pt-BR"),
     ("zho-Hant", "zh-Hant"), ("und", "und"), (None, "und"), ("", "und"), ("English", "und"),
     ('en"x', "und"), ("e\u017f", "und"), ("a" * 99, "und")],
)  # fmt: skip
def test_a_language_is_named_as_the_web_names_it(said, tag):
    assert tag_of(said) == tag
