"""
What a stack remembers between commands: provider, ports, secrets, settings, processes.

Invariant: the file is replaced as a whole and only its owner can read it; it is written after
each change, so that an interrupted command leaves nothing behind that ``down`` cannot find.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mediactl.devstack.ports import choose_port
from mediactl.devstack.processes import UNKNOWN_ERA, ProcessRef, is_alive, kill
from mediactl.errors import MediactlError

_VERSION = 1


class State:
    """The state of one stack, kept in *path*; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._document = _read(path)

    @property
    def exists(self) -> bool:
        """Whether a stack was ever started here."""
        return self._path.exists()

    @property
    def provider(self) -> str | None:
        """Which provider the stack was started with."""
        value: str | None = self._document.get("provider")
        return value

    @provider.setter
    def provider(self, value: str | None) -> None:
        with self._lock:
            self._document["provider"] = value
            self._save()

    def secret(self, name: str) -> str:
        """Return the secret *name*, made up when it is first asked for."""
        with self._lock:
            known: dict[str, str] = self._section("secrets")
            if name not in known:
                known[name] = secrets.token_hex(24)
                self._save()
            return known[name]

    def known_secret(self, name: str) -> str | None:
        """Return the secret *name* if there is one."""
        value: str | None = self._section("secrets").get(name)
        return value

    def remember_secret(self, name: str, value: str) -> None:
        """Use *value*, which somebody else chose, as the secret *name*."""
        with self._lock:
            self._section("secrets")[name] = value
            self._save()

    def port(self, name: str) -> int | None:
        """Return the remembered port of *name*."""
        value: int | None = self._section("ports").get(name)
        return value

    def ports(self) -> dict[str, int]:
        """Return every remembered port."""
        with self._lock:
            return dict(self._section("ports"))

    def remember_port(self, name: str, port: int) -> None:
        """Keep *port* for the next start."""
        with self._lock:
            self._section("ports")[name] = port
            self._save()

    def forget_port(self, name: str) -> None:
        """Let another program have the port of *name*."""
        with self._lock:
            self._section("ports").pop(name, None)
            self._save()

    def replicas(self, service: str) -> int:
        """Return how many of a service the stack is to run."""
        value: int = self._section("replicas").get(service, 1)
        return value

    def remember_replicas(self, service: str, count: int) -> None:
        """Keep how many of a service the stack is to run."""
        with self._lock:
            self._section("replicas")[service] = count
            self._save()

    def process(self, name: str) -> ProcessRef | None:
        """Return the last known process of *name*, alive or not."""
        found = self._section("processes").get(name)
        return ProcessRef(**{"era": UNKNOWN_ERA, **found}) if found else None

    def remember_process(self, name: str, ref: ProcessRef | None) -> None:
        """Keep the process of *name*, or forget it."""
        with self._lock:
            processes = self._section("processes")
            if ref is None:
                processes.pop(name, None)
            else:
                processes[name] = asdict(ref)
            self._save()

    def running(self) -> list[str]:
        """Return the names of the programs whose processes are alive."""
        found = {name: self.process(name) for name in list(self._section("processes"))}
        return [name for name, process in found.items() if process and is_alive(process)]

    def fact(self, name: str) -> str | None:
        """Return something else that was remembered."""
        value: str | None = self._section("facts").get(name)
        return value

    def remember_fact(self, name: str, value: str) -> None:
        """Remember something else."""
        with self._lock:
            self._section("facts")[name] = value
            self._save()

    def settings(self) -> dict[str, str]:
        """Return the settings that the stack was given, by the names of their variables."""
        with self._lock:
            return dict(self._section("settings"))

    def remember_settings(self, settings: Mapping[str, str]) -> None:
        """Remember *settings* instead of those before."""
        with self._lock:
            self._document["settings"] = dict(settings)
            self._save()

    def _section(self, name: str) -> dict[str, Any]:
        with self._lock:
            section: dict[str, Any] = self._document.setdefault(name, {})
            return section

    def _save(self) -> None:
        write_private(self._path, json.dumps(self._document, indent=2, sort_keys=True) + "\n")


def remember_free_port(name: str, state: State, environ: Mapping[str, str]) -> None:
    """
    Choose the port of the program *name*, which does not run, and remember it.

    Children that it left behind when it crashed are killed: they would hold its old port.
    """
    process = state.process(name)
    if process is not None and not is_alive(process):
        kill(process)
    others = state.ports()
    remembered = others.pop(name, None)
    port = choose_port(name, environ=environ, remembered=remembered, taken=others.values())
    state.remember_port(name, port)


def write_private(path: Path, text: str) -> None:
    """Replace *path* in one step by a file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


@contextmanager
def exclusive(lock_file: Path) -> Iterator[None]:
    """Let one command at a time change the stack; others wait for it."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write("mediactl: waiting for another mediactl command to finish\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {"version": _VERSION}
    except ValueError as error:
        raise MediactlError(
            f"{path} cannot be read: {error}. Stop what still runs, then remove the file."
        ) from error
    if document.get("version") != _VERSION:
        raise MediactlError(
            f"{path} was written by another version of mediactl: run that version's "
            "'mediactl down --wipe', or remove the file."
        )
    return document
