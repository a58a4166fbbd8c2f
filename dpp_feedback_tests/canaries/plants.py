"""What a careless product would leave: a canary at every place that is searched."""

# No `from __future__ import annotations`: Dagster reads the annotations of ops at run time.

import os
from contextlib import suppress
from pathlib import Path
from time import sleep

import dagster as dg
import psycopg
import requests

from dpp_feedback_tests.canaries.scene import Scene
from dpp_feedback_tests.canaries.search import canary

PLANTED = "planted"


@dg.op
def careless(context: dg.OpExecutionContext) -> dg.Output[int]:
    word = canary(PLANTED)
    context.log.info(f"logged {word}")
    print(f"printed {word}")  # noqa: T201
    os.write(2, f"written {word}\n".encode())
    return dg.Output(1, metadata={"who": f"metadata {word}"})


@dg.op
def failing(before: int) -> None:
    assert before == 1
    raise ValueError(f"raised {canary(PLANTED)}")


@dg.job(executor_def=dg.in_process_executor)
def careless_job() -> None:
    failing(careless())


def plant(scene: Scene, database_url: str, folder: Path, webhook_url: str) -> None:
    """Leave it in a run, in files, in Postgres, on the terminal and in Slack."""
    word = canary(PLANTED)
    careless_job.execute_in_process(
        instance=scene.instance, tags={"who": word}, raise_on_error=False
    )
    (folder / "tmp" / "left").write_text(word)
    (folder / "work" / f"{word}.txt").touch()
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(f"COMMENT ON TABLE public.ses_feedback_rejects IS '{word}'")
        database.execute(
            "UPDATE public.ses_feedback_rejects SET detail = detail || %s", (f" {word}",)
        )
        with suppress(psycopg.Error):
            database.execute(f"SELECT '{word}'::int")
        database.execute(f"SELECT '{word}'")
        sleep(1)  # several looks at pg_stat_activity
    scene.printed.append(("planted", word))
    requests.post(webhook_url, json={"text": word}, timeout=10)
