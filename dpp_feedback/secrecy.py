"""What a process that reads keys, bodies and addresses keeps to itself.

resources.py calls it before it reads a setting, and the command before it does anything. Nothing
here is undone: such a process keeps secrets until it ends.
"""

from __future__ import annotations

import logging
import resource

# What these print below WARNING is requests, answers and the addresses they go to: bodies, tokens,
# the path of Slack's webhook, the text of a refused statement.
_TALKATIVE = frozenset({"aiohttp", "boto3", "botocore", "psycopg", "s3transfer", "urllib3"})


def keep_secrets() -> None:
    """Let this process write no core, and libraries not log what they send and receive.

    A core is the memory: bodies, addresses and keys. Kubernetes has no setting for it. A limit of
    one byte is no mistake: Linux takes it as "never", also where cores are piped to a program,
    which a limit of 0 does not stop (`do_coredump` in fs/coredump.c).

    The libraries' levels are set whatever `python_logs` of dagster.yaml says, which stores what is
    logged in the event log for good.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (1 if hard else 0, hard))
    for name in [*_TALKATIVE, *logging.root.manager.loggerDict]:
        if name.partition(".")[0] in _TALKATIVE:
            logger = logging.getLogger(name)
            # A child that has no level of its own has its parent's.
            if name in _TALKATIVE or logger.level:
                logger.setLevel(max(logger.level, logging.WARNING))
