"""What a program can reach from within the sandbox, tried from within."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from media_runtime.media import ffmpeg as ffmpeg_module
from media_runtime.media import sandbox
from media_runtime.media.ffmpeg import Ffmpeg, FfmpegError, FfmpegInterruptedError
from media_runtime.media.sandbox import Limits, Sandbox, SandboxError
from media_runtime.media.seccomp import sandbox_filter

from support.eventually import eventually
from support.media_files import make_video
from support.surroundings import command_lines_with
from support.tiers import PATIENCE

LIMITS = Limits(cpu_seconds=5)
SANDBOX = Sandbox("bubblewrap")
ENDLESS = ("-f", "lavfi", "-i", "testsrc2=s=1280x720", "-f", "null", "-")


@pytest.fixture
def inside(tmp_path):
    """Run a shell script that reads one file and writes one folder; give its end and words."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "input").write_text("from outside\n")
    (tmp_path / "canary").write_text("the canary\n")

    def run(script: str, *, limits: Limits = LIMITS) -> subprocess.CompletedProcess[str]:
        command = SANDBOX.command(
            "/bin/bash",
            ["-c", script, "script", str(tmp_path)],
            reads=tmp_path / "folder" / "input",
            writes=tmp_path / "folder",
            limits=limits,
        )
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60 * PATIENCE
        )

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
        # Whoever opens what lies in the folder would follow a link, and wait for a pipe.
        'ln -s /etc/passwd "$1/folder/link"',
        'ln "$1/folder/input" "$1/folder/link"',
        'mkfifo "$1/folder/pipe"',
        'mkdir "$1/folder/deeper"',
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


CALLS = """
import ctypes, errno, sys
call = ctypes.CDLL(None, use_errno=True).syscall
for name, *words in [line.split() for line in sys.argv[1].splitlines()]:
    ctypes.set_errno(0)
    result = call(*(int(word, 0) for word in words))
    print(name, "works" if result >= 0 else errno.errorcode[ctypes.get_errno()])
"""
NUMBERS = {
    "x86_64": {
        "ptrace": "101 0 0 0 0",
        "bpf": "321 0 0 0",
        "userfaultfd": "323 1",
        "keyctl": "250 0 -3 0",
        "perf_event_open": "298 0 0 -1 -1 0",
        "io_uring_setup": "425 1 0",
        "mount": "165 0 0 0 0 0",
        "unshare": "272 0x10000000",
        "clone of a namespace": "56 0x10000011 0 0 0 0",
        "clone3": "435 0 0",
        "socket": "41 1 1 0",
        "memfd_create": "319 0 0",
        "process_vm_readv": "310 1 0 0 0 0 0",
        "a call of x32": "0x40000000 0 0 0",
        "a call that is newer": "460 0 0 0",
        "getpid": "39",
    },
}
ANSWERS = {
    "io_uring_setup": "ENOSYS", "clone3": "ENOSYS",
    "a call of x32": "ENOSYS", "a call that is newer": "ENOSYS", "getpid": "works",
}  # fmt: skip


