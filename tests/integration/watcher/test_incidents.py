"""Incidents: told once, escalated when they last, closed when they are over; by real webhooks."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from uuid import UUID, uuid4

import pytest
import structlog
from pydantic import SecretStr, ValidationError
from standardwebhooks import Webhook
from watcher.channels import Channels
from watcher.findings import THE_SYSTEM, Finding, Kind, Severity
from watcher.incidents import Incidents
from watcher.metrics import LOOKS
from watcher.settings import ChannelSettings
from watcher.watch import Seen

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


class Receiver:
    """A webhook endpoint; ``status`` is what it answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = 204
        self.calls: list[tuple[dict[str, str], str]] = []

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """Event, kind and severity of each call."""
        data = [json.loads(body)["data"] for _, body in self.calls]
        return [(one["event"], one["kind"], one["severity"]) for one in data]


@contextmanager
def receiving():
    """Listen for webhooks."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            if receiver.status == 204:
                receiver.calls.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hooks/very-secret")
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def first():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def second():
    with receiving() as receiver:
        yield receiver


class Rig:
    """Incidents with a look that sees what the test says."""

    def __init__(self, database, settings):
        self.seen = Seen(())
        self.round = Incidents(database, self._look, Channels.of(settings), settings)

    async def _look(self):
        return self.seen

    async def see(self, *findings, blind=()):
        self.seen = Seen(findings, frozenset(blind))
        await self.round()


@pytest.fixture
def channel_settings(first, second):
    return ChannelSettings(
        alert_webhook_url=first.url,
        alert_webhook_secret=SecretStr(SECRET),
        escalation_webhook_url=second.url,
    )


@pytest.fixture
def rig(database, channel_settings):
    return Rig(database, channel_settings)


@pytest.fixture
def age(admin):
    """Make all incidents so much older."""

    async def make_older(**by):
        await admin.execute(
            "UPDATE incidents SET opened_at = opened_at - $1::interval,"
            " escalated_at = escalated_at - $1::interval",
            timedelta(**by),
        )

    return make_older


def finding(kind=Kind.BACKLOG, severity=Severity.PAGE, company=THE_SYSTEM, summary="11 wait."):
    return Finding(kind, severity, summary, company_id=company)


def open_ones(kind="backlog"):
    """Return how many incidents are open, and how many of them escalated."""
    return tuple(
        LOOKS.get_sample_value("watcher_incidents", {"kind": kind, "state": state})
        for state in ("open", "escalated")
    )


async def test_an_incident_is_told_once_and_its_end_once(rig, first, second):
    for _ in range(3):
        await rig.see(finding())
    assert first.told == [("opened", "backlog", "page")]
    for _ in range(2):
        await rig.see()
    assert first.told[1:] == [("recovered", "backlog", "page")]
    assert second.told == []
    await rig.see(finding())
    assert len(first.told) == 3, "the next one is another incident"


async def test_what_lasts_is_escalated_again_every_hour_until_it_recovers(rig, first, second, age):
    await rig.see(finding())
    await age(minutes=59)
    await rig.see(finding())
    assert second.told == []
    await age(minutes=2)
    with structlog.testing.capture_logs() as lines:
        await rig.see(finding())
        await rig.see(finding())
    assert second.told == [("escalated", "backlog", "page")]
    (line,) = [line for line in lines if line["event"] == "ALERT escalated"]
    assert (line["kind"], line["log_level"]) == ("backlog", "error")
    assert line["since_seconds"] == pytest.approx(61 * 60, abs=60)
    await age(minutes=61)
    await rig.see(finding())
    assert second.told == [("escalated", "backlog", "page")] * 2
    await rig.see()
    assert second.told[2:] == [("recovered", "backlog", "page")]
    assert first.told == [("opened", "backlog", "page"), ("recovered", "backlog", "page")]


async def test_incidents_are_counted_by_kind_and_state(rig, age):
    await rig.see(finding(), finding(Kind.QUOTA, company=uuid4()), finding(Kind.QUOTA))
    assert [open_ones(), open_ones("quota"), open_ones("lag")] == [(1, 0), (2, 0), (0, 0)]
    await age(hours=2)
    await rig.see(finding())
    assert (open_ones(), open_ones("quota")) == ((1, 1), (0, 0))


async def test_a_quota_that_fills_up_is_told_again_and_of_its_company(rig, first):
    company = uuid4()
    for severity in (Severity.INFO, Severity.INFO, Severity.TICKET, Severity.PAGE):
        await rig.see(finding(Kind.QUOTA, severity, company))
    assert first.told == [
        ("opened", "quota", "info"),
        ("changed", "quota", "ticket"),
        ("changed", "quota", "page"),
    ]
    companies = {json.loads(body)["data"]["companyId"] for _, body in first.calls}
    assert companies == {str(company)}


@pytest.mark.parametrize("severity", [Severity.INFO, Severity.TICKET])
async def test_what_wakes_nobody_is_never_escalated(rig, second, age, severity):
    await rig.see(finding(Kind.QUOTA, severity))
    await age(days=2)
    await rig.see(finding(Kind.QUOTA, severity))
    assert second.told == []


async def test_what_cannot_be_looked_at_has_not_recovered(rig, first):
    await rig.see(finding(Kind.LAG))
    await rig.see(blind=[Kind.LAG])
    assert len(first.told) == 1
    await rig.see()
    assert first.told[1:] == [("recovered", "lag", "page")]


async def test_a_channel_that_is_away_is_told_when_it_is_back(rig, first, second, age):
    first.status = 500
    await rig.see(finding())
    assert first.told == []
    first.status = 204
    await rig.see(finding())
    assert first.told == [("opened", "backlog", "page")]
    await age(hours=2)
    second.status = 503
    await rig.see(finding())
    second.status = 204
    await rig.see(finding())
    assert second.told == [("escalated", "backlog", "page")]
    second.status = 500
    await rig.see()
    second.status = 204
    await rig.see()
    assert second.told[1:] == [("recovered", "backlog", "page")]


async def test_a_first_channel_that_is_away_does_not_keep_the_second_from_hearing(
    rig, first, second, age
):
    first.status = 500
    await rig.see(finding())
    await age(hours=2)
    await rig.see(finding())
    assert (first.told, second.told) == ([], [("escalated", "backlog", "page")])
    await rig.see()
    assert second.told[1:] == [("recovered", "backlog", "page")]
    first.status = 204
    await rig.see()
    assert first.told == [], "it has heard of no begin, so of no end"


async def test_each_channel_hears_of_the_end_once_whenever_the_other_does(
    rig, first, second, age, admin
):
    await rig.see(finding())
    await age(hours=2)
    await rig.see(finding())
    second.status = 500
    for _ in range(3):
        await rig.see()
    assert first.told[1:] == [("recovered", "backlog", "page")]
    assert open_ones() == (0, 0), "it is over, though not everybody has heard of it"
    second.status = 204
    for _ in range(2):
        await rig.see()
    assert second.told[1:] == [("recovered", "backlog", "page")]
    assert len(first.told) == 2
    assert await admin.fetch("SELECT 1 FROM incidents") == []


async def test_what_comes_back_while_somebody_waits_to_hear_of_its_end_begins_anew(
    rig, first, second, age, admin
):
    await rig.see(finding())
    await age(hours=2)
    await rig.see(finding())
    second.status = 500
    await rig.see()
    second.status = 204
    await rig.see(finding())
    assert [event for event, *_ in first.told] == ["opened", "recovered", "opened"]
    assert await admin.fetchval("SELECT now() - opened_at < interval '1 minute' FROM incidents")
    assert open_ones() == (1, 1)
    await age(minutes=59)
    await rig.see(finding())
    assert len(second.told) == 1, "it has not lasted for an hour"
    await rig.see()
    assert second.told[1:] == [("recovered", "backlog", "page")]


async def test_one_channel_for_both_hears_of_the_end_once(database, channel_settings, first, age):
    alone = channel_settings.model_copy(update={"escalation_webhook_url": None})
    rig = Rig(database, alone)
    first.status = 500
    await rig.see(finding())
    await age(hours=2)
    await rig.see(finding())
    first.status = 204
    await rig.see(finding())
    for _ in range(2):
        await rig.see()
    assert [event for event, *_ in first.told] == ["opened", "escalated", "recovered"]


async def test_a_secret_in_a_url_is_not_logged(database, channel_settings):
    gone = channel_settings.model_copy(
        update={"alert_webhook_url": "http://127.0.0.1:9/very-secret"}
    )
    with structlog.testing.capture_logs() as lines:
        await Rig(database, gone).see(finding())
    assert "notice_waits" in {line["event"] for line in lines}
    assert "very-secret" not in str(lines)


async def test_another_replica_goes_on_where_one_stopped(database, channel_settings, first):
    for _ in range(2):
        await Rig(database, channel_settings).see(finding())
    assert first.told == [("opened", "backlog", "page")]


async def test_calls_are_signed_as_standard_webhooks_are(rig, first):
    await rig.see(finding())
    ((headers, body),) = first.calls
    told = Webhook(SECRET).verify(body, headers)
    assert told["type"] == "media.incident.opened"
    assert told["data"]["summary"] == "11 wait."
    assert told["data"]["companyId"] is None
    assert UUID(hex=headers["webhook-id"].removeprefix("msg_"))
    with pytest.raises(Exception, match="signature"):
        Webhook(SECRET).verify(body.replace("11", "12"), headers)


async def test_slack_is_told_in_its_own_form(database, channel_settings, first):
    slack = channel_settings.model_copy(
        update={
            "alert_webhook_form": "slack",
            "alert_webhook_secret": None,
            "escalation_webhook_url": None,
        }
    )
    rig = Rig(database, slack)
    await rig.see(finding())
    await rig.see()
    texts = [json.loads(body)["text"] for _, body in first.calls]
    assert "*backlog* opened: 11 wait." in texts[0]
    assert texts[1].startswith(":white_check_mark: *backlog* recovered")


async def test_without_a_channel_incidents_are_still_kept_and_logged(database, age):
    rig = Rig(database, ChannelSettings())
    with structlog.testing.capture_logs() as lines:
        await rig.see(finding())
        await age(hours=3)
        await rig.see(finding())
        await rig.see()
    assert [line["event"] for line in lines] == [
        "incident_opened",
        "ALERT escalated",
        "incident_recovered",
    ]


def test_a_webhook_without_a_secret_is_refused():
    with pytest.raises(ValidationError, match="ALERT_WEBHOOK_SECRET"):
        ChannelSettings(alert_webhook_url="http://127.0.0.1:9/")
