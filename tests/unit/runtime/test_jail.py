"""What a program can reach from within the jail, tried from within."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys

import pytest
from media_runtime import jail
from media_runtime.ffmpeg import Ffmpeg, FfmpegError, FfmpegInterruptedError
from media_runtime.jail import Jail, JailError, Limits

from support.eventually import eventually
from support.media_files import make_video
from support.surroundings import command_lines_with

LIMITS = Limits(cpu_seconds=5)
JAIL = Jail("bubblewrap")
ENDLESS = ("-f", "lavfi", "-i", "testsrc2=s=1280x720", "-f", "null", "-")


@pytest.fixture
def inside(tmp_path):
    """Run a shell script that reads one file and writes one folder; give its end and words."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "input").write_text("from outside\n")
    (tmp_path / "canary").write_text("the canary\n")

    def run(script: str, *, limits: Limits = LIMITS) -> subprocess.CompletedProcess[str]:
        command = JAIL.command(
            "/bin/bash",
            ["-c", script, "script", str(tmp_path)],
            reads=tmp_path / "folder" / "input",
            writes=tmp_path / "folder",
            limits=limits,
        )
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return run


def test_it_reads_its_input_and_writes_its_folder(inside, tmp_path):
    assert inside('cat "$1/folder/input" && echo made > "$1/folder/output"').stdout == (
        "from outside\n"
    )
    assert (tmp_path / "folder" / "output").read_text() == "made\n"


@pytest.mark.parametrize(
    "script",
    [
        'cat "$1/canary"',
        'echo x > "$1/folder/input"',
        'rm "$1/folder/input"',
        "echo x > /usr/x",
        "cat /etc/passwd",
        "cat /etc/shadow",
        "ls /root",
        "ls /sys",
        "mount -t tmpfs tmpfs /mnt",
        "unshare --user true && mount -t tmpfs tmpfs /mnt",
        "unshare --user --map-root-user true",
        "echo x > /x",
        "echo x > /tmp/x",
        "echo x > /dev/x",
        "echo x > /dev/shm/x",
        "mkdir /run /var",
    ],
)
def test_it_reaches_nothing_else(inside, tmp_path, script):
    done = inside(script)
    assert done.returncode != 0
    assert done.stdout == ""
    assert (tmp_path / "folder" / "input").read_text() == "from outside\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["canary", "folder", "input"]


def test_nothing_but_its_folder_can_be_written(inside, tmp_path):
    """What is in memory is no file of ours, but memory that no limit counts."""
    find = "find / -maxdepth 3 -writable -type d -not -path '/proc/*' -not -path /dev/pts"
    assert inside(f"{find}; echo x > /dev/null && echo null").stdout == "null\n"
    mounts = inside("cat /proc/self/mounts").stdout.splitlines()
    writable = {
        folder
        for _, folder, kind, options, *_ in map(str.split, mounts)
        if "rw" in options.split(",") and kind not in {"proc", "devpts", "devtmpfs"}
    }
    assert writable == {str(tmp_path / "folder")}


def test_it_has_no_network(inside):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        port = server.getsockname()[1]
        assert inside(f"exec 3<>/dev/tcp/127.0.0.1/{port}").returncode != 0
        with pytest.raises(TimeoutError):
            server.accept()


def test_it_sees_no_process_and_nothing_of_the_environment(inside, monkeypatch):
    monkeypatch.setenv("S3_SECRET_KEY", "the secret")
    done = inside("env; cat /proc/*/environ; cat /proc/*/cmdline | tr '\\0' ' '")
    assert "the secret" not in done.stdout
    assert len(inside("ls -d /proc/[0-9]*").stdout.split()) < 5


def test_it_is_nobody_and_may_nothing(inside):
    done = inside("id -u; grep -E 'Cap(Eff|Prm|Bnd)|NoNewPrivs' /proc/self/status")
    uid, *lines = done.stdout.split("\n")
    assert uid == "65534"
    assert dict(line.split(":\t") for line in lines if line) == {
        "CapPrm": "0" * 16, "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("script", "limits"),
    [
        ("head -c 300M /dev/zero | tail -c 200M > /dev/null", Limits(5, memory_bytes=100 * 2**20)),
        ('head -c 3M /dev/zero > "$1/folder/large"', Limits(5, file_bytes=2**20)),
        ("while true; do :; done", Limits(1)),
    ],
)
def test_it_has_limits(inside, script, limits):
    assert inside("set -o pipefail; set -e; " + script, limits=limits).returncode != 0
    assert inside("ulimit -u", limits=limits).stdout.strip() == str(limits.processes)


