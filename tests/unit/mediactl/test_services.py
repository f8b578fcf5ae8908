import sys
from pathlib import Path

import pytest
from mediactl.devstack.credentials import stack_credentials
from mediactl.devstack.endpoints import Endpoints
from mediactl.devstack.services import (
    SERVICES,
    StackContext,
    check_scalable,
    service_environment,
    with_login,
)
from mediactl.devstack.state import State
from mediactl.errors import UsageError

ENDPOINTS = Endpoints("kafka:9092", "postgresql://admin:pw@db:5432/media", "http://s3", "k", "s")


@pytest.fixture
def state(tmp_path):
    return State(tmp_path / "state.json")


def environment(state, service, environ=None, port=8001):
    environ = environ or {}
    around = StackContext(
        ENDPOINTS,
        stack_credentials(state, environ),
        "p_",
        Path("/scratch"),
        "http://front",
        "http://edge",
        environ,
    )
    return service_environment(service, port, around)


@pytest.mark.parametrize(
    ("variable", "services"),
    [
        ("DATABASE_URL", {"sign_api", "ingest", "notifier", "watcher"}),
        ("KAFKA_BOOTSTRAP_SERVERS", set(SERVICES)),
        ("S3_SECRET_KEY", {"sign_api", "ingest", "thumbnailer", "watcher"}),
        ("S3_PROVISIONER_SECRET_KEY", {"watcher"}),
        ("S3_REGION", {"sign_api", "ingest", "thumbnailer", "watcher"}),
        ("JWT_SECRET", {"sign_api", "notifier"}),
        ("EVENT_ID_SECRET", {"notifier"}),
        ("EDGE_KEYS", {"sign_api"}),
        ("MEDIA_PUBLIC_URL", {"sign_api"}),
        ("EDGE_URLS", {"notifier"}),
        ("SCRATCH_DIR", {"ingest", "thumbnailer"}),
        ("HTTP_PORT", set(SERVICES)),
    ],
)
def test_a_service_is_given_what_it_talks_to_and_nothing_else(state, variable, services):
    given = {service for service in SERVICES if variable in environment(state, service)}

    assert given == services


def test_each_service_logs_in_to_the_database_as_itself(state):
    credentials = stack_credentials(state, {})

    url = environment(state, "ingest")["DATABASE_URL"]

    password = credentials.database_passwords["ingest"]
    assert url == f"postgresql://media_ingest:{password}@db:5432/media"


SASL = Endpoints(
    **{**vars(ENDPOINTS), "kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "PLAIN"},
)


def test_each_service_logs_in_to_kafka_as_itself_where_anybody_does(state, monkeypatch):
    passwords = stack_credentials(state, {}).kafka_passwords
    assert not [name for name in environment(state, "ingest") if "SASL" in name]

    monkeypatch.setattr(sys.modules[__name__], "ENDPOINTS", SASL)
    for name in SERVICES:
        given = environment(state, name)
        assert given["KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
        assert given["KAFKA_SASL_MECHANISM"] == "SCRAM-SHA-256"
        assert given["KAFKA_SASL_USERNAME"] == f"p_{name}"
        assert given["KAFKA_SASL_PASSWORD"] == passwords[name]
        assert [value for value in given.values() if value in passwords.values()] == [
            passwords[name]
        ]


def test_a_providers_users_are_given_by_hand(state, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ENDPOINTS", SASL)
    own = {"INGEST_KAFKA_SASL_USERNAME": "theirs", "INGEST_KAFKA_SASL_PASSWORD": "x"}
    given = environment(state, "ingest", {"KAFKA_MAKE_USERS": "no", **own})
    assert (given["KAFKA_SASL_USERNAME"], given["KAFKA_SASL_PASSWORD"]) == ("theirs", "x")
    other = environment(state, "watcher", {"KAFKA_MAKE_USERS": "no"})
    assert not [name for name in other if "SASL_" in name and name != "KAFKA_SECURITY_PROTOCOL"]


def test_each_service_logs_in_to_storage_as_itself(state):
    secrets = stack_credentials(state, {}).storage_secrets

    found = {name: environment(state, name) for name in ("sign_api", "ingest", "watcher")}

    for name, given in found.items():
        assert (given["S3_ACCESS_KEY"], given["S3_SECRET_KEY"]) == (f"media-{name}", secrets[name])
    assert found["watcher"]["S3_PROVISIONER_SECRET_KEY"] == secrets["provisioner"]
    assert not any(ENDPOINTS.s3_secret_key in given.values() for given in found.values())
    elsewhere = environment(state, "ingest", {"S3_BUCKET_PREFIX": "other-"})
    assert elsewhere["S3_ACCESS_KEY"] == "other-ingest"


def test_a_login_with_odd_characters_survives_in_a_url():
    assert with_login("postgresql://a:b@h/d", "u@x", "p/:@") == "postgresql://u%40x:p%2F%3A%40@h/d"


def test_a_variable_named_after_a_service_reaches_that_service_alone(state):
    environ = {"INGEST_LEASE_SECONDS": "5", "PATH": "/bin"}

    ingest, watcher = (environment(state, name, environ) for name in ("ingest", "watcher"))

    assert ingest["LEASE_SECONDS"] == ingest["INGEST_LEASE_SECONDS"] == "5"
    assert not {"LEASE_SECONDS", "INGEST_LEASE_SECONDS"} & set(watcher)


@pytest.mark.parametrize(
    "name", ["INGEST_METRICS_PORT", "INGEST_DB_PASSWORD", "INGEST_S3_SECRET", "AWS_SECRET"]
)
def test_variables_that_are_not_for_services_do_not_reach_them(state, name):
    assert name not in environment(state, "ingest", {name: "1"})


def test_a_given_secret_is_kept_and_a_short_one_refused(state):
    assert stack_credentials(state, {"JWT_SECRET": "x" * 32}).jwt_secret == "x" * 32
    assert stack_credentials(state, {}).jwt_secret == "x" * 32
    with pytest.raises(UsageError, match="at least 32 bytes"):
        stack_credentials(state, {"JWT_SECRET": "short"})


@pytest.mark.parametrize("environ", [{}, {"INGEST_SCRATCH_DIR": "/s", "INGEST_HTTP_PORT": "1",
                                          "INGEST_KAFKA_INSTANCE_ID": "i"}])  # fmt: skip
def test_replicas_share_all_but_what_they_may_not(state, environ):
    one, two, three = (
        environment(state, name, environ, port=port)
        for port, name in enumerate(("ingest", "ingest-2", "ingest-3"), start=1)
    )

    apart = {"KAFKA_INSTANCE_ID", "SCRATCH_DIR", "HTTP_PORT"}
    for name in apart:
        assert len({found[name] for found in (one, two, three)}) == 3
        assert not {f"INGEST_{name}"} & {*two, *three}, "it would win"
    apart |= {f"INGEST_{name}" for name in apart}
    assert two["HTTP_PORT"] == "2"
    assert two["SCRATCH_DIR"] == f"{one['SCRATCH_DIR']}-2"
    assert {key: one[key] for key in one.keys() - apart} == {
        key: two[key] for key in two.keys() - apart
    }


def test_what_clients_call_does_not_scale_without_a_balancer():
    check_scalable("ingest")
    with pytest.raises(UsageError, match="load balancer"):
        check_scalable("sign_api")
    with pytest.raises(UsageError, match="choose from ingest, thumbnailer, watcher"):
        check_scalable("kafka")
