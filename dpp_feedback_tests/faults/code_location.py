"""The drain and its sensor, as a code server loads them; only that the sensor is in a hurry.

It asks every few seconds instead of every 30, and after a failed run it waits for one.
"""

from datetime import timedelta

import dagster as dg

from dpp_feedback import sensors
from dpp_feedback.ingest import process_feedback, ses_feedback_events
from dpp_feedback.resources import FeedbackQueue, FeedbackStore
from dpp_feedback.sensors import feedback_queue_sensor

sensors._BACK_OFF = timedelta(seconds=1)
feedback_queue_sensor._min_interval = 1

defs = dg.Definitions(
    assets=[ses_feedback_events],
    jobs=[process_feedback],
    sensors=[feedback_queue_sensor],
    resources={
        "io_manager": dg.mem_io_manager,
        "queue": FeedbackQueue(),
        "store": FeedbackStore(),
    },
)
