"""Stands in for AWS on a laptop: SQS, SNS, SES, S3 and others of ministack, on loopback.

It starts, stops and finds one process in one folder. Queues and topics are made in `wiring`.
"""

import importlib.util
import sys
import time
from pathlib import Path

import psutil

from dpp_feedback.local import ports, process
from dpp_feedback.local.errors import StackError
from dpp_feedback.local.process import Record

_READY_SECONDS = 60.0


class AwsStandIn:
    """One stand-in for AWS in one folder.

    Stopped in good order it keeps queues, waiting messages and topics for the next start on the
    same port. Killed, it forgets: it then starts empty, and everything has to be wired again.

    Args:
        folder: Its own folder; made when missing.
        port: Where it listens on 127.0.0.1.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.log = self.folder / "aws.log"
        # By port, because the queues' addresses, and with them their messages, hang on it.
        self._memory = self.folder / f"memory-{port}"
        self._record = self.folder / "process.json"

    @property
    def endpoint_url(self) -> str:
        """The address for boto3's `endpoint_url`, or for AWS_ENDPOINT_URL."""
        return f"http://{ports.LOOPBACK}:{self.port}"

    def running_port(self) -> int | None:
        """Return the port on which the stand-in of this folder runs; None when it does not."""
        record = self._running()
        running = record.process() if record else None
        return _port_of(running) if running else None

    def remembers(self) -> bool:
        """Tell whether it runs, or was stopped in good order and will go on where it was."""
        return self._running() is not None or any(self._memory.glob("*.json"))

    def start(self) -> bool:
        """Start it unless it runs, and wait until it answers.

        Returns:
            Whether it was started now; False when it ran already.

        Raises:
            StackError: The port is taken, it runs on another port, or it does not start.
        """
        with process.exclusively(self.folder):
            record = self._running()
            if record is not None:
                if self._becomes_ready(record):
                    self._forget_memory()
                    return False
                self._stop(record)  # it hangs, or was killed this very moment
            ports.require_free(self.port, "--aws-port")
            record = self._spawn()
            record.write(self._record)
            try:
                ready = self._becomes_ready(record)
            except BaseException:
                self._stop(record)
                raise
            if not ready:
                self._stop(record)
                raise StackError(f"The AWS stand-in did not start: see the end of {self.log}.")
            self._forget_memory()
            return True

    def stop(self) -> bool:
        """Stop it in good order, so that it writes down what its queues hold.

        Returns:
            Whether it ran.
        """
        if not self.folder.exists():
            return False
        with process.exclusively(self.folder):
            record = self._running()
            return record is not None and self._stop(record)

    def _running(self) -> Record | None:
        record = Record.read(self._record)
        return record if record and record.process() else None

    def _stop(self, record: Record) -> bool:
        stopped = process.stop(record)
        self._record.unlink(missing_ok=True)
        return stopped

    def _forget_memory(self) -> None:
        # A stand-in that answers has read it. Read again after a crash, it would bring back
        # messages that are long acknowledged.
        for memory in self._memory.glob("*.json"):
            memory.unlink()

    def _spawn(self) -> Record:
        if importlib.util.find_spec("ministack") is None:
            raise StackError(
                "The local stack is not installed. Run: pip install 'dpp-feedback[local]'."
            )
        environment = process.inherited_environment() | {
            "BIND_HOST": ports.LOOPBACK,
            "GATEWAY_PORT": str(self.port),
            "SERVICES": "sqs,sns,ses,sts,iam,cloudwatch,s3",
            "LOG_LEVEL": "WARNING",  # else a line for every request
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self._memory),
            # Its pid file and whatever else it writes stay in this folder.
            "HOME": str(self.folder),
            "S3_DATA_DIR": str(self.folder / "s3"),
            "TMPDIR": str(self.folder),
            # These two would listen on all interfaces.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # At its start it removes containers that it takes for its own: show it no Docker.
            "DOCKER_HOST": f"unix://{self.folder}/no-docker.sock",
        }
        # -P: a module of the folder it runs in can not take the place of an installed one.
        command = [sys.executable, "-P", "-m", "dpp_feedback.local.aws_server"]
        return process.start_detached(command, folder=self.folder, log=self.log, env=environment)

    def _becomes_ready(self, record: Record) -> bool:
        """Wait until it answers; False when it ended, or does not answer for a minute."""
        deadline = time.monotonic() + _READY_SECONDS
        while (running := record.process()) and time.monotonic() < deadline:
            # First on which port it is: on ours, another server could answer as well.
            port = _port_of(running)
            if port is not None and port != self.port:
                raise StackError(
                    f"The AWS stand-in of {self.folder} already runs on port {port}. "
                    "Stop it with `dpp-feedback down` to move it."
                )
            if port is not None and ports.serves(self.port, "/_ministack/ready"):
                return True
            time.sleep(0.05)
        return False


def _port_of(running: psutil.Process) -> int | None:
    return next(iter(ports.listening(running)), None)
