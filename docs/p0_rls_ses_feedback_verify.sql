-- Is public.ses_feedback_events closed to everybody but the roles that the migrations name?
--
-- Shows the state, and then fails with one line for each deviation. Changes nothing.
--
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f docs/p0_rls_ses_feedback_verify.sql
--
-- exits with 0 only when all is well. Supabase's SQL editor shows the error, or the last result
-- alone: mark one query to see its own. What is expected here is what migrations/ makes; a
-- migration that changes it changes this file too.

-- 1. Tables in public, and whether row level security is on, and binds the owner too
select
  relation.relname as table_name,
  pg_get_userbyid(relation.relowner) as owner,
  relation.relrowsecurity as row_level_security,
  relation.relforcerowsecurity as forced
from pg_catalog.pg_class as relation
where relation.relnamespace = to_regnamespace('public') and relation.relkind in ('r', 'p')
order by 1;

-- 2. Policies
select policyname, permissive, roles, cmd, qual, with_check
from pg_catalog.pg_policies
where schemaname = 'public' and tablename = 'ses_feedback_events'
order by 1;

-- 3. Grants on the table and on single columns
select
  case entry.grantee when 0 then 'PUBLIC' else pg_get_userbyid(entry.grantee) end as grantee,
  granted.column_name,
  string_agg(entry.privilege_type, ', ' order by entry.privilege_type) as privileges
from (
  select null as column_name, coalesce(relacl, acldefault('r', relowner)) as acl
  from pg_catalog.pg_class where oid = to_regclass('public.ses_feedback_events')
  union all
  select attname, attacl
  from pg_catalog.pg_attribute where attrelid = to_regclass('public.ses_feedback_events')
) as granted
cross join lateral aclexplode(granted.acl) as entry
group by 1, 2
order by 1, 2 nulls first;

-- 4. The guard: turns on row level security for tables that come into public
select
  guard.evtname as event_trigger,
  guard.evtevent as event,
  case guard.evtenabled
    when 'O' then 'enabled' when 'A' then 'always' when 'R' then 'replica only' else 'disabled'
  end as state,
  guard.evttags as tags,
  guard.evtfoid::regproc as function,
  pg_get_userbyid(guard.evtowner) as owner
from pg_catalog.pg_event_trigger as guard
where guard.evtname = 'dpp_feedback_row_level_security';

-- 5. Indexes
select indexes.indexname, state.indisvalid as valid, indexes.indexdef
from pg_catalog.pg_indexes as indexes
join pg_catalog.pg_index as state
  on state.indexrelid = to_regclass(format('%I.%I', indexes.schemaname, indexes.indexname))
where indexes.schemaname = 'public' and indexes.tablename = 'ses_feedback_events'
order by 1;

-- 6. The verdict
do $$
declare
  events constant oid := to_regclass('public.ses_feedback_events');
  owner oid;
  found text[] := '{}';
