"""
One PostgreSQL server with a cluster of its own; clusters of the system are never touched.

Invariant: the server never runs as root, which it refuses: root lends it the user postgres
or nobody, and a data directory which that user can reach.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from mediactl.devstack.endpoints import ADMIN, DATABASE
from mediactl.devstack.processes import ProcessRef, wait_until
from mediactl.devstack.program import Command, Program
from mediactl.errors import MediactlError

_CREATE_DATABASE = (
    f"SELECT 'CREATE DATABASE {DATABASE}' WHERE NOT EXISTS "  # noqa: S608 - a constant
    f"(SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec\n"
)
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_FSYNC_VARIABLE = "POSTGRES_FSYNC"
_OUTSIDE = Path("/var/tmp")  # noqa: S108 - each cluster gets a name made up for it


class PostgresServer(Program):
    """
    The database server; ``data`` must be a directory that its account can reach.

    With POSTGRES_FSYNC=off in *environ* it outlives its own death, but no power cut.
    """

    # SIGINT is the fast shutdown: clients are cut off instead of waited for.
    stop_signal = signal.SIGINT

    def __init__(
        self,
        *,
        binaries: Path,
        data: Path,
        log_file: Path,
        port: int,
        password: str,
        environ: Mapping[str, str],
        process: ProcessRef | None = None,
    ) -> None:
        super().__init__("postgres", log_file, process)
        self.port = port
        self._environ = environ
        self.password = password
        self._binaries = binaries
        self._data = data

    @property
    def admin_url(self) -> str:
        """The administrator's login to the database of the stack."""
        return f"postgresql://{ADMIN}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def prepare(self) -> None:
        """Make the cluster before the first start."""
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        # Backends of a killed server hold its shared memory until they notice, and a new one
        # refuses to start beside them; nor does it start while the killed one is a zombie
        # that nobody has reaped, unless the lock file is gone.
        if wait_until(lambda: not _works_in(self._data), timeout_seconds=10):
            (self._data / "postmaster.pid").unlink(missing_ok=True)

    def command(self) -> Command:
        """Return the server's command line."""
        argv = [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        settings = {**_SETTINGS, "fsync": self._environ.get(_FSYNC_VARIABLE) or "on"}
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return Command([*as_server_account(), *argv], _environment())

    def is_ready(self) -> bool:
        """Return whether the server accepts connections."""
        argv = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(argv, check=False, env=_environment()).returncode == 0

    def wait_ready(self, timeout_seconds: float | None = None) -> None:
        """Return once the server accepts connections and the stack's database exists."""
        super().wait_ready(timeout_seconds)
        self.run_sql(_CREATE_DATABASE)

    def run_sql(self, script: str, *, database: str = "postgres") -> str:
        """Run a psql script as administrator and return its output; raises MediactlError."""
        argv = [str(self._binaries / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1"]
        argv += ["-h", "127.0.0.1", "-p", str(self.port), "-U", ADMIN, "-d", database]
        env = {**_environment(), "PGPASSWORD": self.password}
        done = subprocess.run(
            argv, input=script, env=env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise MediactlError(f"PostgreSQL refused a command: {done.stderr.strip()}")
        return done.stdout

    def _initialise(self) -> None:
        _clear_half_made(self._data)
        password_file = self._data.with_name(f"{self._data.name}.password")
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        _give_to_server_account(self._data, password_file)
        try:
            self._run_initdb(password_file)
        finally:
            password_file.unlink()

    def _run_initdb(self, password_file: Path) -> None:
        argv = [*as_server_account(), str(self._binaries / "initdb"), "-D", str(self._data)]
        argv += ["-U", ADMIN, f"--pwfile={password_file}", "--auth=scram-sha-256"]
        argv += ["-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"]
        done = subprocess.run(
            argv, env=_environment(), capture_output=True, text=True, check=False, cwd="/"
        )
        if done.returncode:
            raise MediactlError(f"PostgreSQL could not make {self._data}: {done.stderr.strip()}")


def new_data_directory(home: Path, *, outside: Path = _OUTSIDE) -> Path:
    """
    Return where a new cluster of the stack in *home* is to lie, and make its parent.

    That is ``home/data/postgres``, or a new directory of *outside* where the server's account
    cannot reach into *home*. Raises MediactlError where a cluster lies in *home* whose password
    was lost with the stack's state.
    """
    inside = home / "data" / "postgres"
    if inside.exists():
        raise MediactlError(
            f"{inside} is of a stack that mediactl has no record of: 'mediactl down --wipe' "
            "removes it with all its data."
        )
    inside.parent.mkdir(parents=True, exist_ok=True)
    if _is_reachable(inside.parent):
        return inside
    # Never the directory of an earlier stack: who removes a home by hand leaves that behind,
    # and its cluster has another password.
    made = Path(tempfile.mkdtemp(prefix="mediactl-", dir=outside))
    made.chmod(0o711)  # its account passes through
    return made / "postgres"


def remove_outside_data(home: Path, data: str | None) -> None:
    """Remove the cluster of the stack in *home* where it lies outside of it."""
    if data and not Path(data).is_relative_to(home):
        shutil.rmtree(Path(data).parent, ignore_errors=True)


def as_server_account() -> list[str]:
    """Return the words that make root run a command as the server's account."""
    if os.geteuid() != 0:
        return []
    account = _account()
    ids = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"]
    return ["setpriv", *ids, "--clear-groups", "--"]


def _account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise MediactlError("PostgreSQL may not run as root and this machine has no user nobody.")


def _is_reachable(directory: Path) -> bool:
    argv: Sequence[str] = [*as_server_account(), "test", "-x", str(directory)]
    return subprocess.run(argv, check=False).returncode == 0


def _give_to_server_account(data: Path, password_file: Path) -> None:
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        account = _account()
        for path in (data, password_file):
            os.chown(path, account.pw_uid, account.pw_gid)


def _clear_half_made(data: Path) -> None:
    # initdb writes PG_VERSION early but refuses a directory that is not empty, so what an
    # interrupted run without that file left is of no use.
    if data.exists():
        shutil.rmtree(data)


def _works_in(data: Path) -> bool:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == data:
                    return True
            except OSError:
                continue
    return False


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
