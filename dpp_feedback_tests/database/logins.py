"""Logins that hold one role of the product or none, for as long as a test needs them."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
from psycopg import sql

from dpp_feedback_tests.database.servers import as_role

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITER, READER, MAINTAINER = "ses_feedback_writer", "ses_feedback_reader", "ses_feedback_maintainer"


@contextmanager
def login(url: str, *roles: str) -> Iterator[str]:
    """Make a login that is a member of `roles`, and yield the URL of the database for it.

    Args:
        url: Of a database whose server has the roles, for a superuser.
        roles: None: what the login may is what PUBLIC may.
    """
    name = f"login_{uuid4().hex}"
    with closing(psycopg.connect(url, autocommit=True)) as db:
        db.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        for role in roles:
            db.execute(sql.SQL("GRANT {} TO {}").format(*map(sql.Identifier, (role, name))))
        try:
            yield as_role(url, name)
        finally:
            db.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))
