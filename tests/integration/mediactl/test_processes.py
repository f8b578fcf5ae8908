import os
import signal
import subprocess
import sys
import time

import pytest
from mediactl.devstack import processes
from mediactl.devstack.processes import ProcessRef
from mediactl.devstack.program import Command, NotReadyError, Program
from mediactl.errors import MediactlError

FOREVER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {FOREVER}"
PARENT = (
    "import subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    "print(child.pid, flush=True); time.sleep(600)"
)

LEAVER = (
    "import os, sys; from pathlib import Path; from mediactl.devstack import processes; "
    f"ref = processes.spawn([sys.executable, '-c', {FOREVER!r}], env=os.environ, "
    "log_file=Path(sys.argv[1])); print(ref.pid)"
)


@pytest.fixture
def spawn(tmp_path):
    started = []

    def start(code):
        log_file = tmp_path / "x.log"
        ref = processes.spawn([sys.executable, "-c", code], env=os.environ, log_file=log_file)
        started.append(ref)
        assert processes.wait_until(lambda: processes.last_lines(log_file, 1), timeout_seconds=10)
        return ref

    yield start
    for ref in started:
        processes.kill(ref)


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_ends_when_asked(spawn):
    ref = spawn(FOREVER)
    assert processes.is_alive(ref)

    assert processes.stop(ref)

    assert not processes.is_alive(ref)


def test_a_process_outlives_the_one_that_started_it_without_a_warning(tmp_path):
    command = [sys.executable, "-W", "always", "-c", LEAVER, str(tmp_path / "x.log")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    pid = int(done.stdout)
    assert exists(pid)
    os.kill(pid, signal.SIGKILL)
    assert done.stderr == ""


def test_a_process_that_will_not_end_is_killed(spawn):
    ref = spawn(STUBBORN)

    assert not processes.stop(ref, timeout_seconds=0.2)

    assert not processes.is_alive(ref)


def test_children_end_with_their_parent(spawn, tmp_path):
    ref = spawn(PARENT)
    child = int(processes.last_lines(tmp_path / "x.log", 1)[0])

    processes.stop(ref)

    assert processes.wait_until(lambda: not exists(child), timeout_seconds=10)


def test_what_a_crashed_parent_left_is_found_and_killed(spawn, tmp_path):
    ref = spawn(PARENT)
    child = int(processes.last_lines(tmp_path / "x.log", 1)[0])
    processes.crash(ref)
    assert exists(child)

    processes.kill(ref)

    assert processes.wait_until(lambda: not exists(child), timeout_seconds=10)


def test_a_recycled_id_is_neither_taken_for_ours_nor_killed(spawn):
    ref = spawn(FOREVER)
    earlier = ProcessRef(ref.pid, ref.started - 1)

    assert not processes.is_alive(earlier)
    assert processes.stop(earlier)
    processes.kill(earlier)

    assert processes.is_alive(ref)


def test_a_process_is_measured(spawn):
    usage = processes.usage(spawn(FOREVER))

    assert 0 <= usage.uptime_seconds < 60
    assert usage.memory_bytes > 1_000_000


def test_a_program_that_cannot_be_executed_is_named(tmp_path):
    with pytest.raises(MediactlError, match="Cannot start /not/there"):
        processes.spawn(["/not/there"], env={}, log_file=tmp_path / "x.log")


class Example(Program):
    def __init__(self, code, log_file, *, ready=True):
        super().__init__("example", log_file)
        self._code = code
        self._ready = ready

    def command(self):
        return Command([sys.executable, "-c", self._code], os.environ)

    def is_ready(self):
        return self._ready


@pytest.fixture
def example(tmp_path):
    made = []

    def make(code, **options):
        made.append(Example(code, tmp_path / "example.log", **options))
        return made[-1]

    yield make
    for program in made:
        program.stop()


def test_starting_a_running_program_changes_nothing(example):
    program = example(FOREVER)

    assert program.start() == program.start()


def test_a_death_before_readiness_shows_the_log_of_this_start(example, tmp_path):
    (tmp_path / "example.log").write_text("yesterday\n")
    program = example("raise SystemExit('no disk')", ready=False)
    program.start()

    with pytest.raises(NotReadyError, match="ended before it was ready") as raised:
        program.wait_ready()

    assert "no disk" in str(raised.value)
    assert "yesterday" not in str(raised.value)


def test_a_program_that_is_never_ready_runs_into_the_time_limit(example):
    program = example(FOREVER, ready=False)
    program.start()
    began = time.monotonic()

    with pytest.raises(NotReadyError, match="was not ready after 0 seconds"):
        program.wait_ready(timeout_seconds=0.2)

    assert time.monotonic() - began < 5


def test_a_killed_program_starts_again_as_another_process(example):
    program = example(FOREVER)
    first = program.start()
    program.kill()

    assert program.start() != first


def test_a_signal_to_the_starter_does_not_reach_the_program(spawn):
    ref = spawn(FOREVER)

    assert os.getsid(ref.pid) == ref.pid != os.getsid(0)
