"""The films that are made and measured, by what is told apart in them."""

from __future__ import annotations

from exactness.sources import (
    AV1,
    MPEG2,
    MPEG4,
    VP8,
    VP9,
    X264,
    X265,
    Recipe,
    Sound,
    copied,
    lost_sound,
    set_on,
    through_a_pipe,
    turned,
    without_index,
)

_G50 = ("-g", "50")
_X264 = (*X264, *_G50)
_MPEG2, _MPEG4 = (*MPEG2, "-g", "12"), (*MPEG4, *_G50)
_LIVE = ("-f", "matroska", "-live", "1")
# A clock of 33 bits ends after this many seconds.
_WRAPS = 2**33 / 90_000


def _opus(rate: int = 48_000) -> Sound:
    return Sound(("-c:a", "libopus", "-b:a", "96k"), rate=rate)


def _sound(*options: str, **more: float) -> Sound:
    return Sound(("-c:a", *options), **more)  # type: ignore[arg-type]


def _params(*pairs: str) -> tuple[str, ...]:
    return ("-x264-params", ":".join(pairs))


RATES = (
    *(
        Recipe(f"rate {name}.mp4", rate)
        for name, rate in {
            "23.976": "24000/1001", "24": "24", "25": "25", "29.97": "30000/1001", "30": "30",
            "48": "48", "50": "50", "59.94": "60000/1001", "60": "60", "10": "10", "15": "15",
        }.items()
    ),
    *(
        Recipe(f"rate {name}.{kind}", rate)
        for name, rate, kind in (
            ("23.976", "24000/1001", "mkv"), ("29.97", "30000/1001", "mkv"),
            ("59.94", "60000/1001", "mkv"), ("29.97", "30000/1001", "ts"),
            ("59.94", "60000/1001", "ts"), ("24", "24", "mov"),
        )
    ),
    *(Recipe(f"rate {rate}.mp4", rate, keeps_all=False) for rate in ("90", "100", "120")),
    Recipe("rate 119.88.mkv", "120000/1001", keeps_all=False),
    Recipe("rate 29.97, clock of 600.mov", "30000/1001", options=("-video_track_timescale", "600")),
)  # fmt: skip

UNEVEN = (
    Recipe("uneven, pictures left out.mp4", "30", keeps_all=False,
           kept="not(eq(mod(n,7),3)+eq(mod(n,11),5))"),
    Recipe("uneven, a phone's clock.mp4", "30", when="N/30+0.006*sin(N*2.4)"),
    Recipe("uneven, a phone's clock.mkv", "30", when="N/30+0.004*sin(N*2.4)"),
    Recipe("uneven, a phone in the dark.mp4", "30", keeps_all=False, seconds=16,
           when="if(lt(N,150),N/30,if(lt(N,300),5+(N-150)/20,12.5+(N-300)/24))"),
    Recipe("uneven, a screen with pauses.webm", "30", keeps_all=False, sound=_opus(),
           codec=(*VP8, *_G50), kept="lt(mod(n,180),40)+eq(mod(n,97),0)"),
    Recipe("uneven, a screen with pauses.mp4", "30", keeps_all=False,
           kept="lt(mod(n,240),60)+eq(mod(n,113),0)"),
    Recipe("uneven, a pause of 12 s.mp4", "30", keeps_all=False, seconds=24, pieces=0,
           kept="lt(n,120)+gt(n,480)", why="a gap of more than 10 s is not believed"),
    Recipe("uneven, 30 then 24.mp4", "30", keeps_all=False, seconds=18,
           when="if(lt(N,270),N/30,9+(N-270)/24)"),
    Recipe("uneven, 60 then 30.mkv", "60", keeps_all=False, seconds=14,
           when="if(lt(N,420),N/60,7+(N-420)/30)"),
    Recipe("uneven, 25 then 50.mp4", "50", keeps_all=False, seconds=15,
           when="if(lt(N,250),N/25,10+(N-250)/50)"),
    Recipe("uneven, slower by a thousandth.mp4", "30", keeps_all=False, when="N/29.985"),
)  # fmt: skip

