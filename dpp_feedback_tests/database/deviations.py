"""What may be wrong with a database: how verify's line begins, and the statements that make it so.

Each is made in a migrated database with Supabase's roles, as a superuser, in a transaction that is
rolled back.
"""

from __future__ import annotations

_GUARD_OFF = "ALTER EVENT TRIGGER dpp_feedback_row_level_security DISABLE;"
_GUARD_ON = ";ALTER EVENT TRIGGER dpp_feedback_row_level_security ENABLE ALWAYS"
_GUARD_FUNCTION = "dpp_feedback.enable_row_level_security()"
_NEW_GUARD = (
    "DROP EVENT TRIGGER dpp_feedback_row_level_security;"
    "CREATE EVENT TRIGGER dpp_feedback_row_level_security"
)

TABLES_AND_VIEWS = {
    "table public.ses_feedback_events is missing": "DROP TABLE public.ses_feedback_events CASCADE",
    "table public.ses_feedback_rejects is missing": (
        "DROP TABLE public.ses_feedback_rejects;"
        "CREATE VIEW public.ses_feedback_rejects AS SELECT 1 AS message_id"
    ),
    "view public.ses_suppressed_recipients is missing": (
        "DROP VIEW public.ses_suppressed_recipients"
    ),
    "view dpp_feedback.ses_feedback_events_masked is missing": (
        "DROP VIEW dpp_feedback.ses_feedback_events_masked"
    ),
    "row level security is off on public.ses_feedback_removals: alter table": (
        _GUARD_OFF
        + "ALTER TABLE public.ses_feedback_removals DISABLE ROW LEVEL SECURITY"
        + _GUARD_ON
    ),
    "row level security is off on dpp_feedback.migrations: alter table": (
        "ALTER TABLE dpp_feedback.migrations DISABLE ROW LEVEL SECURITY"
    ),
    "row level security is not forced on public.ses_suppressed_hashes: alter table": (
        "ALTER TABLE public.ses_suppressed_hashes NO FORCE ROW LEVEL SECURITY"
    ),
    "public.ses_feedback_events loses its rows when the server crashes": (
        "ALTER TABLE public.ses_feedback_events SET UNLOGGED"
    ),
    "public.ses_feedback_events belongs to authenticated, whom it is to bind": (
        "ALTER TABLE public.ses_feedback_events OWNER TO authenticated"
    ),
    "public.ses_suppressed_recipients belongs to ses_feedback_reader, whom it is to bind": (
        "ALTER VIEW public.ses_suppressed_recipients OWNER TO ses_feedback_reader"
    ),
    "dpp_feedback.ses_feedback_events_masked has another owner than the events": (
        "ALTER VIEW dpp_feedback.ses_feedback_events_masked OWNER TO dashboard_user"
    ),
    "options of public.ses_suppressed_recipients is none instead of security_invoker=true": (
        "ALTER VIEW public.ses_suppressed_recipients RESET (security_invoker)"
    ),
    "options of dpp_feedback.ses_feedback_events_masked is security_barrier=true, security_inv": (
        "ALTER VIEW dpp_feedback.ses_feedback_events_masked SET (security_invoker = true)"
    ),
    "definition of dpp_feedback.ses_feedback_events_masked is not as the migrations make it": """
        CREATE OR REPLACE VIEW dpp_feedback.ses_feedback_events_masked
        WITH (security_barrier = true) AS
        SELECT id, notification_type, ses_message_id, source, primary_recipient, bounce_type,
          bounce_sub_type, configuration_set, event_at, received_at FROM public.ses_feedback_events
    """,
    "column extra of public.ses_feedback_events is none of the migrations: drop it (text)": (
        "ALTER TABLE public.ses_feedback_events ADD extra text"
    ),
    "column count of public.ses_feedback_daily_counts is integer not null instead of bigint not": (
        "ALTER TABLE public.ses_feedback_daily_counts ALTER count TYPE integer"
    ),
    "column source of public.ses_feedback_daily_totals is text not null instead of text collate": (
        "ALTER TABLE public.ses_feedback_daily_totals ALTER source TYPE text"
    ),
    "constraint few of public.ses_feedback_events is none of the migrations: drop it (CHECK": (
        "ALTER TABLE public.ses_feedback_events ADD CONSTRAINT few CHECK (source <> 'x')"
    ),
    "constraint ses_feedback_rejects_detail_check of public.ses_feedback_rejects is CHECK ((leng": (
        "ALTER TABLE public.ses_feedback_rejects DROP CONSTRAINT ses_feedback_rejects_detail_check,"
        "ADD CONSTRAINT ses_feedback_rejects_detail_check CHECK (length(detail) <= 500) NOT VALID"
    ),
    "index one of public.ses_feedback_events is none of the migrations: drop it (unique btree": (
        "CREATE UNIQUE INDEX one ON public.ses_feedback_events (source)"
    ),
    "index ses_feedback_events_recipient_idx of public.ses_feedback_events is btree (source) ins": (
        "DROP INDEX public.ses_feedback_events_recipient_idx;"
        "CREATE INDEX ses_feedback_events_recipient_idx ON public.ses_feedback_events (source)"
    ),
    "index ses_feedback_events_event_at_idx of public.ses_feedback_events is btree (event_at, no": (
        "UPDATE pg_index SET indisvalid = false"
        " WHERE indexrelid = 'public.ses_feedback_events_event_at_idx'::regclass"
    ),
}