async def test_ffmpeg_opens_no_other_file_even_without_its_whitelists(tmp_path):
    """The walls hold where the options fail."""
    (tmp_path / "folder").mkdir()
    canary = make_video(tmp_path / "canary.mp4", seconds=0.5)
    script = tmp_path / "folder" / "input.mp4"
    script.write_text(f"ffconcat version 1.0\nfile '{canary}'\n")
    target = tmp_path / "folder" / "out.mp4"
    arguments = ["-f", "concat", "-safe", "0", "-i", f"file:{script}", str(target)]
    walled, bare = Ffmpeg(JAIL), Ffmpeg(Jail("none"))
    with pytest.raises(ValueError, match="input without"):
        await walled.run(arguments, reads=script, writes=target.parent, timeout_seconds=20)
    walled.input_options = bare.input_options = {}
    with pytest.raises(FfmpegError) as caught:
        await walled.run(arguments, reads=script, writes=target.parent, timeout_seconds=20)
    assert "No such file" in caught.value.stderr
    # Without walls it does.
    await bare.run(arguments, reads=script, writes=target.parent, timeout_seconds=20)
    assert target.stat().st_size > 0
    assert Ffmpeg(JAIL).input_options["protocol_whitelist"] == "file"


STARTS_MANY = """
import subprocess, sys
from media_runtime.jail import Jail, Limits
jail = Jail(sys.argv[1])
for _ in range(40):
    command = jail.command("/bin/sleep", [sys.argv[2]], limits=Limits(5))
    subprocess.Popen(command, start_new_session=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["bubblewrap", "none"])
@pytest.mark.parametrize("started", range(1, 6))
async def test_whoever_is_killed_leaves_no_program_behind(kind, started):
    """Not even one whose walls are being set up just then, as some are at any of these moments."""
    seconds = f"{3600 + os.getpid()}.{started}"

    def running() -> int:
        return len(command_lines_with(seconds))

    command = [sys.executable, "-P", "-c", STARTS_MANY, kind, seconds]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as starter:  # noqa: ASYNC220
        await eventually(lambda: running() > started)
        starter.kill()
    await eventually(lambda: running() == 0)


def test_what_was_started_by_somebody_who_died_does_not_start():
    command = JAIL.command("/bin/echo", ["here"], limits=LIMITS)
    assert subprocess.run(command, capture_output=True, check=False).stdout == b"here\n"
    orphan = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"]
    done = subprocess.run([*orphan, *command], capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"", b"")


async def test_a_jail_that_breaks_is_not_the_files_fault(tmp_path):
    with pytest.raises(FfmpegInterruptedError, match="the jail"):
        await Ffmpeg(JAIL).run(
            [*ENDLESS], reads=tmp_path / "missing", writes=tmp_path, timeout_seconds=60
        )


def test_without_a_jail_that_works_nothing_starts(tmp_path, monkeypatch):
    false = tmp_path / "bwrap"
    false.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    false.chmod(0o755)
    jail._closing.cache_clear()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(JailError, match="No permissions to create"):
        Jail("bubblewrap")
    assert Jail("none").kind == "none"
    assert "bwrap" not in Jail("none").command("/bin/true", [], reads=false, limits=jail.Limits(1))
    jail._closing.cache_clear()


def test_an_older_bubblewrap_leaves_one_wall_away_and_says_so(tmp_path, monkeypatch, capsys):
    """It is still a jail; which is not so of one that fails altogether."""
    older = tmp_path / "bwrap"
    older.write_text(
        "#!/bin/sh\n"
        'case " $* " in *" --disable-userns "*)'
        " echo 'bwrap: Unknown option --disable-userns' >&2; exit 1;; esac\n"
        f'exec {shutil.which("bwrap")} "$@"\n'
    )
    older.chmod(0o755)
    jail._closing.cache_clear()
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        command = Jail("bubblewrap").command("/bin/true", [], limits=LIMITS)
        assert "--disable-userns" not in command
        assert subprocess.run(command, check=False).returncode == 0
    assert "Unknown option --disable-userns" in capsys.readouterr().out
    jail._closing.cache_clear()
    assert "--disable-userns" in Jail("bubblewrap").command("/bin/true", [], limits=LIMITS)


def test_an_input_that_is_missing_or_a_link_out_opens_nothing(tmp_path):
    (tmp_path / "canary").write_text("the canary\n")
    link = tmp_path / "link"
    link.symlink_to("/etc/passwd")
    command = JAIL.command("/bin/cat", [str(tmp_path / "canary")], reads=link, limits=LIMITS)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode != 0, done.stdout) == (True, "")
