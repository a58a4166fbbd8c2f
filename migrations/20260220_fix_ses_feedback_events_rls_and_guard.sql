-- Policies and grants for public.ses_feedback_events, and the guard: an event trigger that turns
-- on row level security for every table that comes into public.
--
-- Run it with `dpp-feedback migrate`, psql, or Supabase's SQL editor, after
-- 20260217_create_ses_feedback_events.sql. Running it again restores what it made and nothing else.
-- The guard leaves the tables alone that are in public now, until one of them is next altered;
-- docs/p0_rls_ses_feedback_verify.sql lists those that are still open.

-- One block, so that nobody meets the table between two policies.
do $$
declare
  owner name := (
    select pg_get_userbyid(relowner) from pg_catalog.pg_class
    where oid = 'public.ses_feedback_events'::regclass
  );
begin
  -- Row level security is forced, so without a policy an owner that is neither superuser nor has
  -- BYPASSRLS could not even see its rows. By name, because a policy has no word for "the owner".
  drop policy if exists ses_feedback_events_owner on public.ses_feedback_events;
  execute format(
    'create policy ses_feedback_events_owner on public.ses_feedback_events
       for all to %I using (true) with check (true)',
    owner
  );

  -- service_role is Supabase's role for back ends. There it has BYPASSRLS and needs no policy; the
  -- policies say the same to a server where it has not. Events are facts: it adds and reads them.
  drop policy if exists ses_feedback_events_service_role_select on public.ses_feedback_events;
  drop policy if exists ses_feedback_events_service_role_insert on public.ses_feedback_events;
  if exists (select from pg_catalog.pg_roles where rolname = 'service_role') then
    revoke all on table public.ses_feedback_events from service_role;
    grant select, insert on table public.ses_feedback_events to service_role;
    create policy ses_feedback_events_service_role_select on public.ses_feedback_events
      for select to service_role using (true);
    create policy ses_feedback_events_service_role_insert on public.ses_feedback_events
      for insert to service_role with check (true);
  end if;
end
$$;

do $$
declare
  outsider name;
begin
  -- dpp_feedback is not among the schemas that an API serves. `create schema if not exists` would
  -- ask for the right to create one even when it is there.
  if to_regnamespace('dpp_feedback') is null then
    create schema dpp_feedback;
  end if;
  revoke all on schema dpp_feedback from public;
  for outsider in
    select rolname from pg_catalog.pg_roles
    where rolname in ('anon', 'authenticated', 'service_role')
  loop
    execute format('revoke all on schema dpp_feedback from %I', outsider);
  end loop;

  drop event trigger if exists dpp_feedback_row_level_security;

  -- It runs with the rights and in the session of whoever creates a table. So: not as its owner,
  -- nothing found through a search path, and no exception handler: when row level security cannot
  -- be turned on, there shall be no table. It does not force it, for a restore fills a table as
  -- its owner.
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
    execute pg_catalog.format('alter table %s enable row level security', bare);
    raise notice 'row level security is now on for %', bare;
  end loop;
end
$guard$;
  -- `create or replace` keeps a former owner, who could put other code into everybody's sessions.
  alter function dpp_feedback.enable_row_level_security() owner to current_user;
  revoke all on function dpp_feedback.enable_row_level_security() from public;
  comment on function dpp_feedback.enable_row_level_security() is
    'Event trigger: turns on row level security for every table that comes into public.';

  create event trigger dpp_feedback_row_level_security
    on ddl_command_end
    when tag in (
      'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE',
      'CREATE SCHEMA', 'ALTER SCHEMA', 'ALTER EXTENSION'
    )
    execute function dpp_feedback.enable_row_level_security();
exception
  when insufficient_privilege then
    -- Somebody who may has set it up: leave it as it is.
    if not exists (
      select from pg_catalog.pg_event_trigger
      where evtname = 'dpp_feedback_row_level_security' and evtenabled in ('O', 'A')
    ) then
      raise exception 'the login % may not set up the guard for new tables in public (%)',
        current_user, sqlerrm
        using
          errcode = 'insufficient_privilege',
          hint = 'Run this file once as a superuser (on Supabase: as postgres); then go on with this login.';
    end if;
end
$$;