POLICIES_AND_GRANTS = {
    "policy all on public.ses_feedback_events is none of the migrations, permissive for SELECT": (
        'CREATE POLICY "all" ON public.ses_feedback_events FOR SELECT USING (true)'
    ),
    "policy ses_feedback_events_owner on public.ses_feedback_events is not as the migrations": (
        "ALTER POLICY ses_feedback_events_owner ON public.ses_feedback_events TO PUBLIC"
    ),
    "policy ses_feedback_events_reader_select on public.ses_feedback_events is not as the": (
        "ALTER POLICY ses_feedback_events_reader_select ON public.ses_feedback_events"
        " TO ses_feedback_reader, anon"
    ),
    "policy ses_feedback_events_service_role_select on public.ses_feedback_events is not as the": (
        "ALTER POLICY ses_feedback_events_service_role_select ON public.ses_feedback_events"
        " USING (source IS NULL)"
    ),
    "policy ses_suppressed_hashes_maintainer_insert on public.ses_suppressed_hashes is not as": (
        "DROP POLICY ses_suppressed_hashes_maintainer_insert ON public.ses_suppressed_hashes;"
        "CREATE POLICY ses_suppressed_hashes_maintainer_insert ON public.ses_suppressed_hashes"
        " AS RESTRICTIVE FOR INSERT TO ses_feedback_maintainer WITH CHECK (true)"
    ),
    "PUBLIC holds SELECT on public.ses_feedback_events: revoke SELECT on public.ses": (
        "GRANT SELECT ON public.ses_feedback_events TO PUBLIC"
    ),
    "anon holds TRUNCATE on public.ses_feedback_removals: revoke": (
        "GRANT TRUNCATE ON public.ses_feedback_removals TO anon"
    ),
    "authenticated holds SELECT on public.ses_feedback_events.source: revoke SELECT (source)": (
        "GRANT SELECT (source) ON public.ses_feedback_events TO authenticated"
    ),
    "authenticator holds SELECT on dpp_feedback.migrations": (
        "GRANT SELECT ON dpp_feedback.migrations TO authenticator"
    ),
    "dashboard_user holds DELETE on public.ses_feedback_rejects": (
        "GRANT DELETE ON public.ses_feedback_rejects TO dashboard_user"
    ),
    "ses_feedback_writer holds SELECT on public.ses_feedback_events: revoke": (
        "GRANT SELECT ON public.ses_feedback_events TO ses_feedback_writer"
    ),
    "ses_feedback_reader holds SELECT on public.ses_feedback_rejects.body: revoke": (
        "GRANT SELECT (body) ON public.ses_feedback_rejects TO ses_feedback_reader"
    ),
    "ses_feedback_reader holds SELECT on dpp_feedback.ses_feedback_events_masked with grant opti": (
        "GRANT SELECT ON dpp_feedback.ses_feedback_events_masked TO ses_feedback_reader"
        " WITH GRANT OPTION"
    ),
    "service_role holds DELETE on public.ses_feedback_events": (
        "GRANT DELETE ON public.ses_feedback_events TO service_role"
    ),
}

