"""Alerts: each fires and resolves, has a runbook, and looks at metrics that there are."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from mediactl.devstack.native.tools import find_promtool
from mediactl.repository.metrics_table import instruments

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
CASES = [case for path in TESTS for case in yaml.safe_load(path.read_text())["tests"]]
RUNBOOKS = Path(__file__).parents[2] / "deploy" / "runbooks"
FOREIGN = {"up"}
# Suffixes of a histogram's series.
SERIES = re.compile(r"_(bucket|count|sum)$")


def rules():
    """Return every rule of every file."""
    documents = [yaml.safe_load(path.read_text()) for path in RULES]
    return [rule for found in documents for group in found["groups"] for rule in group["rules"]]


def alerts():
    """Return the rules that are alerts, by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@pytest.fixture(scope="module")
def promtool():
    found = find_promtool()
    assert found is not None, "promtool comes with './mediactl up'"
    return found


def run(*words):
    """Return whether a command went well, and what it said."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def test_rules_are_well_formed(promtool):
    well, said = run(promtool, "check", "rules", *RULES)
    assert well, said


def test_every_alert_fires_and_resolves(promtool):
    well, said = run(promtool, "test", "rules", *TESTS)
    assert well, said


def looks(case, name):
    """Return when a case looks at an alert, in order, and whether it fires then."""
    found = [one for one in case["alert_rule_test"] if one["alertname"] == name]
    return sorted((minutes(one["eval_time"]), bool(one["exp_alerts"])) for one in found)


def minutes(text):
    """Return the minutes that a time such as 8h1m means."""
    units = {"h": 60, "m": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hm])", text))


@pytest.mark.parametrize("name", sorted(alerts()))
def test_each_alert_is_seen_to_be_quiet_then_to_fire_then_to_resolve(name):
    """In one case, so that what is seen to end is what was seen to fire."""
    seen = [[fires for _, fires in looks(case, name)] for case in CASES]
    assert [False, True, False] in seen, seen
    # Nor does any other case leave open how a firing alert ends.
    assert all(one[-1] is False for one in seen if one), seen


def test_only_alerts_that_there_are_are_looked_at():
    assert {one["alertname"] for case in CASES for one in case["alert_rule_test"]} == set(alerts())


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in {"page", "ticket", "info"}, name
        about = rule["annotations"]
        assert about["summary"].endswith("."), name
        assert about["description"].endswith("."), name
        assert (RUNBOOKS / Path(about["runbook_url"]).name).is_file(), about["runbook_url"]
        assert about["runbook_url"].startswith("{{ $externalLabels.runbooks }}/"), name


def test_every_runbook_is_named_by_an_alert():
    named = {Path(rule["annotations"]["runbook_url"]).name for rule in alerts().values()}
    assert {path.name for path in RUNBOOKS.glob("*.md")} == named | {"README.md"}


def test_summaries_tell_the_number():
    silent = {"MediaKafkaAway", "MediaStorageAway", "MediaDatabaseAway", "MediaServiceDown",
              "MediaServiceMissing", "MediaPageLasts"}  # fmt: skip
    for name, rule in alerts().items():
        tells = "value" in rule["annotations"]["summary"]
        assert tells is (name not in silent), name


def test_rules_look_at_metrics_that_there_are():
    known = {one.name for one in instruments()} | FOREIGN
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        used = set(re.findall(r"\b[a-z_]+(?=\{|\[|\)| *[<>=]|$)", rule["expr"]))
        names = {name for name in used if name.startswith(tuple(f"{s}_" for s in PREFIXES))}
        assert {SERIES.sub("", name) for name in names} <= known, rule
        assert set(re.findall(r"media:[a-z_]+:[a-z0-9_]+", rule["expr"])) <= recorded, rule


PREFIXES = ("http", "kafka", "outbox", "sign_api", "ingest", "thumbnailer", "notifier", "watcher")
