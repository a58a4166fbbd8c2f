"""The main job, run by a real Dagster instance over a real Postgres and a real SQS endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from dpp_feedback.definitions import defs
from dpp_feedback.ingest import process_feedback
from dpp_feedback.queue import Message, Queue, Taken
from dpp_feedback_tests.bounces import bounce
from dpp_feedback_tests.failures import failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg
    from mypy_boto3_sqs import SQSClient

    Database = psycopg.Connection[tuple[Any, ...]]

CONTROL = "Successfully validated SNS topic for Amazon SES event publishing."


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


class Bench:
    """The job, its queue and its table, in one hand."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        environment: dict[str, str],
        sqs: SQSClient,
        database: Database,
    ) -> None:
        self.instance = instance
        self.environment = environment
        self._sqs = sqs
        self._database = database

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self._sqs.send_message(QueueUrl=self.environment["SQS_QUEUE_URL"], MessageBody=body)

    def run(self, **config: int) -> dg.ExecuteInProcessResult:
        ops = {"ses_feedback_events": {"ops": {"receive_messages": {"config": config}}}}
        return defs.resolve_job_def(process_feedback.name).execute_in_process(
            run_config={"ops": ops}, instance=self.instance, raise_on_error=False
        )

    def numbers(self, **config: int) -> dict[str, Any]:
        """Run, and return the materialization's metadata."""
        result = self.run(**config)
        assert result.success
        (event,) = result.get_asset_materialization_events()
        metadata = event.materialization.metadata
        return {name: getattr(value, "value", value) for name, value in metadata.items()}

    def depth(self, setting: str = "SQS_QUEUE_URL") -> tuple[int, int]:
        """Messages waiting and in flight."""
        said = self._sqs.get_queue_attributes(
            QueueUrl=self.environment[setting], AttributeNames=["All"]
        )["Attributes"]
        return (
            int(said["ApproximateNumberOfMessages"]),
            int(said["ApproximateNumberOfMessagesNotVisible"]),
        )

    def receive_counts(self) -> list[int]:
        """Receive what waits, and say how often each was received before."""
        got = self._sqs.receive_message(
            QueueUrl=self.environment["SQS_QUEUE_URL"],
            MaxNumberOfMessages=10,
            AttributeNames=["ApproximateReceiveCount"],
        )
        counts = [m["Attributes"]["ApproximateReceiveCount"] for m in got.get("Messages", [])]
        return [int(count) - 1 for count in counts]

    def rows(self) -> list[str | None]:
        found = self._database.execute(
            "SELECT primary_recipient FROM public.ses_feedback_events ORDER BY 1"
        )
        return [row[0] for row in found]


@pytest.fixture
def bench(
    instance: dg.DagsterInstance, environment: dict[str, str], sqs: SQSClient, database: Database
) -> Bench:
    return Bench(instance, environment, sqs, database)


def test_a_run_stores_acknowledges_and_counts(bench: Bench) -> None:
    bench.send(
        bounce(1), bounce(2, "a@example.org", "B@example.org"), bounce(1), CONTROL, "{}", "no"
    )
    numbers = bench.numbers()
    assert bench.rows() == ["a@example.org", "b@example.org", "person1@example.org"]
    counted = {"received": 6, "stored": 2, "duplicates": 1, "ignored": 1, "rejected": 2}
    assert {name: numbers[name] for name in counted} == counted
    assert numbers["new_rows"] == 3
    assert numbers["not_acknowledged"] == 0
    assert numbers["oldest_event_age_seconds"] > 0
    steps = ("receive", "parse", "persist", "acknowledge")
    assert all(numbers[f"{step}_seconds"] >= 0 for step in steps)

    def table(name: str) -> list[dict[str, Any]]:
        return [dict(record.data) for record in numbers[name].records]

    assert table("new_rows_by_kind") == [{"kind": "Bounce", "rows": 3}]
    assert table("ignored_and_rejected") == [
        {"reason": "not_json", "messages": 1},
        {"reason": "not_ses", "messages": 1},
        {"reason": "topic_validated", "messages": 1},
    ]
    assert bench.depth() == (2, 0), "rejected messages wait again, at once"


def test_an_event_that_stands_twice_in_a_body_is_one_new_row(bench: Bench) -> None:
    bench.send(f"{bounce(1)}\n{bounce(1)}")
    numbers = bench.numbers()
    assert (numbers["stored"], numbers["new_rows"], len(bench.rows())) == (1, 1, 1)


def test_an_empty_queue_is_a_good_run(bench: Bench) -> None:
    assert bench.numbers()["received"] == 0


def test_a_run_takes_no_more_than_it_is_told(bench: Bench) -> None:
    bench.send(*[bounce(number) for number in range(5)])
    assert bench.numbers(max_messages=3)["stored"] == 3
    assert bench.depth() == (2, 0)


def test_a_message_that_comes_again_leaves_no_further_row(bench: Bench) -> None:
    bench.send(bounce(1))
    assert bench.numbers()["stored"] == 1
    bench.send(bounce(1))
    again = bench.numbers()
    assert (again["stored"], again["duplicates"], again["new_rows"]) == (0, 1, 0)
    assert bench.depth() == (0, 0)


