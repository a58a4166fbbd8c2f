-- The guard also works in sessions with `session_replication_role = replica`, as the scripts that
-- `supabase db dump` writes are run, and says what to do about a table that it cannot close.
--
-- Run it with `dpp-feedback migrate`, psql, or Supabase's SQL editor, after
-- 20260220_fix_ses_feedback_events_rls_and_guard.sql. Running it again changes nothing. What it
-- replaces is explained there.

do $$
declare
  outsider name;
begin
  create or replace function dpp_feedback.enable_row_level_security() returns event_trigger
    language plpgsql
    security invoker
    set search_path = ''
  as $guard$
declare
  bare pg_catalog.regclass;
begin
  for bare in
    select distinct relation.oid
    from pg_catalog.pg_event_trigger_ddl_commands() as command
    cross join lateral (
      -- a table: created, moved into public, or with row level security just turned off
      select command.objid
      where command.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      union all
      -- a schema: created with its tables, or renamed to public
      select oid from pg_catalog.pg_class
      where command.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
        and relnamespace = command.objid
      union all
      -- an extension: moved into public with its tables
      select objid from pg_catalog.pg_depend
      where command.classid = 'pg_catalog.pg_extension'::pg_catalog.regclass
        and refclassid = command.classid and refobjid = command.objid and deptype = 'e'
        and classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    ) as candidate (oid)
    join pg_catalog.pg_class as relation on relation.oid = candidate.oid
    where relation.relnamespace = pg_catalog.to_regnamespace('public')
      and relation.relkind in ('r', 'p') -- tables and partitioned tables; others cannot have it
      and not relation.relrowsecurity
  loop
    begin
      execute pg_catalog.format('alter table %s enable row level security', bare);
    exception when others then
      -- Raised again, and only to say more: without row level security there shall be no table.
      raise exception 'row level security cannot be turned on for %, which would come into public without it: %',
        bare, sqlerrm
        using
          errcode = sqlstate,
          hint = pg_catalog.format(
            'Nothing was changed. Let the owner of the table, or a superuser, run `alter table %s enable row level security` where it is now, and then do this again.',
            bare
          );
    end;
    raise notice 'row level security is now on for %', bare;
  end loop;
end
$guard$;
  alter function dpp_feedback.enable_row_level_security() owner to current_user;

  -- Nobody calls it; but default privileges of a server may have given it away.
  revoke all on function dpp_feedback.enable_row_level_security() from public;
  for outsider in
    select rolname from pg_catalog.pg_roles
    where rolname in ('anon', 'authenticated', 'service_role')
  loop
    execute format(
      'revoke all on function dpp_feedback.enable_row_level_security() from %I', outsider
    );
  end loop;

  alter event trigger dpp_feedback_row_level_security enable always;
exception
  when insufficient_privilege then
    -- Somebody who may has done it: leave it as it is.
    if not exists (
      select from pg_catalog.pg_event_trigger
      where evtname = 'dpp_feedback_row_level_security' and evtenabled = 'A'
    ) then
      raise exception 'the login % may not change the guard for new tables in public (%)',
        current_user, sqlerrm
        using
          errcode = 'insufficient_privilege',
          hint = 'Run this file once as a superuser (on Supabase: as postgres); then go on with this login.';
    end if;
end
$$;