GROUPS = (
    Recipe("B-frames, many.mp4", codec=(*_X264, *_params("bframes=8", "b-adapt=0"))),
    Recipe("B-frames, pyramid.mkv", codec=(*_X264, *_params("bframes=5", "b-pyramid=normal"))),
    Recipe("B-frames, none.mp4", codec=(*_X264, "-bf", "0")),
    Recipe("open groups, H.264.mp4", codec=(*_X264, *_params("open-gop=1", "bframes=3"))),
    Recipe("open groups, H.264.ts", codec=(*_X264, *_params("open-gop=1", "bframes=3"))),
    Recipe("open groups, H.264.mkv", codec=(*_X264, *_params("open-gop=1", "bframes=3"))),
    Recipe("open groups, HEVC.mp4",
           codec=(*X265, "-x265-params", "log-level=error:keyint=50:open-gop=1:bframes=4")),
    Recipe("open groups, MPEG-2.ts", codec=(*_MPEG2, "-bf", "2")),
    Recipe("open groups, MPEG-2.mpg", codec=(*_MPEG2, "-bf", "2"), sound=_sound("mp2"),
           keeps_all=False, pieces=0, why="two pictures come with one time"),
    Recipe("groups of 300.mp4", codec=(*X264, "-g", "300", "-sc_threshold", "0")),
    Recipe("groups of 300.ts", codec=(*X264, "-g", "300", "-sc_threshold", "0")),
    Recipe("key frames alone.mp4", codec=(*X264, "-g", "1")),
    Recipe("one key frame.mp4", codec=(*X264, "-g", "9999", "-sc_threshold", "0")),
    Recipe("one key frame of 40 s.mp4", "10", seconds=40, pieces=1,
           codec=(*X264, "-g", "9999", "-sc_threshold", "0")),
    Recipe("no key frame but one, intra refresh.ts", pieces=0,
           codec=(*X264, "-g", "50", *_params("intra-refresh=1"))),
)  # fmt: skip

SHAPES = (
    Recipe("turned by 90.mp4", picture=("transpose=2",), finish=(turned(90),)),
    Recipe("turned by 180.mp4", picture=("hflip,vflip",), finish=(turned(180),)),
    Recipe("turned by 270.mov", picture=("transpose=1",), finish=(turned(270),)),
    Recipe("odd sides.webm", size="193x109", codec=(*VP9, *_G50), sound=_opus()),
    Recipe("odd sides.mp4", size="191x107",
           codec=("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv444p", *_G50)),
    Recipe("wide pixels.mp4", size="144x108", picture=("setsar=4/3",)),
    Recipe("narrow pixels.ts", size="216x108", picture=("setsar=8/9",), codec=_MPEG2),
    Recipe("portrait.mp4", size="108x192"),
    Recipe("fields.ts", codec=(*_MPEG2, "-flags", "+ildct+ilme", "-top", "1")),
    Recipe("fields, H.264.ts", "30000/1001", codec=(*_X264, "-flags", "+ildct+ilme")),
)  # fmt: skip

SOUNDS = (
    Recipe("sound, none.mp4", sound=None),
    Recipe("sound, shorter.mp4", sound=Sound(seconds=12)),
    Recipe("sound, longer.mp4", sound=Sound(seconds=24)),
    Recipe("sound, longer.mkv", sound=Sound(seconds=22.5)),
    Recipe("sound, later.mp4", sound=Sound(late=1.5)),
    Recipe("sound, later.ts", sound=Sound(late=1.5)),
    Recipe("sound, later.mkv", sound=Sound(late=0.7)),
    Recipe("sound, earlier.mp4", late=1.0),
    Recipe("sound, earlier.mkv", late=1.0),
    Recipe("sound, earlier by 60 ms.mp4", late=0.06),
    Recipe("sound, 44.1 kHz.mp4", sound=Sound(rate=44_100)),
    Recipe("sound, 22.05 kHz, mono.mp4", sound=Sound(rate=22_050, channels=1)),
    Recipe("sound, mono.mkv", sound=Sound(channels=1)),
    Recipe("sound, 5.1.mp4", sound=Sound(channels=6)),
    Recipe("sound, Opus.mkv", sound=_opus()),
    Recipe("sound, Vorbis.webm", codec=(*VP8, *_G50), sound=_sound("libvorbis")),
    Recipe("sound, MP3.mp4", sound=_sound("libmp3lame")),
    Recipe("sound, MP3.mkv", sound=_sound("libmp3lame", rate=44_100)),
    Recipe("sound, AC-3.ts", sound=_sound("ac3")),
    Recipe("sound, E-AC-3.mp4", sound=_sound("eac3")),
    Recipe("sound, PCM.mov", sound=_sound("pcm_s16le")),
    Recipe("sound, FLAC.mkv", sound=_sound("flac")),
    Recipe("sound, packets lost.ts", finish=(lost_sound(*range(200, 204), *range(500, 502)),)),
    Recipe("sound, packets lost.mkv", finish=(lost_sound(*range(300, 320)),)),
)  # fmt: skip