ROLES = {
    "anon holds SELECT on public.ses_feedback_removals by other means": (
        "GRANT service_role TO anon"
    ),
    "authenticated holds SELECT on public.ses_feedback_events by other means": (
        "GRANT pg_read_all_data TO authenticated"
    ),
    "anon holds DELETE, INSERT, UPDATE on public.ses_feedback_events by other means": (
        "GRANT pg_write_all_data TO anon"
    ),
    "anon holds DELETE, INSERT, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE on public": (
        "ALTER ROLE anon NOINHERIT; GRANT dashboard_user TO anon;"
        "ALTER TABLE public.ses_feedback_events OWNER TO dashboard_user"
    ),
    "authenticated holds SELECT on dpp_feedback.ses_feedback_events_masked by other means": (
        "GRANT ses_feedback_reader TO authenticated"
    ),
    "authenticator may act as ses_feedback_reader: revoke": (
        "GRANT ses_feedback_reader TO authenticator"
    ),
    "ses_feedback_writer may act as ses_feedback_maintainer: revoke ses_feedback_maintainer from": (
        "GRANT ses_feedback_maintainer TO ses_feedback_writer"
    ),
    "anon may act as first_superuser, whom nothing here binds: find out how with": (
        "GRANT first_superuser TO dashboard_user; GRANT dashboard_user TO anon"
    ),
    "authenticator may act as postgres, whom nothing here binds": "GRANT postgres TO authenticator",
    "authenticated may act as pg_read_server_files, whom nothing here binds": (
        "GRANT pg_read_server_files TO authenticated"
    ),
    "role authenticator has BYPASSRLS": "ALTER ROLE authenticator BYPASSRLS",
    "role anon has BYPASSRLS: alter role anon nobypassrls": "ALTER ROLE anon BYPASSRLS",
    "role authenticated has SUPERUSER": "ALTER ROLE authenticated SUPERUSER",
    **{
        f"role ses_feedback_reader has {attribute}: alter role ses_feedback_reader no": (
            f"ALTER ROLE ses_feedback_reader {attribute}"
        )
        for attribute in (
            "LOGIN",
            "SUPERUSER",
            "BYPASSRLS",
            "CREATEROLE",
            "CREATEDB",
            "REPLICATION",
        )
    },
    "role ses_feedback_writer is missing": "ALTER ROLE ses_feedback_writer RENAME TO former_writer",
}

SCHEMA = {
    "anon holds USAGE on schema dpp_feedback: revoke USAGE on schema dpp_feedback from anon": (
        "GRANT USAGE ON SCHEMA dpp_feedback TO anon"
    ),
    "PUBLIC holds USAGE on schema dpp_feedback": "GRANT USAGE ON SCHEMA dpp_feedback TO PUBLIC",
    "ses_feedback_reader holds CREATE on schema dpp_feedback": (
        "GRANT CREATE ON SCHEMA dpp_feedback TO ses_feedback_reader"
    ),
    "ses_feedback_reader lacks USAGE on schema dpp_feedback": (
        "REVOKE USAGE ON SCHEMA dpp_feedback FROM ses_feedback_reader"
    ),
    "schema dpp_feedback belongs to service_role, whom it is to shut out": (
        "ALTER SCHEMA dpp_feedback OWNER TO service_role"
    ),
    "dpp_feedback.copied is none of the migrations": (
        "CREATE TABLE dpp_feedback.copied AS SELECT * FROM public.ses_feedback_events"
    ),
    "function dpp_feedback.f() is none of the migrations": (
        "CREATE FUNCTION dpp_feedback.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    ),
    "default privileges of postgres give anon what it creates in dpp_feedback: alter default": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA dpp_feedback"
        " GRANT SELECT ON TABLES TO anon"
    ),
    "PUBLIC may create in schema public what then runs in sessions of others: revoke create": (
        "GRANT CREATE ON SCHEMA public TO PUBLIC"
    ),
    "authenticated may create in schema public what then runs in sessions of others: revoke": (
        "GRANT CREATE ON SCHEMA public TO authenticated"
    ),
    "anon may create in database test_": (
        "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO anon', current_database());"
        "END $$"
    ),
    "database test_": (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO anon', current_database());END $$"
    ),
    "ses_feedback_writer lacks USAGE on schema public: run the files": (
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC, ses_feedback_writer"
    ),
    "schema public belongs to anon, whom it is to shut out": "ALTER SCHEMA public OWNER TO anon",
    "the API serves schema dpp_feedback, as role authenticator says": (
        "ALTER ROLE authenticator SET pgrst.db_schemas = 'public, dpp_feedback'"
    ),
}

