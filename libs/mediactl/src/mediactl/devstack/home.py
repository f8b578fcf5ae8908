"""
Where a stack keeps its things on disk.

Invariant: nothing of a stack lies outside its home, except a PostgreSQL data directory that
its own user could not reach there (see ``native.postgres``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mediactl.errors import MediactlError

_ROOT_MARK = Path("deploy/local/pom.xml")
_WAY, _OTHERS = 0o711, 0o077


@dataclass(frozen=True)
class Home:
    """
    The paths of one stack.

    ``path`` holds state, data and logs; ``tools`` holds what was installed and is shared by
    all stacks of a checkout; ``root`` is the checkout.
    """

    path: Path
    tools: Path
    root: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Home:
        """Return the home that MEDIACTL_HOME and MEDIACTL_TOOLS name, or ``.mediactl``."""
        environ = os.environ if environ is None else environ
        root = checkout_root(environ)
        default = str(root / ".mediactl")
        return cls(
            path=Path(environ.get("MEDIACTL_HOME") or default).absolute(),
            tools=Path(environ.get("MEDIACTL_TOOLS") or default).absolute(),
            root=root,
        )

    @property
    def state_file(self) -> Path:
        """Ports, secrets and processes; mode 0600."""
        return self.path / "state.json"

    @property
    def lock_file(self) -> Path:
        """Held by the one command that changes the stack."""
        return self.path / "lock"

    @property
    def env_file(self) -> Path:
        """Shell assignments for people and tools."""
        return self.path / "env"

    @property
    def compose_env_file(self) -> Path:
        """Variables for docker-compose.yml."""
        return self.path / "compose.env"

    @property
    def logs(self) -> Path:
        """One file a program."""
        return self.path / "logs"

    @property
    def data(self) -> Path:
        """What servers store."""
        return self.path / "data"

    def log_file(self, name: str) -> Path:
        """Return the log of the program *name*."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make the directories; others of this machine may not read what is in them."""
        try:
            for directory in (self.path, self.logs, self.data, self.tools / "bin"):
                directory.mkdir(parents=True, exist_ok=True)
            self._close()
        except OSError as error:
            raise MediactlError(
                f"Cannot create {error.filename}: {error.strerror}. Set MEDIACTL_HOME (and "
                "MEDIACTL_TOOLS) to a directory you may write to."
            ) from error

    def _close(self) -> None:
        """Shut others out, from what an earlier version left open as well."""
        # Root lends PostgreSQL another user, who must get through to its data and no further.
        ways = {self.path, self.data} if os.geteuid() == 0 else set()
        for entry in (self.path, *self.path.iterdir(), *self.data.iterdir()):
            with suppress(FileNotFoundError):
                found = entry.lstat()
                if found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode):
                    entry.chmod(_WAY if entry in ways else stat.S_IMODE(found.st_mode) & ~_OTHERS)


def checkout_root(environ: Mapping[str, str]) -> Path:
    """Return the root of the checkout: MEDIACTL_ROOT, or the tree this file lies in."""
    named = environ.get("MEDIACTL_ROOT")
    candidates = [Path(named)] if named else list(Path(__file__).resolve().parents)
    for candidate in candidates:
        if (candidate / _ROOT_MARK).is_file():
            return candidate
    raise MediactlError("mediactl must run from a checkout: start it as ./mediactl at its root.")
