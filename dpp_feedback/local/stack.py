"""The local stack as a whole: brings PostgreSQL and the AWS stand-in up and down.

One folder holds it all; that folder can be thrown away. It makes the database but no tables: the
caller migrates. How each server is run is in `postgres` and `aws`.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from dpp_feedback.local import files, process, wiring
from dpp_feedback.local.aws import AwsStandIn
from dpp_feedback.local.errors import StackError
from dpp_feedback.local.ledger import Ledger
from dpp_feedback.local.postgres import EmbeddedPostgres
from dpp_feedback.queue import DEFAULT_REGION

__all__ = ["DEFAULT_AWS_PORT", "DEFAULT_POSTGRES_PORT", "Stack", "StackError"]

# Ports of their own, away from 5432 and from the 4566 of other AWS stand-ins, and below 32768,
# from where systems take the ports of outgoing connections.
DEFAULT_POSTGRES_PORT = 25432
DEFAULT_AWS_PORT = 4577


class Stack:
    """The servers of one folder.

    Args:
        folder: A folder of its own; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The PostgreSQL of this folder, running or not: for its url, psql and log."""
        return self._postgres_on(None)

    @property
    def aws(self) -> AwsStandIn:
        """The AWS stand-in of this folder, running or not: for its address and log."""
        return self._aws_on(None)

    def up(
        self,
        postgres_port: int | None = None,
        aws_port: int | None = None,
        env_file: Path | None = None,
        region: str = DEFAULT_REGION,
    ) -> dict[str, str]:
        """Start what does not run, wire the queues, and return the product's settings.

        Again is harmless: what runs is left alone. When it fails, what it started is stopped.

        Args:
            postgres_port: None: where PostgreSQL runs or last ran, or else the default.
            aws_port: None: where the AWS stand-in runs or last ran, or else the default. On
                another port it has queues of its own, which are empty.
            env_file: Where to write the settings for other programs; None: nowhere.
            region: The AWS region to make queues and topics in.

        Returns:
            Settings by the name of their environment variable, credentials for the stand-in
            among them.

        Raises:
            StackError: A port is taken, the folder or the file is somebody else's, or a server
                does not start. The message says what to do.
        """
        if env_file is not None:
            files.refuse_foreign_env_file(env_file)
        with self._held():
            if files.State.read(self.folder) is None:
                # Before anything starts, so that a half-made folder is known as ours.
                files.State().write(self.folder)
            with ExitStack() as undo:
                postgres = self._postgres_on(postgres_port)
                if postgres.start():
                    undo.callback(postgres.stop)
                aws = self._aws_on(aws_port)
                remembers = aws.remembers()
                if aws.start():
                    undo.callback(aws.stop)
                    if not remembers:
                        Ledger(self.folder).forget()  # what it speaks of is gone from the queues
                settings = _settings(postgres, aws, region)
                settings["SES_FEEDBACK_REPORTS"] = str(self.folder / "reports")
                if env_file is not None:
                    files.write_env_file(env_file, settings)
                files.State(settings).write(self.folder)
                undo.pop_all()
            return settings

    def down(self, wipe: bool = False) -> list[str]:
        """Stop what runs, and nothing else; waiting messages are kept for the next `up`.

        Args:
            wipe: Remove the folder too, with the database and the messages in it.

        Returns:
            What was stopped, for people.

        Raises:
            StackError: The folder is not one that `up` made, or not this user's.
        """
        if not self.folder.exists():
            return []
        with self._held():
            if files.State.read(self.folder) is None:
                return []
            stopped = []
            aws, postgres = self.aws, self.postgres
            if aws.stop():
                stopped.append(f"AWS stand-in on port {aws.port}")
            if postgres.stop():
                stopped.append(f"PostgreSQL on port {postgres.port}")
            if wipe:
                shutil.rmtree(self.folder)
            return stopped

    def settings(self) -> dict[str, str]:
        """Return the settings of the running stack.

        Raises:
            StackError: It does not run, or not all of it.
        """
        state = files.State.read(self.folder)
        running = self.postgres.running_port() and self.aws.running_port()
        if state is None or not state.settings or not running:
            raise StackError("The local stack is not running. Start it with `dpp-feedback up`.")
        return state.settings

    @contextmanager
    def _held(self) -> Iterator[None]:
        try:
            with process.exclusively(self.folder):
                yield
        except (OSError, psutil.AccessDenied) as error:
            raise StackError(
                f"The local stack can not work in {self.folder} ({error}). "
                "Choose another folder, or do this as the user whose stack it is."
            ) from error

    def _postgres_on(self, port: int | None) -> EmbeddedPostgres:
        folder = self.folder / "postgres"
        found = EmbeddedPostgres(folder, DEFAULT_POSTGRES_PORT).running_port()
        last = self._last_port("DATABASE_URL")
        return EmbeddedPostgres(folder, port or found or last or DEFAULT_POSTGRES_PORT)

    def _aws_on(self, port: int | None) -> AwsStandIn:
        folder = self.folder / "aws"
        found = AwsStandIn(folder, DEFAULT_AWS_PORT).running_port()
        last = self._last_port("AWS_ENDPOINT_URL")
        return AwsStandIn(folder, port or found or last or DEFAULT_AWS_PORT)

    def _last_port(self, setting: str) -> int | None:
        state = files.State.read(self.folder)
        return urlsplit(state.settings.get(setting, "")).port if state else None


def _settings(postgres: EmbeddedPostgres, aws: AwsStandIn, region: str) -> dict[str, str]:
    try:
        wired = wiring.wire(aws.endpoint_url, region)
    except (BotoCoreError, ClientError) as error:
        raise StackError(f"The AWS stand-in refuses to be wired: {error} See {aws.log}.") from error
    return {"DATABASE_URL": postgres.url(), **wired}