WAYS_AROUND = {
    "anon reads other.shown, which shows our rows with the rights of its owner: revoke": (
        "CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO anon;"
        "CREATE VIEW other.inner AS SELECT * FROM public.ses_feedback_events;"
        "CREATE VIEW other.shown AS SELECT count(*) FROM other.inner;"
        "GRANT SELECT ON other.shown TO anon"
    ),
    "authenticated reads public.kept, which shows our rows": (
        "CREATE MATERIALIZED VIEW public.kept AS SELECT * FROM public.ses_suppressed_recipients;"
        "GRANT SELECT ON public.kept TO authenticated"
    ),
    "PUBLIC reads public.open, which shows our rows with the rights of its owner: revoke all": (
        "CREATE VIEW public.open AS SELECT source AS who FROM public.ses_feedback_events;"
        "GRANT SELECT (who) ON public.open TO PUBLIC"
    ),
    "anon may call public.rows(), which is security definer and names a table of ours": (
        "CREATE FUNCTION public.rows() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT count(*) FROM public.ses_feedback_events';"
        "REVOKE ALL ON FUNCTION public.rows() FROM PUBLIC;"
        "GRANT EXECUTE ON FUNCTION public.rows() TO anon"
    ),
    "PUBLIC may call public.rows(), which is security definer and names a table of ours": """
        CREATE VIEW public.v WITH (security_invoker = true) AS
          SELECT * FROM public.ses_feedback_events;
        CREATE FUNCTION public.rows() RETURNS bigint LANGUAGE sql SECURITY DEFINER
          BEGIN ATOMIC SELECT count(*) FROM public.v; END
    """,
    "publication supabase_realtime sends public.ses_feedback_events to whoever subscribes: alter": (
        "ALTER PUBLICATION supabase_realtime ADD TABLE public.ses_feedback_events"
    ),
    "publication everything sends dpp_feedback.migrations to whoever subscribes: name its tables": (
        "CREATE PUBLICATION everything FOR ALL TABLES"
    ),
    "publication half sends public.ses_feedback_rejects to whoever subscribes: name its tables": (
        "CREATE PUBLICATION half FOR TABLES IN SCHEMA public"
    ),
    "trigger spy on public.ses_feedback_events is none of the migrations: drop trigger spy": (
        "CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER spy BEFORE INSERT ON public.ses_feedback_events"
        " FOR EACH ROW EXECUTE FUNCTION public.spy()"
    ),
    "rule nothing on public.ses_feedback_rejects is none of the migrations: drop rule nothing on": (
        "CREATE RULE nothing AS ON INSERT TO public.ses_feedback_rejects DO INSTEAD NOTHING"
    ),
    "public.child inherits from public.ses_feedback_events": (
        "CREATE TABLE public.child () INHERITS (public.ses_feedback_events)"
    ),
    "constraint notes_id_fkey of public.notes refers to public.ses_feedback_events": (
        "CREATE TABLE public.notes (id uuid REFERENCES public.ses_feedback_events)"
    ),
}

GUARD = {
    "guard: event trigger dpp_feedback_row_level_security is missing": (
        "DROP EVENT TRIGGER dpp_feedback_row_level_security"
    ),
    "guard: it is disabled": _GUARD_OFF,
    "guard: it sleeps in sessions with session_replication_role = replica": (
        "ALTER EVENT TRIGGER dpp_feedback_row_level_security ENABLE"
    ),
    "guard: it does not fire for every command": (
        f"{_NEW_GUARD} ON ddl_command_end WHEN TAG IN ('CREATE TABLE')"
        f" EXECUTE FUNCTION {_GUARD_FUNCTION}"
    ),
    "guard: it fires at another event": (
        f"{_NEW_GUARD} ON ddl_command_start EXECUTE FUNCTION {_GUARD_FUNCTION}"
    ),
    "guard: it calls another function": f"ALTER FUNCTION {_GUARD_FUNCTION} RENAME TO other",
    "guard: its function is security definer": f"ALTER FUNCTION {_GUARD_FUNCTION} SECURITY DEFINER",
    "guard: its function has another search_path": (
        f"ALTER FUNCTION {_GUARD_FUNCTION} RESET search_path"
    ),
    "guard: its function is not the one of the migrations": (
        f"CREATE OR REPLACE FUNCTION {_GUARD_FUNCTION}"
        " RETURNS event_trigger LANGUAGE plpgsql SET search_path = '' AS 'BEGIN END'"
    ),
    "guard: its function belongs to a role": (
        f"ALTER FUNCTION {_GUARD_FUNCTION} OWNER TO dashboard_user"
    ),
    "guard: its function is granted to somebody": (
        f"GRANT EXECUTE ON FUNCTION {_GUARD_FUNCTION} TO anon"
    ),
    'table public."Open ""door" has no row level security: alter table public."Open ""door"': (
        'DROP EVENT TRIGGER dpp_feedback_row_level_security; CREATE TABLE public."Open ""door" ()'
    ),
}

DEVIATIONS = TABLES_AND_VIEWS | POLICIES_AND_GRANTS | ROLES | SCHEMA | WAYS_AROUND | GUARD
