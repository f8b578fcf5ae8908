"""How many workers a container gets by default."""

from __future__ import annotations

import os

import pytest
from ingest.settings import IngestSettings
from media_runtime.media.cpus import cpu_count
from thumbnailer.settings import ThumbnailerSettings


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch):
    """As on a machine of 64 that leaves eight of them to this process."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000\n", 8),
        ("400000 100000\n", 4),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("0 100000\n", 1),
        ("6400000 100000\n", 8),
        ("", 8),
        ("100000 0\n", 8),
    ],
)
def test_the_control_group_limits_them(tmp_path, quota, cores):
    (tmp_path / "cpu.max").write_text(quota)
    assert cpu_count(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("200000", 2), ("-1", 8)])
def test_so_does_one_of_version_1(tmp_path, quota, cores):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_count(tmp_path) == cores


def test_without_one_the_affinity_does(tmp_path):
    assert cpu_count(tmp_path) == 8


def test_services_have_as_many_workers():
    for settings, name in (
        (IngestSettings, "ingest_workers"),
        (ThumbnailerSettings, "thumbnailer_consumers"),
    ):
        assert settings.model_fields[name].default_factory is cpu_count