@pytest.mark.skipif(platform.machine() not in NUMBERS, reason="numbers are of another machine")
def test_its_system_calls_are_those_that_decoders_need():
    """The kernel's surface for namespaces, tracing, rings and keys is not there."""
    calls = NUMBERS[platform.machine()]
    words = "\n".join(f"{name.replace(' ', '-')} {call}" for name, call in calls.items())
    command = SANDBOX.command(
        sys.executable,
        ["-I", "-c", CALLS, words],
        libraries=[Path(sys.prefix), Path(sys.base_prefix)],
        limits=LIMITS,
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = dict(line.split() for line in done.stdout.splitlines())
    assert found == {name.replace(" ", "-"): ANSWERS.get(name, "EPERM") for name in calls}


def test_an_unnamed_file_takes_no_space_in_its_folder(inside):
    script = "import os, sys; os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR)"
    assert "Operation not permitted" in inside(f'python3 -c "{script}" "$1/folder"').stderr


def test_each_machine_has_a_filter_whose_jumps_stay_inside():
    for machine in ("x86_64", "aarch64"):
        program = sandbox_filter(machine)
        assert program is not None
        steps = list(struct.iter_unpack("=HBBI", program))
        assert all(at + 1 + max(step[1:3]) < len(steps) for at, step in enumerate(steps[:-1]))
        assert steps[-1][0] == 0x06
    assert sandbox_filter("riscv64") is None


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    """Run a shell script in place of ffmpeg, as somebody could who broke a decoder."""

    def run(script: str, *, kind: str = "bubblewrap"):
        program = Path(tempfile.mkdtemp(dir=tmp_path)) / "ffmpeg"
        program.write_text(f'#!/bin/bash\ntarget="${{@: -1}}"\nfolder="${{target%/*}}"\n{script}\n')
        program.chmod(0o755)
        folder = program.parent / "folder"
        folder.mkdir()
        (folder / "source").write_text("from outside")
        monkeypatch.setattr(ffmpeg_module, "_find", lambda _: str(program))
        return Ffmpeg(Sandbox(kind)).run(
            [f"{folder}/out.mp4"],
            reads=folder / "source",
            writes=folder,
            timeout_seconds=60,
            max_bytes=8 * 2**20,
        )

    return run


async def test_all_files_of_one_run_together_are_limited(scripted):
    """Each of them is small enough."""
    writes = 'for n in 1 2 3; do head -c 7M /dev/zero > "$folder/$n"; done'
    with pytest.raises(FfmpegError) as caught:
        await scripted(f"{writes}; sleep 50")
    assert caught.value.code == "output_too_large"
    with pytest.raises(FfmpegError) as caught:
        await scripted('for n in {1..1200}; do : > "$folder/$n"; done; sleep 50')
    assert caught.value.code == "output_too_large"


@pytest.mark.parametrize("plant", ["ln -s /etc/hostname", "mkfifo"])
async def test_what_is_left_in_the_folder_must_be_files(scripted, plant):
    """Where no filter is, as on rare machines, nothing but files is taken out."""
    with pytest.raises(FfmpegError) as caught:
        await scripted(f'{plant} "$target"', kind="none")
    assert (caught.value.code, caught.value.detail) == ("transcode_failed", "no plain file")


async def test_ffmpeg_opens_no_other_file_even_without_its_whitelists(tmp_path):
    """The walls hold where the options fail."""
    (tmp_path / "folder").mkdir()
    canary = make_video(tmp_path / "canary.mp4", seconds=0.5)
    script = tmp_path / "folder" / "input.mp4"
    script.write_text(f"ffconcat version 1.0\nfile '{canary}'\n")
    target = tmp_path / "folder" / "out.mp4"
    arguments = ["-f", "concat", "-safe", "0", "-i", f"file:{script}", str(target)]
    walled, bare = Ffmpeg(SANDBOX), Ffmpeg(Sandbox("none"))
    with pytest.raises(ValueError, match="input without"):
        await walled.run(arguments, reads=script, writes=target.parent, timeout_seconds=20)
    walled.input_options = bare.input_options = {}
    with pytest.raises(FfmpegError) as caught:
        await walled.run(arguments, reads=script, writes=target.parent, timeout_seconds=20)
    assert "No such file" in caught.value.detail
    # Without walls it does.
    await bare.run(arguments, reads=script, writes=target.parent, timeout_seconds=20)
    assert target.stat().st_size > 0
    assert Ffmpeg(SANDBOX).input_options["protocol_whitelist"] == "file"


STARTS_MANY = """
import subprocess, sys
from media_runtime.media.sandbox import Sandbox, Limits
sandbox = Sandbox(sys.argv[1])
for _ in range(40):
    command = sandbox.command("/bin/sleep", [sys.argv[2]], limits=Limits(5))
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
    command = SANDBOX.command("/bin/echo", ["here"], limits=LIMITS)
    assert subprocess.run(command, capture_output=True, check=False).stdout == b"here\n"
    orphan = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"]
    done = subprocess.run([*orphan, *command], capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"", b"")


async def test_a_sandbox_that_breaks_is_not_the_files_fault(tmp_path):
    with pytest.raises(FfmpegInterruptedError, match="the sandbox"):
        await Ffmpeg(SANDBOX).run(
            [*ENDLESS], reads=tmp_path / "missing", writes=tmp_path, timeout_seconds=60
        )


def test_without_a_sandbox_that_works_nothing_starts(tmp_path, monkeypatch):
    false = tmp_path / "bwrap"
    false.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    false.chmod(0o755)
    sandbox._closing.cache_clear()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxError, match="No permissions to create"):
        Sandbox("bubblewrap")
    assert Sandbox("none").kind == "none"
    assert "bwrap" not in Sandbox("none").command(
        "/bin/true", [], reads=false, limits=sandbox.Limits(1)
    )
    sandbox._closing.cache_clear()


def test_an_older_bubblewrap_leaves_one_wall_away_and_says_so(tmp_path, monkeypatch, capsys):
    """It is still a sandbox; which is not so of one that fails altogether."""
    older = tmp_path / "bwrap"
    older.write_text(
        "#!/bin/sh\n"
        'case " $* " in *" --disable-userns "*)'
        " echo 'bwrap: Unknown option --disable-userns' >&2; exit 1;; esac\n"
        f'exec {shutil.which("bwrap")} "$@"\n'
    )
    older.chmod(0o755)
    sandbox._closing.cache_clear()
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        command = Sandbox("bubblewrap").command("/bin/true", [], limits=LIMITS)
        assert "--disable-userns" not in command
        assert subprocess.run(command, check=False).returncode == 0
    assert "Unknown option --disable-userns" in capsys.readouterr().out
    sandbox._closing.cache_clear()
    assert "--disable-userns" in Sandbox("bubblewrap").command("/bin/true", [], limits=LIMITS)


def test_an_input_that_is_missing_or_a_link_out_opens_nothing(tmp_path):
    (tmp_path / "canary").write_text("the canary\n")
    link = tmp_path / "link"
    link.symlink_to("/etc/passwd")
    command = SANDBOX.command("/bin/cat", [str(tmp_path / "canary")], reads=link, limits=LIMITS)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode != 0, done.stdout) == (True, "")
