-- Are the tables of SES feedback closed to everybody but the roles that the migrations name?
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
select tablename, policyname, permissive, roles, cmd, qual, with_check
from pg_catalog.pg_policies
where schemaname = 'public' and tablename like 'ses\_%'
order by 1, 2;

-- 3. Grants on our tables and views, and on single columns
select
  granted.relname as object,
  case entry.grantee when 0 then 'PUBLIC' else pg_get_userbyid(entry.grantee) end as grantee,
  granted.column_name,
  string_agg(entry.privilege_type, ', ' order by entry.privilege_type) as privileges
from (
  select relname, null as column_name, coalesce(relacl, acldefault('r', relowner)) as acl
  from pg_catalog.pg_class
  where relnamespace = to_regnamespace('public') and relname like 'ses\_%' and relkind in ('r', 'p', 'v')
  union all
  select relname, attname, attacl
  from pg_catalog.pg_attribute join pg_catalog.pg_class on pg_class.oid = attrelid
  where relnamespace = to_regnamespace('public') and relname like 'ses\_%'
) as granted
cross join lateral aclexplode(granted.acl) as entry
group by 1, 2, 3
order by 1, 2, 3 nulls first;

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
select indexes.tablename, indexes.indexname, state.indisvalid as valid, indexes.indexdef
from pg_catalog.pg_indexes as indexes
join pg_catalog.pg_index as state
  on state.indexrelid = to_regclass(format('%I.%I', indexes.schemaname, indexes.indexname))
where indexes.schemaname = 'public' and indexes.tablename like 'ses\_%'
order by 1, 2;

-- 6. The verdict
do $$
declare
  tables constant text[] := array[
    'ses_feedback_events', 'ses_feedback_daily_counts', 'ses_feedback_daily_totals',
    'ses_feedback_rejects', 'ses_feedback_dlq_actions'
  ];
  views constant text[] := array['ses_suppressed_recipients'];
  counters constant text[] := tables[2:3];
  found text[] := '{}';