def test_a_broken_message_reaches_the_dead_letter_queue_after_five_receives(bench: Bench) -> None:
    bench.send("no feedback")
    for _ in range(5):
        assert bench.numbers()["rejected"] == 1
        assert bench.depth("SQS_DLQ_URL") == (0, 0)
    assert bench.numbers()["received"] == 0
    assert bench.depth("SQS_DLQ_URL") == (1, 0)
    assert bench.depth() == (0, 0)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "postgresql://postgres@127.0.0.1:1/db",
            "The database of DATABASE_URL does not answer: connection to server at ",
        ),
        ("", "DATABASE_URL is not set."),
    ],
)
def test_while_the_database_is_away_no_message_is_received(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    bench.send(bounce(1))
    with monkeypatch.context() as patched:
        patched.setenv("DATABASE_URL", url)
        for _ in range(6):
            assert failure(bench.run()).startswith(said)
    assert bench.depth("SQS_DLQ_URL") == (0, 0)
    assert bench.receive_counts() == [0]


def test_a_database_that_is_not_migrated_is_named_and_no_message_is_received(
    bench: Bench, database: Database
) -> None:
    bench.send(bounce(1))
    database.execute("DROP TABLE public.ses_feedback_events CASCADE")
    said = failure(bench.run())
    assert said == (
        "Inserting into public.ses_feedback_events fails: a table is missing in the database of "
        "DATABASE_URL. Run `dpp-feedback migrate`."
    )
    assert bench.receive_counts() == [0]


def test_a_queue_that_does_not_exist_is_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQS_QUEUE_URL", bench.environment["SQS_QUEUE_URL"] + "-missing")
    assert failure(bench.run()).startswith("SQS_QUEUE_URL names a queue that does not exist: ")


def test_a_row_that_postgres_refuses_keeps_only_its_own_message(
    bench: Bench, database: Database
) -> None:
    database.execute(
        "ALTER TABLE public.ses_feedback_events ADD CHECK (primary_recipient <> 'bad@example.org')"
    )
    bench.send(bounce(1), bounce(2, "good@example.org", "bad@example.org"), bounce(3))
    numbers = bench.numbers()
    assert (numbers["stored"], numbers["rejected"]) == (2, 1)
    assert [dict(r.data) for r in numbers["ignored_and_rejected"].records] == [
        {"reason": "refused_by_database", "messages": 1}
    ]
    assert bench.rows() == ["good@example.org", "person1@example.org", "person3@example.org"]
    assert bench.depth() == (1, 0)


def test_a_fault_of_the_database_that_passes_is_tried_again_in_the_same_run(
    bench: Bench, database: Database
) -> None:
    # The check before receiving is the first insert; the second, of the events, fails once.
    database.execute("""
        CREATE SEQUENCE attempts;
        CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN
            IF nextval('attempts') = 2 THEN
              RAISE 'restarting' USING ERRCODE = 'admin_shutdown';
            END IF;
            RETURN NEW;
          END $$;
        CREATE TRIGGER fail_once BEFORE INSERT ON public.ses_feedback_events
        FOR EACH ROW EXECUTE FUNCTION fail_once();
    """)
    bench.send(bounce(1))
    assert bench.numbers()["stored"] == 1
    assert bench.rows() == ["person1@example.org"]
    assert bench.depth() == (0, 0)


def test_a_run_that_dies_before_it_acknowledges_loses_and_doubles_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped here by an exception; test_acceptance.py kills a real process."""
    bench.send(bounce(1), bounce(2))

    def die(*_: object) -> None:
        raise KeyError("died")

    with monkeypatch.context() as patched:
        patched.setattr(Queue, "acknowledge", die)
        assert not bench.run().success
    assert len(bench.rows()) == 2
    received = 0
    while received < 2:  # until the visibility timeout of 3 seconds has passed
        numbers = bench.numbers()
        received += numbers["duplicates"]
        assert numbers["stored"] == 0
    assert len(bench.rows()) == 2
    assert bench.depth() == (0, 0)


def test_no_address_and_no_body_is_left_on_the_disk_of_dagster(
    tmp_path: Path, bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    canary = "canary.person@canary.example"
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        bench.instance = instance
        bench.send(
            bounce(1, canary),
            bounce(2, canary, "a\x00b@canary.example"),
            f'{{"notificationType": "Bounce", "bounce": "{canary}"}}',
            f'{{"notificationType": "{canary}", "mail": {{"messageId": "{canary}"}}}}',
            canary,
        )
        numbers = bench.numbers()
        assert (numbers["stored"], numbers["rejected"]) == (2, 3)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    leaks = [path for path in files if b"canary" in path.read_bytes()]
    assert not leaks
    assert "canary" not in "".join(capfd.readouterr())
    assert bench.rows() == [canary, None]


def test_a_run_that_can_acknowledge_nothing_fails_and_says_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.send(bounce(1), bounce(2))
    monkeypatch.setattr(
        Queue, "acknowledge", lambda _, messages: dict.fromkeys([m.id for m in messages], "Denied.")
    )
    assert failure(bench.run()) == (
        "None of 2 messages could be acknowledged, though their rows are committed: they come "
        "again, and in the end reach the DLQ. Denied."
    )


def test_a_run_receives_for_a_third_of_the_visibility_timeout_at_most(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def receive(
        _: Queue, max_messages: int, max_seconds: float, _read: object, **options: object
    ) -> Taken[Message]:
        assert max_messages == 10_000
        assert options == {"selecting": False, "waiting": 0, "visibility_timeout": 3}
        asked.append(max_seconds)
        return Taken([], [], 0)

    monkeypatch.setattr(Queue, "receive", receive)
    assert bench.run().success
    assert asked == [1.0]
