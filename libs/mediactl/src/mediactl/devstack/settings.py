"""
The settings of a stack: given in the environment of ``up``, remembered in its state.

Invariant: a command in another shell works with what ``up`` was given; its own environment
overrides what it names, for itself alone. Only the owner can read the state, secrets included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from mediactl.devstack.services import NOT_FOR_SERVICES, SERVICES, SHARED, SHARED_PREFIX
from mediactl.devstack.state import State
from mediactl.errors import UsageError

ALERTMANAGER_SETTINGS = tuple(
    f"ALERTMANAGER_{name}"
    for name in (
        *("WEBHOOK_URL", "PAGE_URL", "ESCALATION_URL", "WEBHOOK_TOKEN"),
        *("SLACK_URL", "PAGE_SLACK_URL", "ESCALATION_SLACK_URL"),
        *("MAIL_TO", "PAGE_MAIL_TO", "ESCALATION_MAIL_TO"),
        *("SMTP_HOST", "SMTP_FROM", "SMTP_USERNAME", "SMTP_PASSWORD", "SMTP_TLS"),
        "GROUP_INTERVAL",
    )
)
"""Whom Alertmanager tells, and how; deploy/alertmanager/start.sh says what each means."""
TOPIC_PREFIX = "topic_prefix"
"""The fact that all topics of the stack begin with: unlike a setting it cannot change."""

_OF_SERVERS = (
    *ALERTMANAGER_SETTINGS,
    *("PROMETHEUS_SCRAPE_SECONDS", "PROMETHEUS_ALERT_SECONDS"),
    *("RUNBOOK_BASE_URL", "MEDIA_PUBLIC_URL"),
    *("JWT_ISSUER", "JWT_AUDIENCE", "KAFKA_MAKE_USERS", "POSTGRES_FSYNC"),
)
_PARTS = (*SERVICES, "edge")
_PREFIXES = tuple(f"{part.upper()}_" for part in _PARTS)
_SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|HEADERS|CREDENTIAL|KEY(_|$)")
_VARIABLE = "KAFKA_TOPIC_PREFIX"


def is_setting(name: str) -> bool:
    """Return whether the variable *name* says how a part of a stack works."""
    if name in SHARED or name in _OF_SERVERS or name.startswith(SHARED_PREFIX):
        return True
    return name.startswith(_PREFIXES) and not name.endswith(NOT_FOR_SERVICES)


def given_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of *environ*."""
    return {name: value for name, value in environ.items() if is_setting(name)}


def in_force(state: State, environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* with the settings that the stack remembers and *environ* does not name."""
    return {**state.settings(), **environ}


def remember(state: State, environ: Mapping[str, str]) -> list[str]:
    """
    Have the stack remember the settings of *environ*, and forget those that are empty there.

    Returns the names of those that are another now.
    """
    before = state.settings()
    given = {**before, **given_settings(environ)}
    kept = {name: value for name, value in given.items() if value}
    if kept != before:
        state.remember_settings(kept)
    return changed(before, kept)


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the names of settings that are another *after* than *before*."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def told(names: Sequence[str]) -> str:
    """Return what to say of settings that changed while the stack runs."""
    concerned = {part for part in _PARTS for name in names if _concerns(name, part)}
    parts = [part for part in _PARTS if part in concerned]
    parts += ["alertmanager"] if {*names} & {*ALERTMANAGER_SETTINGS} else []
    return (
        f"Remembered: {', '.join(names)}. What runs takes it with its next start: "
        f"'./mediactl restart NAME' with {', '.join(parts) or 'the server'}."
    )


def _concerns(name: str, service: str) -> bool:
    if service == "edge":
        return name.startswith("EDGE_") or name == "CORS_ALLOW_ORIGINS"
    return name.startswith((f"{service.upper()}_", SHARED_PREFIX)) or name in SHARED


def assigned(words: list[str]) -> dict[str, str]:
    """Return the settings that words such as ``NAME=VALUE`` assign; raises UsageError."""
    found = {}
    for word in words:
        name, is_assigned, value = word.partition("=")
        if not is_assigned:
            raise UsageError(f"Say {name}=VALUE, or {name}= to forget it.")
        if not is_setting(name):
            raise UsageError(
                f"{name} is no setting of a stack: those begin with {', '.join(_PREFIXES)} or "
                f"{SHARED_PREFIX}, or are {', '.join(sorted({*SHARED, *_OF_SERVERS}))}."
            )
        found[name] = value
    return found


def shown(name: str, value: str) -> str:
    """Return a setting's value as a terminal may show it: without what only its owner may know."""
    if _SECRET.search(name):
        return "(secret)"
    url = urlsplit(value)
    if url.scheme and url.netloc and (url.path.strip("/") or url.query or "@" in url.netloc):
        # A webhook's path is its secret.
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}/…"
    return value


def keep_topic_prefix(state: State, environ: Mapping[str, str]) -> None:
    """Remember what the stack's topics begin with; raises UsageError where that would change."""
    given, known = environ.get(_VARIABLE), state.fact(TOPIC_PREFIX)
    if known is not None and given not in {None, known}:
        raise UsageError(
            f"This stack was made with {_VARIABLE}={known!r}: unset the variable, or "
            "run 'mediactl down --wipe' to start anew."
        )
    state.remember_fact(TOPIC_PREFIX, known or given or "")


def topic_prefix(state: State) -> str:
    """Return what the stack's topics begin with."""
    return state.fact(TOPIC_PREFIX) or ""
