"""Settings come from the environment; secrets may come from files that it names."""

from __future__ import annotations

import pytest
from media_runtime.settings import (
    AuthSettings,
    MissingSecretError,
    PostgresSettings,
    SandboxSettings,
    Settings,
    StorageSettings,
    secrets_of,
)
from pydantic import ValidationError

URL = "postgresql://login:secret@host/db"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("DATABASE_URL", "DATABASE_URL_FILE", "S3_SECRET_KEY", "S3_SECRET_KEY_FILE",
                 "JWT_SECRET", "JWT_SECRET_FILE", "HTTP_PORT", "S3_BUCKET_PREFIX", "SANDBOX",
                 "MEDIA_ENV"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


def test_a_secret_is_read_from_its_file(monkeypatch, tmp_path):
    (tmp_path / "url").write_text(f"  {URL}\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))
    assert PostgresSettings().database_url.get_secret_value() == URL


def test_secrets_of_users_are_read_from_files_too(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("from a file\n")
    monkeypatch.setenv("INGEST_DB_PASSWORD", "given")
    monkeypatch.delenv("WATCHER_DB_PASSWORD", raising=False)
    monkeypatch.setenv("WATCHER_DB_PASSWORD_FILE", str(tmp_path / "secret"))

    found = secrets_of(["ingest", "watcher"], "DB_PASSWORD")

    assert found == {"ingest": "given", "watcher": "from a file"}


@pytest.mark.parametrize("empty", [True, False])
def test_a_secret_that_is_missing_is_named_unless_it_may_be_left_out(monkeypatch, empty):
    monkeypatch.delenv("INGEST_DB_PASSWORD_FILE", raising=False)
    monkeypatch.delenv("INGEST_DB_PASSWORD", raising=False)
    if empty:
        monkeypatch.setenv("INGEST_DB_PASSWORD", "")

    with pytest.raises(MissingSecretError, match="set INGEST_DB_PASSWORD"):
        secrets_of(["ingest"], "DB_PASSWORD")
    assert secrets_of(["ingest"], "DB_PASSWORD", required=False) == {}


def test_the_environment_wins_over_a_file(monkeypatch, tmp_path):
    (tmp_path / "url").write_text("postgresql://from-file")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("DATABASE_URL", URL)
    assert PostgresSettings().database_url.get_secret_value() == URL


class OfAService(PostgresSettings, env_prefix="INGEST_"):
    pass


def test_a_services_own_name_for_a_setting_wins_over_the_one_that_all_share(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", "postgresql://shared")
    monkeypatch.setenv("INGEST_HTTP_PORT", "")
    monkeypatch.setenv("HTTP_PORT", "8123")
    found = OfAService()
    assert (found.database_url.get_secret_value(), found.http_port) == ("postgresql://shared", 8123)
    (tmp_path / "url").write_text("postgresql://own-file")
    monkeypatch.setenv("INGEST_DATABASE_URL_FILE", str(tmp_path / "url"))
    assert OfAService().database_url.get_secret_value() == "postgresql://own-file"
    monkeypatch.setenv("INGEST_DATABASE_URL", URL)
    assert OfAService().database_url.get_secret_value() == URL
    assert PostgresSettings().database_url.get_secret_value() == "postgresql://shared"


def test_a_number_may_come_from_a_file(monkeypatch, tmp_path):
    (tmp_path / "port").write_text("8123\n")
    monkeypatch.setenv("HTTP_PORT_FILE", str(tmp_path / "port"))
    assert Settings().http_port == 8123


def test_a_file_that_is_missing_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="absent"):
        PostgresSettings()


def test_what_is_not_set_is_named():
    with pytest.raises(ValidationError, match="database_url"):
        PostgresSettings()


def test_secrets_are_not_shown(monkeypatch):
    monkeypatch.setenv("JWT_SECRET", "x" * 40)
    monkeypatch.setenv("DATABASE_URL", URL)
    settings = (AuthSettings(), PostgresSettings())
    assert "xxxx" not in repr(settings)
    assert "secret@host" not in repr(settings)


def test_settings_do_not_change(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", URL)
    settings = PostgresSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.database_pool_size = 1


@pytest.mark.parametrize("prefix", ["-x", "Upper", "a_b", "x" * 22, "dots.dots", ""])
def test_a_bucket_prefix_that_makes_no_bucket_name_is_refused(prefix):
    with pytest.raises(ValidationError, match="s3_bucket_prefix"):
        StorageSettings(
            s3_endpoint_url="http://x",
            s3_access_key="k",
            s3_secret_key="s",
            s3_bucket_prefix=prefix,
        )


def test_other_variables_are_none_of_our_business(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("SOMETHING_ELSE", "1")
    assert PostgresSettings(unknown=1).database_pool_size == 10


def test_what_is_set_to_nothing_is_the_default(monkeypatch):
    """Docker Compose sets what nobody gave to the empty string."""
    monkeypatch.setenv("HTTP_PORT", "")
    assert Settings().http_port == 8000
    monkeypatch.setenv("DATABASE_URL", "")
    with pytest.raises(ValidationError, match="database_url"):
        PostgresSettings()


@pytest.mark.parametrize("environment", [None, "production"])
def test_production_without_a_sandbox_is_refused(monkeypatch, environment):
    assert SandboxSettings().sandbox == "bubblewrap"
    monkeypatch.setenv("SANDBOX", "none")
    if environment:
        monkeypatch.setenv("MEDIA_ENV", environment)
    with pytest.raises(ValidationError, match="SANDBOX=none needs MEDIA_ENV=development"):
        SandboxSettings()
    monkeypatch.setenv("MEDIA_ENV", "development")
    assert SandboxSettings().sandbox == "none"
