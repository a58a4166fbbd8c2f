"""Everything that the product does, done with canaries: what goes well and what fails.

A real `dagster dev` drains the queue, and its sensors ask and tell. What must fail in a way that
nobody foresaw runs in this process, on the same instance: there a bug can be planted.
"""

from __future__ import annotations

import json
import os
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from dpp_feedback import drained
from dpp_feedback.cli import main
from dpp_feedback.definitions import defs
from dpp_feedback.local import clients
from dpp_feedback.queue import Queue
from dpp_feedback.store import Store
from dpp_feedback.suppression import Suppression
from dpp_feedback_tests.canaries.bodies import event, poison
from dpp_feedback_tests.canaries.search import canary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import dagster as dg

    from dpp_feedback.feedback.events import FeedbackEvent
    from dpp_feedback.messages import Message

SECRETS = (
    *("database-password", "wrong-password", "access-key", "secret-key", "session-token"),
    *("reject-key", "erasure-key", "slack", "mail-from", "mail-to"),
)
"""Names of the canaries in settings."""

LOGIN = "canary"
# Raises with a row's values, as anybody's trigger may; and refuses others by a constraint, which
# makes Postgres quote the row.
REFUSING = """
CREATE FUNCTION public.refusing() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  IF NEW.primary_recipient LIKE 'trigger%' THEN
    RAISE EXCEPTION 'not %', NEW.primary_recipient USING DETAIL = NEW::text;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refusing BEFORE INSERT ON public.ses_feedback_events
  FOR EACH ROW EXECUTE FUNCTION public.refusing();
ALTER TABLE public.ses_feedback_events
  ADD CONSTRAINT no_refused CHECK (primary_recipient NOT LIKE '%refused.example') NOT VALID;
"""


def secrets(stack: Mapping[str, str]) -> dict[str, str]:
    """Write the settings of a stack with secrets in them."""
    at = urlsplit(stack["DATABASE_URL"])
    return {
        **stack,
        "DATABASE_URL": f"postgresql://{LOGIN}:{canary('database-password')}@"
        f"{at.hostname}:{at.port}{at.path}",
        "AWS_ACCESS_KEY_ID": canary("access-key"),
        "AWS_SECRET_ACCESS_KEY": canary("secret-key"),
        "AWS_SESSION_TOKEN": canary("session-token"),
        "SES_FEEDBACK_ERASURE_KEY": canary("erasure-key"),
        "SES_FEEDBACK_MAIL_FROM": f"{canary('mail-from')}@alerts.example",
        "SES_FEEDBACK_MAIL_TO": f"{canary('mail-to')}@alerts.example",
        "SES_FEEDBACK_MIN_VOLUME": "1",  # so that everything alarms
    }


