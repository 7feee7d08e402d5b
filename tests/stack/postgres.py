"""A PostgreSQL of the harness's own: it can be stopped, crashed and restarted without hurting anyone.

Its programs come from ``HYGATE_TEST_PG_BIN``, from ``pg_config``, or from Debian's package. PostgreSQL never runs as
root: there the server runs as ``postgres`` or ``nobody`` inside a folder that belongs to it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from tests.stack.ports import free_port


class NoPostgres(Exception):
    """No PostgreSQL programs on this machine; the text says what to install."""


def programs() -> Path:
    """The folder that holds ``initdb`` and ``postgres``."""
    named = os.environ.get("HYGATE_TEST_PG_BIN")
    config = shutil.which("pg_config")
    told = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False).stdout if config else ""
    candidates = [named, told.strip(), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    for folder in (Path(one) for one in candidates if one):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoPostgres(
        "No PostgreSQL server was found. Install one (Debian: apt-get install postgresql), or set HYGATE_TEST_PG_BIN"
        " to the folder that holds initdb and postgres."
    )


def server_user() -> str | None:
    """Whom the server runs as: None for ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Postgres:
    """One cluster in a temporary folder, reached by TCP on 127.0.0.1 as user ``hygate`` without a password."""

    def __init__(self) -> None:
        self._bin = programs()
        self._user = server_user()
        self._folder = Path(tempfile.mkdtemp(prefix="hygate-pg-"))
        self.port = free_port()
        self._server: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(self._folder, self._user)
        self._run(
            "initdb", "-D", str(self._data), "-U", "hygate", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"
        )
        with (self._data / "postgresql.conf").open("a") as conf:
            # the machine never loses power here, only processes die: fsync would cost time and prove nothing
            conf.write(f"fsync=off\nmax_connections=200\nshared_buffers=128MB\nport={self.port}\n")
            conf.write(f"listen_addresses='127.0.0.1'\nunix_socket_directories='{self._folder}'\n")

    def configure(self, *lines: str) -> None:
        """Further lines of postgresql.conf, for the next start; a later line wins."""
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{line}\n" for line in lines)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def url(self, *, port: int | None = None, name: str = "hygate") -> str:
        return f"postgresql://hygate@127.0.0.1:{port or self.port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        done = subprocess.run(command, user=self._user, cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr[-500:]}")

    def start(self, *, fresh_database: bool = False) -> Postgres:
        log = (self._folder / "log").open("ab")
        self._server = subprocess.Popen(
            [str(self._bin / "postgres"), "-D", str(self._data)],
            user=self._user,
            cwd=self._folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self._wait()
        if fresh_database:
            with psycopg.connect(self.url(name="postgres"), autocommit=True) as admin:
                admin.execute("DROP DATABASE IF EXISTS hygate WITH (FORCE)")
                admin.execute("CREATE DATABASE hygate")
        return self

    def _wait(self, within_s: float = 30) -> None:
        deadline = time.monotonic() + within_s
        while True:
            try:
                psycopg.connect(self.url(name="postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        """In order: callers are thrown out, nothing is lost."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """At once, as ``pg_ctl stop -m immediate``: the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """SIGKILL to the postmaster and every backend."""
        if self._server is not None:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait(10)
            self._server = None

    def _end(self, how: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(20)
            self._server = None

    def dump(self, path: Path) -> None:
        """A backup of the database, as an operator makes it."""
        self._run(
            "pg_dump",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "hygate",
            "-Fc",
            "-f",
            str(self._folder / "b"),
            "hygate",
        )
        shutil.copyfile(self._folder / "b", path)

    def restore(self, path: Path) -> None:
        """Put a backup in the place of the database."""
        shutil.copyfile(path, self._folder / "b")
        with psycopg.connect(self.url(name="postgres"), autocommit=True) as admin:
            admin.execute("DROP DATABASE IF EXISTS hygate WITH (FORCE)")
            admin.execute("CREATE DATABASE hygate")
        self._run(
            "pg_restore",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "hygate",
            "-d",
            "hygate",
            str(self._folder / "b"),
        )

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
