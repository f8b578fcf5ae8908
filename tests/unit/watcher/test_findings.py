"""From where on something is wrong."""

from __future__ import annotations

import pytest
from watcher.monitoring.findings import Severity, quota_severity, too_many_failures


@pytest.mark.parametrize(
    ("used", "severity"),
    [
        (0, None), (799, None), (800, Severity.INFO), (949, Severity.INFO),
        (950, Severity.TICKET), (999, Severity.TICKET), (1000, Severity.PAGE),
        (5000, Severity.PAGE),
    ],
)  # fmt: skip
def test_a_quota_matters_more_the_fuller_it_is(used, severity):
    assert quota_severity(used, 1000, 0.8) is severity


def test_a_quota_of_nothing_is_full():
    assert quota_severity(0, 0, 0.8) is Severity.PAGE


@pytest.mark.parametrize(
    ("failed", "ended", "alert"),
    [(0, 0, False), (2, 2, False), (3, 3, True), (3, 60, True), (3, 61, False), (50, 1000, True)],
)
def test_few_failures_never_are_an_alert_and_many_are_by_their_part(failed, ended, alert):
    assert too_many_failures(failed, ended, at_least=3, ratio=0.05) is alert
