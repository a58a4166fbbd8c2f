"""Ways a table can come into public, and names that it can have."""

from __future__ import annotations

WAYS = {
    "create": "CREATE TABLE public.t ()",
    "if not exists": "CREATE TABLE IF NOT EXISTS public.t ()",
    "as": "CREATE TABLE public.t AS SELECT 1 AS a",
    "as, with no data": "CREATE TABLE public.t AS SELECT 1 AS a WITH NO DATA",
    "execute": "PREPARE q AS SELECT 1 AS a; CREATE TABLE public.t AS EXECUTE q; DEALLOCATE q",
    "select into": "SELECT 1 AS a INTO public.t",
    "like": "CREATE TABLE public.t (LIKE public.ses_feedback_events INCLUDING ALL)",
    "of a type": "CREATE TYPE public.ty AS (a int); CREATE TABLE public.t OF public.ty",
    "unlogged": "CREATE UNLOGGED TABLE public.t ()",
    "serial, identity and generated": (
        "CREATE TABLE public.t (a serial, b int GENERATED ALWAYS AS IDENTITY,"
        " c int GENERATED ALWAYS AS (1) STORED)"
    ),
    "child": "CREATE TABLE public.p (); CREATE TABLE public.t () INHERITS (public.p)",
    "partitioned, and partition": (
        "CREATE TABLE public.p (a int) PARTITION BY LIST (a);"
        "CREATE TABLE public.t PARTITION OF public.p DEFAULT"
    ),
    "partition of a table elsewhere": (
        "CREATE SCHEMA s; CREATE TABLE s.p (a int) PARTITION BY LIST (a);"
        "CREATE TABLE public.t PARTITION OF s.p DEFAULT"
    ),
    "partition that is partitioned": (
        "CREATE TABLE public.p (a int) PARTITION BY LIST (a);"
        "CREATE TABLE public.t PARTITION OF public.p DEFAULT PARTITION BY HASH (a);"
        "CREATE TABLE public.u PARTITION OF public.t FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
    ),
    "attached and detached": (
        "CREATE TABLE public.p (a int) PARTITION BY LIST (a); CREATE TABLE public.t (a int);"
        "ALTER TABLE public.p ATTACH PARTITION public.t DEFAULT;"
        "ALTER TABLE public.p DETACH PARTITION public.t"
    ),
    "set schema": "CREATE SCHEMA s; CREATE TABLE s.t (); ALTER TABLE s.t SET SCHEMA public",
    "set schema if exists": (
        "CREATE SCHEMA s; CREATE TABLE s.t (); ALTER TABLE IF EXISTS s.t SET SCHEMA public"
    ),
    "set schema of a partitioned table": (
        "CREATE SCHEMA s; CREATE TABLE s.t (a int) PARTITION BY LIST (a);"
        "ALTER TABLE s.t SET SCHEMA public"
    ),
    "rename": "CREATE TABLE public.t (); ALTER TABLE public.t RENAME TO u",
    "disable": "CREATE TABLE public.t (); ALTER TABLE public.t DISABLE ROW LEVEL SECURITY",
    "disable among others": (
        "CREATE TABLE public.t ();"
        "ALTER TABLE public.t ADD a int, DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY"
    ),
    "disable ours": "ALTER TABLE public.ses_feedback_events DISABLE ROW LEVEL SECURITY",
    "do": "DO 'BEGIN EXECUTE ''CREATE TABLE public.t ()''; END'",
    "function": (
        "CREATE FUNCTION public.f() RETURNS void LANGUAGE sql AS 'CREATE TABLE public.t ()';"
        "SELECT public.f()"
    ),
    "security definer with a path of its own": (
        "CREATE FUNCTION public.f() RETURNS void LANGUAGE sql SECURITY DEFINER"
        " SET search_path = public AS 'CREATE TABLE t ()'; SELECT public.f()"
    ),
    "handled error": (
        "DO 'BEGIN CREATE TABLE public.t (); PERFORM 1 / 0;"
        " EXCEPTION WHEN division_by_zero THEN CREATE TABLE public.u (); END'"
    ),
    "search path": "SET LOCAL search_path = public; CREATE TABLE t ()",
    "two in one": "CREATE TABLE public.t (); CREATE TABLE public.u ()",
    "create schema": (
        "ALTER SCHEMA public RENAME TO former;"
        "CREATE SCHEMA public CREATE TABLE t () CREATE VIEW v AS SELECT 1 AS a"
    ),
    "rename schema": (
        "CREATE SCHEMA s; CREATE TABLE s.t (); ALTER SCHEMA public RENAME TO former;"
        "ALTER SCHEMA s RENAME TO public"
    ),
    "drop schema": "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE public.t ()",
}

HOSTILE_NAMES = [
    "Bobby; \"DROP\" 'x' %s %I $1",
    "$guard$ end; drop table public.ses_feedback_events; --",
    "a\nb\r\n\t\x01",
    'x" DISABLE ROW LEVEL SECURITY; --',
    "pg_class",
    "pg_event_trigger_ddl_commands",
    "ALTER",
    "table",
    " ",
    "public.ses_feedback_events",
    "\\'; select 1; --",
    "n" * 63,
    "ü" * 31,
    "\U0001f4e7\u202eliam\u2066",
]