begin
  found := found || array(
    select format('%s public.%s is missing', kind, name)
    from (
      select 'table' as kind, unnest(tables) as name union all select 'view', unnest(views)
    ) as expected
    where not exists (
      select from pg_catalog.pg_class
      where oid = to_regclass('public.' || name)
        and relkind = any (case kind when 'view' then '{v}' else '{r,p}' end::"char"[])
    )
    order by 1
  );

  found := found || array(
    select case
      when present.attname is null then format('column %s.%s is missing', table_name, expected.name)
      else format(
        'column %s.%s is %s%s instead of %s%s', table_name, expected.name,
        format_type(present.atttypid, present.atttypmod),
        case when present.attnotnull then ' not null' end,
        expected.type, case when expected.filled then ' not null' end
      )
    end
    from (
      select 'ses_feedback_events' as table_name, * from (
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
      ) as of_events (name, type, filled)
      union all
      select counter, of_counters.* from unnest(counters) as counter cross join (
        values
          ('day', 'date', true),
          ('notification_type', 'text', true),
          ('bounce_type', 'text', true),
          ('bounce_sub_type', 'text', true),
          ('complaint_sub_type', 'text', true),
          ('automatic_reply', 'boolean', true),
          ('source', 'text', true),
          ('configuration_set', 'text', true),
          ('recipient_domain', 'text', true),
          ('count', 'bigint', true)
      ) as of_counters (name, type, filled)
      where (counter, of_counters.name) <> ('ses_feedback_daily_totals', 'recipient_domain')
      union all
      select 'ses_feedback_rejects', * from (
        values
          ('message_id', 'text', true),
          ('body_sha256', 'text', true),
          ('body_bytes', 'integer', true),
          ('reason', 'text', true),
          ('detail', 'text', true),
          ('kind', 'text', false),
          ('topic_arn', 'text', false),
          ('queue', 'text', true),
          ('sent_at', 'timestamp with time zone', true),
          ('first_seen_at', 'timestamp with time zone', true),
          ('last_seen_at', 'timestamp with time zone', true),
          ('times_seen', 'integer', true),
          ('parser_version', 'integer', true),
          ('last_run_id', 'text', false),
          ('redriven_at', 'timestamp with time zone', false),
          ('resolution', 'text', true),
          ('resolved_at', 'timestamp with time zone', false),
          ('resolved_by', 'text', false),
          ('resolved_run_id', 'text', false),
          ('body', 'bytea', false),
          ('body_kept_until', 'timestamp with time zone', false)
      ) as of_rejects (name, type, filled)
      union all
      select 'ses_feedback_dlq_actions', * from (
        values
          ('id', 'uuid', true),
          ('action', 'text', true),
          ('actor', 'text', true),
          ('selection', 'jsonb', true),
          ('dry_run', 'boolean', true),
          ('why', 'text', false),
          ('run_id', 'text', false),
          ('parser_version', 'integer', true),
          ('started_at', 'timestamp with time zone', true),
          ('finished_at', 'timestamp with time zone', false),
          ('moved', 'integer', false),
          ('counts', 'jsonb', false),
          ('error', 'text', false),
          ('database_user', 'text', true)
      ) as of_actions (name, type, filled)
    ) as expected
    left join pg_catalog.pg_attribute as present
      on present.attrelid = to_regclass('public.' || table_name) and present.attname = expected.name
      and present.attnum > 0 and not present.attisdropped
    where to_regclass('public.' || table_name) is not null
      and (
        present.attname is null
        or format_type(present.atttypid, present.atttypmod) <> expected.type
        or present.attnotnull <> expected.filled
      )
  );

  found := found || array(
    select problem || ' public.' || relname
    from pg_catalog.pg_class
    cross join lateral (
      values
        (relname = any (tables) and not relrowsecurity, 'row level security is off on'),
        (relname = any (tables) and not relforcerowsecurity, 'row level security is not forced on'),
        (
          relname = any (views) and not coalesce(reloptions, '{}') && array['security_invoker=true', 'security_invoker=on'],
          'security_invoker is off on'
        )
    ) as test (wrong, problem)
    where relnamespace = to_regnamespace('public') and relkind in ('r', 'p', 'v') and wrong
    order by 1
  );

  -- Held by PUBLIC, or by a role that the API speaks as: by itself, or through another role
  -- that it can act as. The ownership counts as well.
  found := found || array(
    with outsider as (
      select 0 as oid, 'PUBLIC' as name
      union all
      select oid, rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated')
    ),
    ours as (
      select oid, relname, relacl, relowner from pg_catalog.pg_class
      where oid in (select to_regclass('public.' || name) from unnest(tables || views) as name)
    ),
    held as (
      select relname as object, coalesce(relacl, acldefault('r', relowner)) as acl from ours
      union all
      select 'column ' || relname || '.' || attname, attacl
      from pg_catalog.pg_attribute join ours on ours.oid = attrelid
    )
    select format('%s holds %s on %s', outsider.name, entry.privilege_type, held.object)
    from held
    cross join lateral aclexplode(held.acl) as entry
    join outsider
      on entry.grantee = outsider.oid
      or (entry.grantee <> 0 and outsider.oid <> 0 and pg_has_role(outsider.oid, entry.grantee, 'MEMBER'))
    union
    -- predefined roles such as pg_read_all_data are in no access list
    select format('%s holds %s on %s', outsider.name, privilege, ours.relname)
    from outsider
    cross join ours
    cross join unnest(
      array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
    ) as privilege
    where outsider.oid <> 0 and has_table_privilege(outsider.oid, ours.oid, privilege)
    order by 1
  );

  found := found || array(
    select format(
      'policy %I on %s is not as the migrations make it: %s %s for %s using (%s) with check (%s)',
      policy.policyname, policy.tablename, policy.permissive, policy.cmd,
      array_to_string(policy.roles, ', '), policy.qual, policy.with_check
    )
    from pg_catalog.pg_policies as policy
    where policy.schemaname = 'public' and policy.tablename = any (tables)
      and (
        policy.tablename, policy.policyname, policy.permissive, policy.roles, policy.cmd,
        coalesce(policy.qual, ''), coalesce(policy.with_check, '')
      ) not in (
        select
          relname, relname || '_owner', 'PERMISSIVE', array[pg_get_userbyid(relowner)], 'ALL',
          'true', 'true'
        from pg_catalog.pg_class
        where oid = to_regclass('public.' || policy.tablename)
        union all
        select
          name, name || '_service_role_' || lower(verb), 'PERMISSIVE', array['service_role'::name],
          verb, used, checked
        from unnest(array['ses_feedback_rejects', 'ses_feedback_dlq_actions']) as name
        cross join (
          values ('SELECT', 'true', ''), ('INSERT', '', 'true'), ('UPDATE', 'true', 'true')
        ) as may (verb, used, checked)
        union all values
          ('ses_feedback_events', 'ses_feedback_events_service_role_select', 'PERMISSIVE', array['service_role'::name], 'SELECT', 'true', ''),
          ('ses_feedback_events', 'ses_feedback_events_service_role_insert', 'PERMISSIVE', array['service_role'::name], 'INSERT', '', 'true'),
          ('ses_feedback_daily_counts', 'ses_feedback_daily_counts_service_role', 'PERMISSIVE', array['service_role'::name], 'ALL', 'true', 'true'),
          ('ses_feedback_daily_totals', 'ses_feedback_daily_totals_service_role', 'PERMISSIVE', array['service_role'::name], 'ALL', 'true', 'true')
      )
    order by policy.policyname
  );
  found := found || array(
    select format('policy %s_owner is missing', name)
    from unnest(tables) as name
    where to_regclass('public.' || name) is not null and not exists (
      select from pg_catalog.pg_policy
      where polrelid = to_regclass('public.' || name) and polname = name || '_owner'
    )
  );

  if to_regclass('public.ses_feedback_events') is not null and not exists (
    select from pg_catalog.pg_index as key
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = key.indrelid and attribute.attname = 'dedupe_key'
    where key.indrelid = to_regclass('public.ses_feedback_events')
      and key.indisunique and key.indisvalid and key.indimmediate
      and key.indpred is null and key.indnkeyatts = 1 and key.indkey[0] = attribute.attnum
  ) then
    found := found || 'unique key on dedupe_key is missing'::text;
  end if;
  found := found || array(
    select format('index %s is missing or not valid', index_name)
    from (
      values
        ('ses_feedback_events', 'ses_feedback_events_pkey'),
        ('ses_feedback_events', 'ses_feedback_events_event_at_idx'),
        ('ses_feedback_events', 'ses_feedback_events_recipient_idx'),
        ('ses_feedback_events', 'ses_feedback_events_received_at_idx'),
        ('ses_feedback_events', 'ses_feedback_events_suppression_idx'),
        ('ses_feedback_daily_counts', 'ses_feedback_daily_counts_pkey'),
        ('ses_feedback_daily_counts', 'ses_feedback_daily_counts_domain_idx'),
        ('ses_feedback_daily_counts', 'ses_feedback_daily_counts_complaint_idx'),
        ('ses_feedback_daily_totals', 'ses_feedback_daily_totals_pkey'),
        ('ses_feedback_rejects', 'ses_feedback_rejects_pkey'),
        ('ses_feedback_rejects', 'ses_feedback_rejects_waiting_idx'),
        ('ses_feedback_rejects', 'ses_feedback_rejects_redriven_idx'),
        ('ses_feedback_rejects', 'ses_feedback_rejects_body_idx'),
        ('ses_feedback_dlq_actions', 'ses_feedback_dlq_actions_pkey')
    ) as expected (table_name, index_name)
    where to_regclass('public.' || table_name) is not null and not exists (
      select from pg_catalog.pg_index
      where indrelid = to_regclass('public.' || table_name)
        and indexrelid = to_regclass('public.' || index_name) and indisvalid
    )
  );

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
          -- by name: to_regproc asks for rights on the schema, which a runs' login has not
          function.proname <> 'enable_row_level_security'
          or function.pronamespace is distinct from to_regnamespace('dpp_feedback'),
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
      and not relrowsecurity and relname <> all (tables)
    order by relname
  );

  if cardinality(found) > 0 then
    raise exception E'the tables of SES feedback are not safe:\n%',
      '- ' || array_to_string(found, E'\n- ')
      using hint = 'Correct it, or run the migrations again, then verify again.';
  end if;
end
$$;

select 'the tables of SES feedback are as the migrations make them' as verdict;