begin
  select relowner into owner from pg_catalog.pg_class where oid = events;

  if events is null then
    found := found || 'table public.ses_feedback_events is missing'::text;
  else
    found := found || array(
      select case
        when present.attname is null then format('column %s is missing', expected.name)
        else format(
          'column %s is %s%s instead of %s%s', expected.name,
          format_type(present.atttypid, present.atttypmod),
          case when present.attnotnull then ' not null' end,
          expected.type, case when expected.filled then ' not null' end
        )
      end
      from (
        values
          ('id', 'uuid', true),
          ('notification_type', 'text', true),
          ('ses_message_id', 'text', true),
          ('feedback_id', 'text', false),
          ('source', 'text', false),
          ('primary_recipient', 'text', false),
          ('bounce_type', 'text', false),
          ('bounce_sub_type', 'text', false),
          ('type_data', 'jsonb', true),
          ('configuration_set', 'text', false),
          ('event_at', 'timestamp with time zone', true),
          ('received_at', 'timestamp with time zone', true),
          ('sns_message_id', 'text', false),
          ('dedupe_key', 'text', true)
      ) as expected (name, type, filled)
      left join pg_catalog.pg_attribute as present
        on present.attrelid = events and present.attname = expected.name
        and present.attnum > 0 and not present.attisdropped
      where present.attname is null
        or format_type(present.atttypid, present.atttypmod) <> expected.type
        or present.attnotnull <> expected.filled
    );

    found := found || array(
      select problem
      from pg_catalog.pg_class
      cross join lateral (
        values
          (not relrowsecurity, 'row level security is off on public.ses_feedback_events'),
          (not relforcerowsecurity, 'row level security is not forced on public.ses_feedback_events'),
          (relkind not in ('r', 'p'), 'public.ses_feedback_events is not a table')
      ) as test (wrong, problem)
      where oid = events and wrong
    );

    -- Held by PUBLIC, or by a role that the API speaks as: by itself, or through another role
    -- that it can act as. The ownership counts as well.
    found := found || array(
      with outsider as (
        select 0 as oid, 'PUBLIC' as name
        union all
        select oid, rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated')
      ),
      held as (
        select relname as object, coalesce(relacl, acldefault('r', relowner)) as acl
        from pg_catalog.pg_class where oid = events
        union all
        select 'column ' || attname, attacl
        from pg_catalog.pg_attribute where attrelid = events
      )
      select format('%s holds %s on %s', outsider.name, entry.privilege_type, held.object)
      from held
      cross join lateral aclexplode(held.acl) as entry
      join outsider
        on entry.grantee = outsider.oid
        or (entry.grantee <> 0 and outsider.oid <> 0 and pg_has_role(outsider.oid, entry.grantee, 'MEMBER'))
      union
      -- predefined roles such as pg_read_all_data are in no access list
      select format('%s holds %s on ses_feedback_events', outsider.name, privilege)
      from outsider
      cross join unnest(
        array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
      ) as privilege
      where outsider.oid <> 0 and has_table_privilege(outsider.oid, events, privilege)
      order by 1
    );

    -- "polcmd" is r for select, a for insert, * for all.
    found := found || array(
      select format(
        'policy %I is not as the migrations make it: %s %s for %s using (%s) with check (%s)',
        policy.policyname, policy.permissive, policy.cmd, array_to_string(policy.roles, ', '),
        policy.qual, policy.with_check
      )
      from pg_catalog.pg_policies as policy
      where policy.schemaname = 'public' and policy.tablename = 'ses_feedback_events'
        and (
          policy.policyname, policy.permissive, policy.roles, policy.cmd,
          coalesce(policy.qual, ''), coalesce(policy.with_check, '')
        ) not in (
          ('ses_feedback_events_owner', 'PERMISSIVE', array[pg_get_userbyid(owner)], 'ALL', 'true', 'true'),
          ('ses_feedback_events_service_role_select', 'PERMISSIVE', array['service_role'::name], 'SELECT', 'true', ''),
          ('ses_feedback_events_service_role_insert', 'PERMISSIVE', array['service_role'::name], 'INSERT', '', 'true')
        )
      order by policy.policyname
    );
    if not exists (
      select from pg_catalog.pg_policy
      where polrelid = events and polname = 'ses_feedback_events_owner'
    ) then
      found := found || 'policy ses_feedback_events_owner is missing'::text;
    end if;

    if not exists (
      select from pg_catalog.pg_index as key
      join pg_catalog.pg_attribute as attribute
        on attribute.attrelid = key.indrelid and attribute.attname = 'dedupe_key'
      where key.indrelid = events and key.indisunique and key.indisvalid and key.indimmediate
        and key.indpred is null and key.indnkeyatts = 1 and key.indkey[0] = attribute.attnum
    ) then
      found := found || 'unique key on dedupe_key is missing'::text;
    end if;
    found := found || array(
      select format('index %s is missing or not valid', expected)
      from unnest(array[
        'ses_feedback_events_pkey', 'ses_feedback_events_event_at_idx',
        'ses_feedback_events_recipient_idx', 'ses_feedback_events_received_at_idx'
      ]) as expected
      where not exists (
        select from pg_catalog.pg_index
        where indrelid = events and indexrelid = to_regclass('public.' || expected) and indisvalid
      )
    );
  end if;

  if not exists (
    select from pg_catalog.pg_event_trigger where evtname = 'dpp_feedback_row_level_security'
  ) then
    found := found || 'guard: event trigger dpp_feedback_row_level_security is missing'::text;
  end if;
  found := found || array(
    select 'guard: ' || problem
    from pg_catalog.pg_event_trigger as guard
    join pg_catalog.pg_proc as function on function.oid = guard.evtfoid
    join pg_catalog.pg_language as language on language.oid = function.prolang
    cross join lateral (
      values
        (guard.evtenabled not in ('O', 'A'), 'it is disabled'),
        (guard.evtevent <> 'ddl_command_end', 'it fires at another event'),
        (
          not coalesce(guard.evttags, '{}') @> array[
            'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE',
            'CREATE SCHEMA', 'ALTER SCHEMA', 'ALTER EXTENSION'
          ]
          and guard.evttags is not null,
          'it does not fire for every command'
        ),
        (
          function.oid is distinct from to_regproc('dpp_feedback.enable_row_level_security'),
          'it calls another function'
        ),
        (function.prosecdef, 'its function is security definer'),
        (
          function.proconfig is distinct from array['search_path=""'],
          'its function has another search_path'
        ),
        (
          -- of the text between the two $guard$ in 20260220, whatever its line ends
          language.lanname <> 'plpgsql'
          or encode(sha256(convert_to(replace(function.prosrc, E'\r', ''), 'UTF8')), 'hex')
            <> '52b496ba31da2c587a3fb672de8e2e374b9b1064812866ab4dbe80850f1a31ab',
          'its function is not the one of the migration'
        ),
        (
          function.proowner <> guard.evtowner
          and not exists (
            select from pg_catalog.pg_roles where oid = function.proowner and rolsuper
          ),
          'its function belongs to a role that could put other code into everybody''s sessions'
        )
    ) as test (wrong, problem)
    where guard.evtname = 'dpp_feedback_row_level_security' and wrong
  );

  found := found || array(
    select format('%s holds %s on schema dpp_feedback', outsider.name, entry.privilege_type)
    from pg_catalog.pg_namespace
    cross join lateral aclexplode(coalesce(nspacl, acldefault('n', nspowner))) as entry
    join (
      select 0 as oid, 'PUBLIC' as name
      union all
      select oid, rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated')
    ) as outsider on entry.grantee = outsider.oid
    where nspname = 'dpp_feedback'
  );

  found := found || array(
    select format('table public.%I has no row level security', relname)
    from pg_catalog.pg_class
    where relnamespace = to_regnamespace('public') and relkind in ('r', 'p')
      and not relrowsecurity and oid is distinct from events
    order by relname
  );

  if cardinality(found) > 0 then
    raise exception E'public.ses_feedback_events is not safe:\n%',
      '- ' || array_to_string(found, E'\n- ')
      using hint = 'Correct it, or run the two migrations again, then verify again.';
  end if;
end
$$;

select 'public.ses_feedback_events is as the migrations make it' as verdict;
