import stat

import pytest
from mediactl.devstack import settings
from mediactl.devstack.home import Home
from mediactl.devstack.local import LocalStack
from mediactl.devstack.state import State
from mediactl.errors import UsageError
from mediactl.progress import SilentProgress
from mediactl.watcher_commands import stack_context

GIVEN = {
    "WATCHER_RETENTION_DAYS": "3650",
    "ALERTMANAGER_SLACK_URL": "https://hooks.example/T0/secret",
    "ALERTMANAGER_SMTP_PASSWORD": "x",
    "ALERTMANAGER_PAGE_URL": "http://pager.example",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
    "LOG_LEVEL": "DEBUG",
    "PROMETHEUS_SCRAPE_SECONDS": "5",
    "RUNBOOK_BASE_URL": "https://runbooks.example",
}
NO_SETTINGS = {"PATH": "/bin", "JWT_SECRET": "s", "INGEST_METRICS_PORT": "1", "AWS_SECRET": "x",
               "WATCHER_DB_PASSWORD": "p", "INGEST_S3_SECRET": "p"}  # fmt: skip


@pytest.fixture
def state(tmp_path):
    return State(tmp_path / "state.json")


def test_settings_are_found_again_by_a_command_in_another_shell(state, tmp_path):
    assert settings.remember(state, GIVEN | NO_SETTINGS) == sorted(GIVEN)

    later = State(tmp_path / "state.json")
    assert later.settings() == GIVEN
    assert settings.in_force(later, {"PATH": "/bin"}) == {**GIVEN, "PATH": "/bin"}
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600


def test_the_environment_overrides_what_it_names_for_one_command(state):
    settings.remember(state, GIVEN)

    found = settings.in_force(state, {"WATCHER_RETENTION_DAYS": "9", "LOG_LEVEL": ""})

    assert found == {**GIVEN, "WATCHER_RETENTION_DAYS": "9", "LOG_LEVEL": ""}
    assert state.settings() == GIVEN


def test_another_up_remembers_what_it_names_and_forgets_what_is_empty(state):
    settings.remember(state, GIVEN)

    changed = settings.remember(state, {"WATCHER_RETENTION_DAYS": "9", "LOG_LEVEL": ""})

    assert changed == ["LOG_LEVEL", "WATCHER_RETENTION_DAYS"]
    left = {name: value for name, value in GIVEN.items() if name != "LOG_LEVEL"}
    assert state.settings() == {**left, "WATCHER_RETENTION_DAYS": "9"}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("ALERTMANAGER_SMTP_PASSWORD", "x", "(secret)"),
        ("WATCHER_S3_METRICS_TOKEN", "t", "(secret)"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=x", "(secret)"),
        ("ALERTMANAGER_SLACK_URL", "https://a:b@hooks.example/T0/x", "https://hooks.example/…"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318", "http://collector:4318"),
        ("WATCHER_RETENTION_DAYS", "3650", "3650"),
        ("WATCHER_RETENTION_KEEPS_THUMBNAILS", "true", "true"),
    ],
)
def test_settings_are_shown_without_what_only_the_owner_may_know(name, value, shown):
    assert settings.shown(name, value) == shown


def test_words_assign_settings_alone():
    assert settings.assigned(["LOG_LEVEL=A=B", "WATCHER_X="]) == {
        "LOG_LEVEL": "A=B",
        "WATCHER_X": "",
    }
    for word in ("LOG_LEVEL", "PATH=/bin", "INGEST_DB_PASSWORD=x"):
        with pytest.raises(UsageError):
            settings.assigned([word])


def test_what_topics_begin_with_is_kept_for_good(state):
    settings.keep_topic_prefix(state, {"KAFKA_TOPIC_PREFIX": "p_"})
    settings.keep_topic_prefix(state, {})
    settings.keep_topic_prefix(state, {"KAFKA_TOPIC_PREFIX": "p_"})

    assert settings.topic_prefix(state) == "p_"
    with pytest.raises(UsageError, match="was made with KAFKA_TOPIC_PREFIX='p_'"):
        settings.keep_topic_prefix(state, {"KAFKA_TOPIC_PREFIX": "other_"})


def test_who_takes_a_changed_setting_is_told():
    assert "with watcher, alertmanager." in settings.told(
        ["ALERTMANAGER_PAGE_URL", "WATCHER_RETENTION_DAYS"]
    )
    assert "with sign_api, ingest, thumbnailer, notifier, watcher." in settings.told(["OTEL_X"])
    assert "with edge." in settings.told(["EDGE_CACHE_BYTES"])


def test_a_stack_of_processes_keeps_it_from_its_first_up(state, tmp_path):
    home = Home(tmp_path, tmp_path, tmp_path)
    environ = {"KAFKA_TOPIC_PREFIX": "p_"}
    with pytest.raises(UsageError, match="Provider env needs"):
        LocalStack(home, state, environ, native=False).up(SilentProgress())

    assert settings.topic_prefix(State(tmp_path / "state.json")) == "p_"


def test_commands_of_the_watcher_work_with_what_up_was_given(state, tmp_path):
    home = Home(tmp_path, tmp_path, tmp_path)
    settings.keep_topic_prefix(state, {"KAFKA_TOPIC_PREFIX": "p_"})
    settings.remember(state, GIVEN)
    names = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "S3_ENDPOINT_URL", "S3_ACCESS_KEY",
             "S3_SECRET_KEY", "MEDIA_URL", "EDGE_METRICS_URL")  # fmt: skip
    home.env_file.write_text("".join(f"{name}=x\n" for name in names))

    around = stack_context(home)

    assert around.topic_prefix == "p_"
    assert around.environ["WATCHER_RETENTION_DAYS"] == "3650"
