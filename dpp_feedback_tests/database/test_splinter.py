"""What Supabase's linter (github.com/supabase/splinter) would say, by queries of our own.

Its rules are named by their numbers. Those about foreign keys (0001, 0021), extensions (0014,
0022), storage (0025) and Supabase's own schemas (0002, 0012, 0019) find nothing to look at here;
0005 (unused index) and 0020 (bloat) ask how a database is used.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
import pytest

from dpp_feedback_tests.database.servers import migrate_as_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback_tests.database.servers import Server

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

_OURS = """
CREATE TEMP VIEW ours AS
SELECT pg_class.oid AS id, pg_class.oid::regclass AS name, relkind, relrowsecurity, reloptions
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname IN ('public', 'dpp_feedback');
CREATE TEMP VIEW functions AS
SELECT pg_proc.oid::regprocedure AS name, prosecdef, proconfig
FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE nspname IN ('public', 'dpp_feedback');
CREATE TEMP VIEW outsiders AS SELECT unnest('{anon,authenticated}'::name[]) AS outsider
"""

# Rule -> what it complains about; and statements that make it complain.
RULES = {
    "0003 auth_rls_initplan, 0015 rls_references_user_metadata": (
        """
        SELECT polname FROM pg_policy
        WHERE concat(pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
          ~ 'auth\\.|current_setting'
        """,
        "CREATE POLICY p ON public.ses_feedback_events FOR DELETE USING (auth.uid() IS NULL)",
    ),
    "0004 no_primary_key": (
        """
        SELECT name FROM ours
        WHERE relkind = 'r'
          AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = id AND indisprimary)
        """,
        "ALTER TABLE public.ses_feedback_events DROP CONSTRAINT ses_feedback_events_pkey",
    ),
    "0006 multiple_permissive_policies": (
        """
        SELECT polrelid::regclass, rolname, verb
        FROM pg_policy
        JOIN pg_roles ON pg_roles.oid = ANY (polroles) OR polroles = '{0}'
        CROSS JOIN unnest(
          CASE polcmd WHEN '*' THEN '{r,a,w,d}'::"char"[] ELSE ARRAY[polcmd] END
        ) AS verb
        WHERE polpermissive AND NOT rolbypassrls AND NOT rolsuper AND rolname !~ '^pg_'
        GROUP BY 1, 2, 3 HAVING count(*) > 1
        """,
        """
        CREATE POLICY p ON public.ses_feedback_events FOR SELECT TO ses_feedback_reader USING (true)
        """,
    ),
    "0007 policy_exists_rls_disabled, 0013 rls_disabled_in_public, 0023 sensitive_columns": (
        "SELECT name FROM ours WHERE relkind IN ('r', 'p') AND NOT relrowsecurity",
        "ALTER TABLE dpp_feedback.migrations DISABLE ROW LEVEL SECURITY",
    ),
    "0008 rls_enabled_no_policy": (
        """
        SELECT name FROM ours
        WHERE relrowsecurity AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = id)
        """,
        "CREATE TABLE public.bare ()",
    ),
    "0009 duplicate_index": (
        """
        SELECT tablename FROM pg_indexes WHERE schemaname IN ('public', 'dpp_feedback')
        GROUP BY tablename, replace(indexdef, indexname, '') HAVING count(*) > 1
        """,
        "CREATE INDEX again ON public.ses_feedback_events (received_at)",
    ),
    "0010 security_definer_view": (
        """
        SELECT name, outsider FROM ours CROSS JOIN outsiders
        WHERE relkind = 'v' AND has_table_privilege(outsider, id, 'SELECT')
          AND NOT coalesce(reloptions, '{}') && '{security_invoker=true,security_invoker=on}'
        """,
        "GRANT SELECT ON dpp_feedback.ses_feedback_events_masked TO anon",
    ),
    "0011 function_search_path_mutable": (
        """
        SELECT name FROM functions
        WHERE NOT coalesce(proconfig, '{}') && ARRAY['search_path=""']
        """,
        "ALTER FUNCTION dpp_feedback.enable_row_level_security() RESET search_path",
    ),
    "0016 materialized_view_in_api, 0017 foreign_table_in_api": (
        "SELECT name FROM ours WHERE relkind IN ('m', 'f')",
        "CREATE MATERIALIZED VIEW public.m AS SELECT 1 AS a",
    ),
    "0018 unsupported_reg_types": (
        """
        SELECT name, attname
        FROM ours JOIN pg_attribute ON attrelid = id AND attnum > 0
        JOIN pg_type ON pg_type.oid = atttypid
        WHERE relkind IN ('r', 'p') AND typname ~ '^reg'
        """,
        "ALTER TABLE public.ses_feedback_events ADD a regclass",
    ),
    "0024 rls_policy_always_true": (
        # Not of reading: whether somebody may read is for the grant to say.
        """
        SELECT polrelid::regclass, polname FROM pg_policy
        WHERE polpermissive AND polcmd <> 'r'
          AND polroles && ARRAY[0, 'anon'::regrole::oid, 'authenticated'::regrole::oid]
        """,
        "CREATE POLICY p ON public.ses_feedback_events FOR INSERT TO anon WITH CHECK (true)",
    ),
    "0026, 0027 pg_graphql_table_exposed": (
        """
        SELECT name, outsider FROM ours CROSS JOIN outsiders
        WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
          AND has_any_column_privilege(outsider, id, 'SELECT')
        """,
        "GRANT SELECT (event_at) ON public.ses_feedback_events TO authenticated",
    ),
    "0028, 0029 security_definer_function_executable": (
        "SELECT name FROM functions WHERE prosecdef",
        "ALTER FUNCTION dpp_feedback.enable_row_level_security() SECURITY DEFINER",
    ),
    "0030 invalid_index": (
        "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid",
        """
        UPDATE pg_index SET indisvalid = false
        WHERE indexrelid = 'public.ses_feedback_events_recipient_idx'::regclass
        """,
    ),
}


@pytest.fixture(scope="module")
def projects(server: Server) -> Iterator[list[Connection]]:
    """A migrated database as in an old project of Supabase, and one as in a new one."""
    urls = [server.new_database("old"), server.new_database("new")]
    for url in urls:
        migrate_as_postgres(url)
    with (
        closing(psycopg.connect(urls[0], autocommit=True)) as old,
        closing(psycopg.connect(urls[1], autocommit=True)) as new,
    ):
        for db in (old, new):
            db.execute(_OURS)
        yield [old, new]


def test_supabase_s_linter_would_find_nothing(
    projects: list[Connection], subtests: pytest.Subtests
) -> None:
    for rule, (query, offence) in RULES.items():
        with subtests.test(rule):
            for db in projects:
                assert db.execute(query.encode()).fetchall() == []
                with db.transaction(force_rollback=True):
                    db.execute(offence.encode())
                    assert db.execute(query.encode()).fetchall()
