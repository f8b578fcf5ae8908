import pytest
from mediactl.devstack.home import Home
from mediactl.devstack.logs import follow_all, log_files, tail_all
from mediactl.errors import UsageError


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path, tmp_path, tmp_path)
    home.create()
    for name in ("ingest", "watcher", "install-apt"):
        home.log_file(name).write_text("".join(f"{name} {n}\n" for n in range(5)))
    return home


def test_the_last_lines_of_one_log_are_shown_as_they_are(home):
    assert list(tail_all(log_files(home, "ingest"), 2)) == ["ingest 3", "ingest 4"]


def test_lines_of_all_programs_carry_the_programs_name(home):
    assert list(tail_all(log_files(home, None), 1)) == [
        "ingest       ingest 4",
        "watcher      watcher 4",
    ]


def test_the_log_of_a_service_is_that_of_all_its_replicas(home):
    home.log_file("ingest-2").write_text("two\n")

    assert [file.stem for file in log_files(home, "ingest")] == ["ingest", "ingest-2"]
    assert [file.stem for file in log_files(home, "ingest-2")] == ["ingest-2"]


def test_an_unknown_log_is_answered_by_the_known_ones(home):
    with pytest.raises(UsageError, match="ingest, install-apt, watcher"):
        log_files(home, "nope")


def follow(log, *writes):
    """Follow *log* while one of *writes* happens before each look at it."""
    pending = list(writes)

    def go_on():
        if pending:
            pending.pop(0)()
            return True
        return False

    return list(follow_all([log], go_on=go_on))


def append(log, text):
    with log.open("a") as file:
        file.write(text)


def test_following_shows_whole_new_lines_alone(home):
    log = home.log_file("ingest")

    shown = follow(
        log,
        lambda: append(log, "a whole line\nhalf"),
        lambda: append(log, " a line\nno end"),
    )

    assert shown == ["a whole line", "half a line"]


def test_following_goes_on_with_the_file_that_replaced_a_log(home):
    log = home.log_file("ingest")

    assert follow(log, lambda: log.write_text("new\n")) == ["new"]
