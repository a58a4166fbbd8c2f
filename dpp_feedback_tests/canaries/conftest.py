"""The scene, played once for all searches; then canaries of another name are planted everywhere."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg
import pytest
import yaml

from dpp_feedback.ingest import process_feedback
from dpp_feedback.local import dagster_dev, ports, wiring
from dpp_feedback.local.dagster_dev import DagsterDev
from dpp_feedback.local.stack import Stack
from dpp_feedback.migrate import migrate
from dpp_feedback_tests import webhook
from dpp_feedback_tests.canaries import scene as acts
from dpp_feedback_tests.canaries.bodies import event, poison
from dpp_feedback_tests.canaries.graphql import WebServer
from dpp_feedback_tests.canaries.plants import plant
from dpp_feedback_tests.canaries.scene import LOGIN, REFUSING, Scene, secrets
from dpp_feedback_tests.canaries.search import canary
from dpp_feedback_tests.feedback.bodies import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PATIENCE = 90  # seconds for what Dagster does by itself


@dataclass
class Played:
    """What is left when all is over.

    Attributes:
        folder: of everything: the stack, DAGSTER_HOME, temporary files.
        home: DAGSTER_HOME.
        database_url: of a superuser.
        printed: by commands, and events of runs.
        shown: bodies that a person asked for, masked.
        told: texts that went out by Slack.
        handles: receipt handles.
        statements: texts of pg_stat_activity.
        answers: of the web server, by the name of the question.
        statuses: of the runs of each job.
        stored: recipients in the table.
    """

    folder: Path
    home: Path
    database_url: str
    printed: list[tuple[str, str]]
    shown: list[tuple[str, str]]
    told: list[str]
    handles: dict[str, str]
    statements: set[str]
    answers: list[tuple[str, Any]] = field(default_factory=list)
    statuses: dict[str, set[str]] = field(default_factory=dict)
    stored: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Play everything, and look at it with the web server before it stops."""
    folder = tmp_path_factory.mktemp("canaries")
    stack = Stack(folder / "stack")
    home = folder / "dagster"
    with ExitStack() as undo:
        patch = undo.enter_context(pytest.MonkeyPatch.context())
        for name in ("tmp", "work", "project"):
            (folder / name).mkdir()
        patch.chdir(folder / "work")
        patch.setenv("TMPDIR", str(folder / "tmp"))
        patch.setattr(tempfile, "tempdir", None)
        _debugging(folder / "project", patch)
        patch.setattr(webhook, "SECRET", f"/services/T0/B0/{canary('slack')}")
        hook = undo.enter_context(webhook.webhook())

        settings = stack.up(postgres_port=ports.free_port(), aws_port=ports.free_port())
        undo.callback(stack.down)
        superuser = settings["DATABASE_URL"]
        migrate(superuser)
        _require_passwords(stack, superuser)
        environment = secrets(settings) | {"SES_FEEDBACK_SLACK_WEBHOOK_URL": hook.url}
        statements = undo.enter_context(_watched(superuser))

        first = Scene(environment, dg.DagsterInstance.ephemeral())
        first.send(event("Bounce"), event("Complaint", "complainer"), *poison())
        first.send(*poison(), setting="SQS_DLQ_URL")
        dagster = DagsterDev(home, ports.free_port(), ROOT / "workspace.yaml")
        patch.chdir(ROOT)  # from where workspace.yaml imports the project
        dagster.start(environment | {"PYTHONFAULTHANDLER": "1"})
        undo.callback(dagster.stop)
        patch.chdir(folder / "work")

        # A queue of this process's own, so that the daemon's runs take nothing away.
        own = wiring.Names(queue="queue-here", dead_letter_queue="dlq-here")
        wired = wiring.wire(settings["AWS_ENDPOINT_URL"], settings["AWS_REGION"], own)
        here = environment | {name: wired[name] for name in ("SQS_QUEUE_URL", "SQS_DLQ_URL")}
        for name, value in here.items():
            patch.setenv(name, value)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            # First, for its sensor backs off when runs fail.
            _wait("a run of the daemon's", lambda: _ended(instance))
            scene = Scene(here, instance)
            with scene.recorded_handles():
                for act in (
                    *(acts.drains_that_go_well, acts.settings_that_are_wrong, acts.bugs),
                    *(acts.dead_letters, acts.all_else, acts.removals),
                ):
                    act(scene)
            _wait("an alert", lambda: bool(hook.texts))
            plant(scene, superuser, folder, hook.url)
            runs = instance.get_runs()
            result = Played(
                folder,
                home,
                superuser,
                scene.printed,
                scene.shown,
                [*hook.texts],
                {f"handle {i}": handle for i, handle in enumerate(sorted(scene.handles))},
                statements,
            )
            for run in runs:
                result.statuses.setdefault(run.job_name, set()).add(run.status.value)
            result.answers = list(WebServer(dagster.url).everything([run.run_id for run in runs]))
        dagster.stop()
        with psycopg.connect(superuser) as database:
            found = database.execute("SELECT primary_recipient FROM public.ses_feedback_events")
            result.stored = [str(who) for (who,) in found]
        yield result


def _debugging(project: Path, patch: pytest.MonkeyPatch) -> None:
    """Let Dagster store whatever any library logs, from DEBUG on."""
    written = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    written["python_logs"] = {
        "python_log_level": "DEBUG",
        "managed_python_loggers": ["root", "botocore.parsers"],
    }
    (project / "dagster.yaml").write_text(yaml.safe_dump(written))
    patch.setattr(dagster_dev, "_PROJECT", project)


def _require_passwords(stack: Stack, superuser: str) -> None:
    """Make a login with a password that is asked for."""
    with psycopg.connect(superuser, autocommit=True) as database:
        database.execute(
            f"CREATE ROLE {LOGIN} LOGIN SUPERUSER PASSWORD '{canary('database-password')}'"
        )
        (file,) = database.execute("SHOW hba_file").fetchone() or ("",)
        rules = stack.postgres.folder / "data" / "pg_hba.conf"
        assert str(rules) == file
        before = rules.read_text()
        rules.write_text(f"host all {LOGIN} 127.0.0.1/32 scram-sha-256\n{before}")
        database.execute("SELECT pg_reload_conf()")
        database.execute(REFUSING)


class _Watch:
    """Collects the texts of statements that anybody can see in pg_stat_activity."""

    def __init__(self, database_url: str) -> None:
        self.statements: set[str] = set()
        self._url = database_url
        self._over = Event()
        self._thread = Thread(target=self._look)

    def __enter__(self) -> set[str]:
        self._thread.start()
        return self.statements

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        with suppress(psycopg.OperationalError), closing(psycopg.connect(self._url)) as database:
            database.autocommit = True
            while not self._over.wait(0.05):
                found = database.execute(
                    "SELECT query, application_name FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid()"
                )
                self.statements.update(f"{name}: {query}" for query, name in found if query)


def _watched(database_url: str) -> _Watch:
    return _Watch(database_url)


def _ended(instance: dg.DagsterInstance) -> bool:
    """Whether a run that the sensor asked for is over."""
    found = instance.get_runs(
        dg.RunsFilter(
            job_name=process_feedback.name, tags={"dagster/sensor_name": "feedback_queue_sensor"}
        )
    )
    return any(run.is_finished for run in found)


def _wait(what: str, arrived: Callable[[], bool]) -> None:
    end = monotonic() + _PATIENCE
    while not arrived():
        assert monotonic() < end, f"waited {_PATIENCE} s for {what}"
        sleep(0.5)