class Scene:
    """The settings, the instance, and what was printed.

    Args:
        environment: the product's settings, with secrets.
        instance: Dagster's, of the home that `dagster dev` runs in.
    """

    def __init__(self, environment: Mapping[str, str], instance: dg.DagsterInstance) -> None:
        self.environment = environment
        self.instance = instance
        self.printed: list[tuple[str, str]] = []
        self.shown: list[tuple[str, str]] = []  # bodies that a person asked for, masked
        self.handles: set[str] = set()
        self.failures: dict[str, str] = {}
        self._sqs = clients.sqs(environment)

    def send(self, *bodies: str, setting: str = "SQS_QUEUE_URL") -> None:
        """Put messages into a queue."""
        for body in bodies:
            self._sqs.send_message(QueueUrl=self.environment[setting], MessageBody=body)

    def run(
        self, job: str, *, fails: str = "", tags: Mapping[str, str] | None = None, **config: Any
    ) -> str:
        """Run a job in this process, and say whether it must fail: by a word of its failure."""
        result = defs.resolve_job_def(job).execute_in_process(
            run_config=config, instance=self.instance, tags=dict(tags or {}), raise_on_error=False
        )
        said = " ".join(
            str(one.event_specific_data)
            for one in result.all_events
            if one.is_step_failure or one.is_failure
        )
        assert result.success is not bool(fails), said
        assert fails in said, said
        self.printed.append((f"events of {job}", "\n".join(map(str, result.all_events))))
        return result.run_id

    def command(self, *words: str, exit_code: int | None = 0, masked: bool = False) -> str:
        """Call the command, and keep what it prints."""
        result = CliRunner().invoke(main, words)
        text = result.output + result.stderr
        if result.exception and not isinstance(result.exception, SystemExit):
            text += "".join(traceback.format_exception(result.exception))
        assert exit_code in (None, result.exit_code), text
        (self.shown if masked else self.printed).append((" ".join(words), text))
        return result.stdout

    @contextmanager
    def recorded_handles(self) -> Iterator[None]:
        """Remember the receipt handles that come, to look for them."""
        receive = Queue.receive_some

        async def recording(queue: Queue, *arguments: Any) -> list[Message]:
            came = await receive(queue, *arguments)
            self.handles.update(message.receipt_handle for message in came)
            return came

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Queue, "receive_some", recording)
            yield

    @contextmanager
    def with_settings(self, **changes: str) -> Iterator[None]:
        """Let other settings hold for a while."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in changes.items():
                patch.setenv(name, value)
            yield


def drains_that_go_well(scene: Scene) -> None:
    """Good, duplicate, poisoned and refused messages."""
    twice = event("Bounce")
    scene.send(
        *(twice, twice, event("Complaint", "complainer"), event("Delivery"), event("Click")),
        event(
            "Bounce", bouncedRecipients=[{"emailAddress": f"trigger{canary('trigger')}@x.example"}]
        ),
        event(
            "Bounce", bouncedRecipients=[{"emailAddress": f"{canary('refused')}@refused.example"}]
        ),
        *poison(),
    )
    scene.run("process_feedback")


def settings_that_are_wrong(scene: Scene) -> None:
    """Each run fails at its beginning, with a sentence that names a setting."""
    url = scene.environment["DATABASE_URL"]
    password, wrong = canary("database-password"), canary("wrong-password")
    database = {
        "password": url.replace(password, wrong),
        "does not answer": url.replace(str(urlsplit(url).port), "1"),
        "cannot be read": url.replace(password, f"{wrong}/@:?#"),
    }
    for fails, changed in database.items():
        with scene.with_settings(DATABASE_URL=changed):
            scene.run("process_feedback", fails=fails)
            scene.command("migrate", exit_code=1)
    with scene.with_settings(SES_FEEDBACK_REJECT_KEY=canary("reject-key")):
        scene.run("process_feedback", fails="pgcrypto")
    for changes, fails in (
        # A line break makes a header that is refused, and quoted.
        ({"AWS_SESSION_TOKEN": f"{canary('session-token')}\nx"}, "does not answer"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "does not answer"),
        ({"SQS_QUEUE_URL": f"{scene.environment['SQS_QUEUE_URL']}-none"}, "does not exist"),
    ):
        with scene.with_settings(**changes):
            scene.run("process_feedback", fails=fails)


def bugs(scene: Scene) -> None:
    """Errors that nobody foresaw, whose texts hold what was being worked on."""
    for owner, name, bug, job in _BUGS:
        scene.send(event("Bounce", "bug"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, bug)
            scene.run(job, fails="nobody foresaw")


def dead_letters(scene: Scene) -> None:
    """The dead-letter queue by job and by command."""
    scene.send(event("Bounce"), *poison(), setting="SQS_DLQ_URL")
    scene.run("__anonymous_asset_job_dlq_health_sensor")
    listed = [json.loads(line) for line in scene.command("dlq", "list", "--json").splitlines()]
    for one in listed[::3]:
        scene.command("dlq", "show", one["message_id"], masked=True)
    scene.command("dlq", "export", "-", masked=True)
    scene.run("reprocess_dlq")
    scene.command("dlq", "reprocess", "--no-dry-run")
    chosen = listed[-1]["message_id"]
    why = f"{canary('poison')}@example.com asked for it"
    scene.command("dlq", "discard", "--ids", chosen, "--why", why, "--yes")


def all_else(scene: Scene) -> None:
    """Rates, checks, report, list; the doctor; what a bug does in a command."""
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    scene.run("daily_rollup", tags={"dagster/partition": yesterday})
    scene.run("bounce_rate_report")
    scene.run("suppression_list")
    scene.run("feedback_checks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Queue, "depth", acknowledging)
        scene.command("dlq", "list", exit_code=1)
    scene.command("doctor", "--json", exit_code=None)  # it finds the trigger, and more


def removals(scene: Scene) -> None:
    """What is too old goes, and a person."""
    scene.command("retention")
    scene.run("retention")
    scene.command("erase", f"{canary('complainer')}@gmail.com", "--keep-hash", exit_code=None)


def parsing(body: str, *_: object) -> NoReturn:
    raise ValueError(f"cannot read {body}") from KeyError(body)


def storing(_: Store, events: Sequence[FeedbackEvent], *__: object, **___: object) -> NoReturn:
    who = [(one.primary_recipient, one.type_data) for one in events]
    raise RuntimeError(f"cannot store {who}", who)


def violating(store: Store, events: Sequence[FeedbackEvent], *_: object, **__: object) -> NoReturn:
    """Let Postgres answer with the row in its DETAIL."""
    store._connection.execute(
        "INSERT INTO public.ses_feedback_events (notification_type, primary_recipient) "
        "VALUES ('Bounce', %s)",
        (events[0].primary_recipient,),
    )
    raise AssertionError("it was stored")


def acknowledging(_: Queue, *messages: object) -> NoReturn:
    handles = [one.receipt_handle for one in messages[0]] if messages else []  # type: ignore[attr-defined]
    raise LookupError(handles, dict(os.environ))


def listing(suppression: Suppression) -> NoReturn:
    found = suppression._connection.execute(
        "SELECT recipient FROM public.ses_suppressed_recipients"
    )
    raise ValueError(f"cannot list {found.fetchall()}")


_BUGS = (
    (drained, "parse", parsing, "process_feedback"),
    (Store, "insert", storing, "process_feedback"),
    (Store, "insert", violating, "process_feedback"),
    (Queue, "acknowledge", acknowledging, "process_feedback"),
    (Suppression, "recipients", listing, "suppression_list"),
)