CONTAINERS = (
    Recipe("edit list, begins within a group.mp4", seconds=22, cut=43,
           finish=(copied(before=("-ss", "1.7")),)),
    Recipe("fragments.mp4", options=("-movflags", "+frag_keyframe+empty_moov+default_base_moof")),
    Recipe("fragments, no times of its own.mp4", options=("-movflags", "+frag_keyframe+empty_moov",
           "-frag_duration", "1000000")),
    Recipe("index first.mov", options=("-movflags", "+faststart")),
    Recipe("a phone's.3gp", codec=_X264),
    Recipe("no cues, no length.mkv", finish=(through_a_pipe(*_LIVE),)),
    Recipe("no cues, no length.webm", codec=(*VP8, *_G50), sound=_opus(),
           finish=(through_a_pipe("-f", "webm", "-live", "1"),)),
    Recipe("a large clock.ts", options=("-output_ts_offset", "40000")),
    Recipe("a clock that ends.ts", options=("-output_ts_offset", f"{_WRAPS - 10:.3f}")),
    Recipe("a clock that ends, MPEG-2.ts", codec=_MPEG2, sound=_sound("mp2"),
           options=("-output_ts_offset", f"{_WRAPS - 12:.3f}")),
    Recipe("recorded with a pause.ts", finish=(set_on(10, 30),), jumps=True,
           pieces=0, why="a gap of more than 10 s is not believed"),
    Recipe("a camera's.m2ts", "30000/1001", sound=_sound("ac3")),
    Recipe("MPEG-1.mpg", codec=("-c:v", "mpeg1video", "-b:v", "2M", "-g", "15"),
           sound=_sound("mp2", rate=44_100)),
    Recipe("index.avi", codec=_MPEG4, sound=_sound("libmp3lame")),
    Recipe("no index.avi", codec=_MPEG4, sound=_sound("libmp3lame"), finish=(without_index,)),
    Recipe("B-frames.avi", codec=(*_MPEG4, "-bf", "2"), sound=_sound("libmp3lame")),
    Recipe("H.264.avi", codec=(*_X264, "-bf", "0"), sound=_sound("pcm_s16le")),
)  # fmt: skip

CODECS = (
    Recipe("HEVC.mp4", codec=(*X265, "-x265-params", "log-level=error:keyint=50")),
    Recipe("HEVC, 10 bits.mkv",
           codec=(*X265, "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=error:keyint=50")),
    Recipe("HEVC.ts", codec=(*X265, "-x265-params", "log-level=error:keyint=50")),
    Recipe("MPEG-4, B-frames.mp4", codec=(*_MPEG4, "-bf", "2")),
    Recipe("MPEG-4, Microsoft's.avi", codec=("-c:v", "msmpeg4", "-q:v", "4", *_G50),
           sound=_sound("libmp3lame")),
    Recipe("VP8.webm", codec=(*VP8, *_G50), sound=_opus()),
    Recipe("VP8, hidden pictures.webm", sound=_opus(),
           codec=("-c:v", "libvpx", "-deadline", "good", "-cpu-used", "5", "-auto-alt-ref", "1",
                  "-lag-in-frames", "16", "-b:v", "1M", "-g", "60")),
    Recipe("VP9.webm", "30000/1001", codec=(*VP9, "-g", "60"), sound=_opus()),
    Recipe("VP9, hidden pictures.webm", sound=_opus(),
           codec=("-c:v", "libvpx-vp9", "-deadline", "good", "-cpu-used", "5", "-b:v", "1M",
                  "-lag-in-frames", "16", "-g", "60")),
    Recipe("AV1.mp4", codec=(*AV1, *_G50)),
    Recipe("AV1.webm", codec=(*AV1, *_G50), sound=_opus()),
    Recipe("Motion JPEG.mov", codec=("-c:v", "mjpeg", "-q:v", "4"), sound=_sound("pcm_s16le")),
    Recipe("Motion JPEG.avi", "30", codec=("-c:v", "mjpeg", "-q:v", "4"),
           sound=_sound("pcm_s16le", rate=22_050, channels=1)),
    Recipe("ProRes.mov", codec=("-c:v", "prores_ks", "-profile:v", "0"),
           sound=_sound("pcm_s16le")),
    Recipe("DNxHR.mov", size="320x180", sound=_sound("pcm_s16le"),
           codec=("-c:v", "dnxhd", "-profile:v", "dnxhr_lb", "-pix_fmt", "yuv422p")),
)  # fmt: skip

ALL = (*RATES, *UNEVEN, *GROUPS, *SHAPES, *SOUNDS, *CONTAINERS, *CODECS)
