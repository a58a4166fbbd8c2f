-- Are the tables of SES feedback closed to everybody but the roles that the migrations name?
--
-- Shows the state, and then fails with one line for each deviation, which says what to do. Changes
-- nothing, and asks for no rights: any login may run it.
--
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f docs/p0_rls_ses_feedback_verify.sql
--
-- exits with 0 only when all is well. Supabase's SQL editor shows the error, or the last result
-- alone: mark one query to see its own. What is expected here is what migrations/ makes; a
-- migration that changes it changes this file too. Values are cast where PostgreSQL has no operator
-- or function of just these types: in a schema of the session's search path somebody may have made
-- one, which would then run with the rights of whoever verifies.

-- 1. Tables in public, and whether row level security is on, and binds the owner too
select
  relation.relname as table_name,
  pg_get_userbyid(relation.relowner) as owner,
  relation.relrowsecurity as row_level_security,
  relation.relforcerowsecurity as forced
from pg_catalog.pg_class as relation
where relation.relnamespace = to_regnamespace('public')::oid and relation.relkind in ('r', 'p')
order by 1;

-- 2. Policies
select tablename, policyname, permissive, roles, cmd, qual, with_check
from pg_catalog.pg_policies
where schemaname = 'dpp_feedback' or (schemaname = 'public' and tablename::text like 'ses\_%')
order by 1, 2;

-- 3. Grants on our tables and views, and on single columns
select
  granted.relname as object,
  case entry.grantee when 0::oid then 'PUBLIC' else pg_get_userbyid(entry.grantee) end as grantee,
  granted.column_name,
  string_agg(entry.privilege_type, ', ' order by entry.privilege_type) as privileges
from (
  select relname, relnamespace, null as column_name,
    coalesce(relacl, acldefault('r'::"char", relowner)) as acl
  from pg_catalog.pg_class where relkind in ('r', 'p', 'v')
  union all
  select relname, relnamespace, attname, attacl
  from pg_catalog.pg_attribute join pg_catalog.pg_class on pg_class.oid = attrelid
) as granted
join pg_catalog.pg_namespace as place on place.oid = granted.relnamespace
cross join lateral aclexplode(granted.acl) as entry
where nspname = 'dpp_feedback' or (nspname = 'public' and relname::text like 'ses\_%')
group by 1, 2, 3
order by 1, 2, 3 nulls first;

-- 4. Our roles, and who is a member of them
select
  role.rolname as role,
  array(
    select pg_get_userbyid(member) from pg_catalog.pg_auth_members where roleid = role.oid order by 1
  ) as members
from pg_catalog.pg_roles as role
where role.rolname in ('ses_feedback_writer', 'ses_feedback_reader', 'ses_feedback_maintainer')
order by 1;

-- 5. The guard: turns on row level security for tables that come into public
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

-- 6. The verdict
do $$
declare
  tables constant text[] := array[
    'ses_feedback_events', 'ses_feedback_daily_counts', 'ses_feedback_daily_totals',
    'ses_feedback_rejects', 'ses_feedback_dlq_actions', 'ses_feedback_removals',
    'ses_suppressed_hashes'
  ];
  our_roles constant text[] := array[
    'ses_feedback_writer', 'ses_feedback_reader', 'ses_feedback_maintainer'
  ];
  again constant text := 'run the files of migrations/ again, in order';
  by_hand constant text := 'mend it by hand, as migrations/ has it';
  -- 20260217 says how an id is made; this is how PostgreSQL writes it down.
  version_7 constant text := 'uuid not null default (encode(set_bit(set_bit(OVERLAY(uuid_send(gen_random_uuid()) PLACING SUBSTRING(int8send((floor((EXTRACT(epoch FROM clock_timestamp()) * (1000)::numeric)))::bigint) FROM 3) FROM 1 FOR 6), (52)::bigint, 1), (53)::bigint, 1), ''hex''::text))::uuid';
  guard_name constant text := 'dpp_feedback_row_level_security';
  session_path constant text := current_setting('search_path');
  found text[] := '{}';
  ours oid[]; -- our tables and views, the ledger of migrations among them
begin
  -- Names and definitions are then written with their schemas, whoever runs this.
  perform set_config('search_path', '', true);

  select coalesce(array_agg(pg_class.oid), '{}') into ours
  from pg_catalog.pg_class join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
  where (nspname, relname) in (
    select 'public', unnest(tables || 'ses_suppressed_recipients'::text)
    union all values
      ('dpp_feedback', 'ses_feedback_events_masked'),
      ('dpp_feedback', 'migrations') -- there is none where only psql ran the migrations
  );

  -- Tables and views: are they there, whose are they, do they keep what they are given?
  found := found || array(
    select format('%s %s.%s is missing: %s', kind, schema, name, again)
    from (
      select 'table' as kind, 'public' as schema, unnest(tables) as name
      union all values
        ('view', 'public', 'ses_suppressed_recipients'),
        ('view', 'dpp_feedback', 'ses_feedback_events_masked')
    ) as wanted
    where not exists (
      select from pg_catalog.pg_class
      join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
      where nspname = schema and relname = name
        and relkind = any (case kind when 'view' then '{v}' else '{r,p}' end::"char"[])
    )
    order by 1
  );
  found := found || array(
    select format(problem, relation)
    from pg_catalog.pg_class
    cross join lateral (select oid::regclass as relation) as named
    cross join lateral (
      values
        (
          relkind <> 'v' and not relrowsecurity,
          'row level security is off on %1$s: alter table %1$s enable row level security'
        ),
        (
          relkind <> 'v' and relname = any (tables) and not relforcerowsecurity,
          'row level security is not forced on %1$s: alter table %1$s force row level security'
        ),
        (
          relpersistence <> 'p',
          '%1$s loses its rows when the server crashes: alter table %1$s set logged'
        ),
        (
          pg_get_userbyid(relowner) = any (
            our_roles || '{anon,authenticated,authenticator,service_role}'::text[]
          ),
          format(
            '%%1$s belongs to %s, whom it is to bind: alter table %%1$s owner to whoever migrates',
            pg_get_userbyid(relowner)
          )
        ),
        (
          -- it reads with its owner's rights
          relname = 'ses_feedback_events_masked' and relowner <> coalesce(
            (
              select relowner from pg_catalog.pg_class
              where oid = any (ours) and relname = 'ses_feedback_events'
            ),
            relowner
          ),
          '%1$s has another owner than the events: ' || again
        )
    ) as test (wrong, problem)
    where oid = any (ours) and wrong
    order by 1
  );

  -- Columns, constraints, indexes, and what the views say, as PostgreSQL writes it down. An index
  -- that somebody added stands, unless it refuses rows.
  found := found || array(
    with wanted as (
      select 'public.ses_feedback_events' as relation, * from (
        values
          ('column id', version_7),
          ('column notification_type', 'text not null'),
          ('column ses_message_id', 'text not null'),
          ('column feedback_id', 'text'),
          ('column source', 'text'),
          ('column primary_recipient', 'text'),
          ('column bounce_type', 'text'),
          ('column bounce_sub_type', 'text'),
          ('column type_data', 'jsonb not null default ''{}''::jsonb'),
          ('column configuration_set', 'text'),
          ('column event_at', 'timestamp with time zone not null'),
          ('column received_at', 'timestamp with time zone not null default now()'),
          ('column sns_message_id', 'text'),
          ('column dedupe_key', 'text collate C not null'),
          ('constraint ses_feedback_events_dedupe_key_key', 'UNIQUE (dedupe_key)'),
          ('constraint ses_feedback_events_pkey', 'PRIMARY KEY (id)'),
          ('constraint ses_feedback_events_type_data_check', 'CHECK ((jsonb_typeof(type_data) = ''object''::text))'),
          ('index ses_feedback_events_event_at_idx', 'btree (event_at, notification_type)'),
          ('index ses_feedback_events_received_at_idx', 'btree (received_at)'),
          ('index ses_feedback_events_recipient_idx', 'btree (primary_recipient) WHERE (primary_recipient IS NOT NULL)'),
          ('index ses_feedback_events_suppression_idx', 'btree (primary_recipient, event_at) WHERE ((notification_type = ANY (ARRAY[''Bounce''::text, ''Complaint''::text])) AND (primary_recipient IS NOT NULL))')
      ) as of_events (part, definition)
      union all
      select 'public.ses_feedback_daily_counts', * from (
        values
          ('column day', 'date not null'),
          ('column notification_type', 'text collate C not null'),
          ('column bounce_type', 'text collate C not null'),
          ('column bounce_sub_type', 'text collate C not null'),
          ('column complaint_sub_type', 'text collate C not null'),
          ('column automatic_reply', 'boolean not null'),
          ('column source', 'text collate C not null'),
          ('column configuration_set', 'text collate C not null'),
          ('column recipient_domain', 'text collate C not null'),
          ('column count', 'bigint not null'),
          ('constraint ses_feedback_daily_counts_pkey', 'PRIMARY KEY (day, notification_type, bounce_type, bounce_sub_type, complaint_sub_type, automatic_reply, source, configuration_set, recipient_domain)'),
          ('index ses_feedback_daily_counts_complaint_idx', 'btree (day, recipient_domain) WHERE (notification_type = ''Complaint''::text)'),
          ('index ses_feedback_daily_counts_domain_idx', 'btree (recipient_domain, day)')
      ) as of_daily_counts
      union all
      select 'public.ses_feedback_daily_totals', * from (
        values
          ('column day', 'date not null'),
          ('column notification_type', 'text collate C not null'),
          ('column bounce_type', 'text collate C not null'),
          ('column bounce_sub_type', 'text collate C not null'),
          ('column complaint_sub_type', 'text collate C not null'),
          ('column automatic_reply', 'boolean not null'),
          ('column source', 'text collate C not null'),
          ('column configuration_set', 'text collate C not null'),
          ('column count', 'bigint not null'),
          ('constraint ses_feedback_daily_totals_pkey', 'PRIMARY KEY (day, notification_type, bounce_type, bounce_sub_type, complaint_sub_type, automatic_reply, source, configuration_set)')
      ) as of_daily_totals
      union all
      select 'public.ses_feedback_rejects', * from (
        values
          ('column message_id', 'text collate C not null'),
          ('column body_sha256', 'text collate C not null'),
          ('column body_bytes', 'integer not null'),
          ('column reason', 'text not null'),
          ('column detail', 'text not null'),
          ('column kind', 'text'),
          ('column topic_arn', 'text'),
          ('column queue', 'text not null'),
          ('column sent_at', 'timestamp with time zone not null'),
          ('column first_seen_at', 'timestamp with time zone not null default now()'),
          ('column last_seen_at', 'timestamp with time zone not null default now()'),
          ('column times_seen', 'integer not null default 1'),
          ('column parser_version', 'integer not null'),
          ('column last_run_id', 'text'),
          ('column redriven_at', 'timestamp with time zone'),
          ('column resolution', 'text not null default ''waiting''::text'),
          ('column resolved_at', 'timestamp with time zone'),
          ('column resolved_by', 'text'),
          ('column resolved_run_id', 'text'),
          ('column body', 'bytea'),
          ('column body_kept_until', 'timestamp with time zone'),
          ('constraint ses_feedback_rejects_body_check', 'CHECK (((body IS NULL) = (body_kept_until IS NULL)))'),
          ('constraint ses_feedback_rejects_body_sha256_check', 'CHECK ((body_sha256 ~ ''^[0-9a-f]{64}$''::text))'),
          ('constraint ses_feedback_rejects_detail_check', 'CHECK ((length(detail) <= 500))'),
          ('constraint ses_feedback_rejects_pkey', 'PRIMARY KEY (message_id)'),
          ('constraint ses_feedback_rejects_resolution_check', 'CHECK ((resolution = ANY (ARRAY[''waiting''::text, ''reprocessed''::text, ''discarded''::text, ''expired''::text])))'),
          ('constraint ses_feedback_rejects_resolved_at_check', 'CHECK (((resolved_at IS NULL) = (resolution = ''waiting''::text)))'),
          ('index ses_feedback_rejects_body_idx', 'btree (body_kept_until) WHERE (body IS NOT NULL)'),
          ('index ses_feedback_rejects_redriven_idx', 'btree (body_sha256) WHERE ((resolution = ''waiting''::text) AND (redriven_at IS NOT NULL))'),
          ('index ses_feedback_rejects_waiting_idx', 'btree (sent_at) WHERE (resolution = ''waiting''::text)')
      ) as of_rejects
      union all
      select 'public.ses_feedback_dlq_actions', * from (
        values
          ('column id', version_7),
          ('column action', 'text not null'),
          ('column actor', 'text not null'),
          ('column selection', 'jsonb not null'),
          ('column dry_run', 'boolean not null'),
          ('column why', 'text'),
          ('column run_id', 'text'),
          ('column parser_version', 'integer not null'),
          ('column started_at', 'timestamp with time zone not null default now()'),
          ('column finished_at', 'timestamp with time zone'),
          ('column moved', 'integer'),
          ('column counts', 'jsonb'),
          ('column error', 'text'),
          ('column database_user', 'text not null default SESSION_USER'),
          ('constraint ses_feedback_dlq_actions_action_check', 'CHECK ((action = ANY (ARRAY[''reprocess''::text, ''redrive''::text, ''cancel_redrive''::text, ''discard''::text])))'),
          ('constraint ses_feedback_dlq_actions_counts_check', 'CHECK ((jsonb_typeof(counts) = ''object''::text))'),
          ('constraint ses_feedback_dlq_actions_pkey', 'PRIMARY KEY (id)'),
          ('constraint ses_feedback_dlq_actions_selection_check', 'CHECK ((jsonb_typeof(selection) = ''object''::text))')
      ) as of_dlq_actions
      union all
      select 'public.ses_feedback_removals', * from (
        values
          ('column id', version_7),
          ('column kind', 'text not null'),
          ('column actor', 'text not null'),
          ('column started_at', 'timestamp with time zone not null default now()'),
          ('column finished_at', 'timestamp with time zone'),
          ('column events_before', 'timestamp with time zone'),
          ('column counts', 'jsonb'),
          ('column run_id', 'text'),
          ('column error', 'text'),
          ('column database_user', 'text not null default SESSION_USER'),
          ('constraint ses_feedback_removals_counts_check', 'CHECK ((jsonb_typeof(counts) = ''object''::text))'),
          ('constraint ses_feedback_removals_events_before_check', 'CHECK (((events_before IS NULL) = (kind = ''erasure''::text)))'),
          ('constraint ses_feedback_removals_kind_check', 'CHECK ((kind = ANY (ARRAY[''retention''::text, ''erasure''::text])))'),
          ('constraint ses_feedback_removals_pkey', 'PRIMARY KEY (id)'),
          ('constraint ses_feedback_removals_whole_days_check', 'CHECK (((events_before AT TIME ZONE ''UTC''::text) = date_trunc(''day''::text, (events_before AT TIME ZONE ''UTC''::text))))'),
          ('index ses_feedback_removals_floor_idx', 'btree (events_before) WHERE (kind = ''retention''::text)')
      ) as of_removals
      union all
      select 'public.ses_suppressed_hashes', * from (
        values
          ('column recipient_hmac', 'bytea not null'),
          ('column reason', 'text not null'),
          ('column since', 'timestamp with time zone not null'),
          ('column kept_at', 'timestamp with time zone not null default now()'),
          ('constraint ses_suppressed_hashes_pkey', 'PRIMARY KEY (recipient_hmac)'),
          ('constraint ses_suppressed_hashes_reason_check', 'CHECK ((reason = ANY (ARRAY[''complaint''::text, ''unsubscribed''::text, ''permanent_bounce''::text, ''global_list''::text, ''transient_bounces''::text])))'),
          ('constraint ses_suppressed_hashes_recipient_hmac_check', 'CHECK ((octet_length(recipient_hmac) = 32))')
      ) as of_suppressed_hashes
      union all
      select 'public.ses_suppressed_recipients', * from (
        values
          ('definition', 'dd93a8ce8660c274eaec12a8ecc04d6c29e93c51f3d53dde4dca0ff24ad1aea7'),
          ('options', 'security_invoker=true')
      ) as of_suppressed_recipients
      union all
      select 'dpp_feedback.ses_feedback_events_masked', * from (
        values
          ('definition', '888b6afd3a8a48ed65c052d9a428d9c686eab201ab836ff5e109e99b28a90075'),
          ('options', 'security_barrier=true')
      ) as of_events_masked
      union all
      select 'dpp_feedback.migrations', * from (
        values
          ('column name', 'text not null'),
          ('column sha256', 'text not null'),
          ('column applied_at', 'timestamp with time zone not null default clock_timestamp()'),
          ('constraint migrations_pkey', 'PRIMARY KEY (name)')
      ) as of_migrations
    ),
    made as (
      select attrelid as relation, 'column ' || attname as part,
        concat(
          format_type(atttypid, atttypmod),
          case when attcollation <> typcollation then
            ' collate ' || (select collname from pg_catalog.pg_collation where oid = attcollation)
          end,
          case when attnotnull then ' not null' end,
          case when attidentity <> '' then ' identity' when attgenerated <> '' then ' generated' end,
          ' default ' || pg_get_expr(adbin, adrelid)
        ) as definition
      from pg_catalog.pg_attribute
      join pg_catalog.pg_class on pg_class.oid = attrelid
      join pg_catalog.pg_type on pg_type.oid = atttypid
      left join pg_catalog.pg_attrdef on adrelid = attrelid and adnum = attnum
      where attrelid = any (ours) and relkind <> 'v' and attnum > 0 and not attisdropped
      union all
      select conrelid, 'constraint ' || conname, pg_get_constraintdef(oid)
      from pg_catalog.pg_constraint
      where conrelid = any (ours) and contype <> 'n' -- "not null" is said of the column
      union all
      select indrelid, 'index ' || relname, concat(
        case when indisunique then 'unique ' end,
        substring(pg_get_indexdef(indexrelid) from ' USING (.*)'),
        case when not (indisvalid and indisready) then ' not valid' end
      )
      from pg_catalog.pg_index join pg_catalog.pg_class on pg_class.oid = indexrelid
      where indrelid = any (ours)
        and not exists (
          select from pg_catalog.pg_constraint where conindid = indexrelid and indisvalid
        )
      union all
      select oid, 'options', coalesce(array_to_string(reloptions, ', '), 'none')
      from pg_catalog.pg_class where oid = any (ours) and relkind = 'v'
      union all
      -- PostgreSQL 15 writes the name of the table before each column. The two numbers of the
      -- suppression list are for everybody to set.
      select oid, 'definition', encode(sha256(convert_to(
        regexp_replace(
          regexp_replace(
            replace(pg_get_viewdef(oid), 'ses_feedback_events.', ''),
            '(dpp_feedback.transient_(bounces|days)''::text, true\), ''''::text\)\)::integer, )[0-9]+',
            '\1N', 'g'
          ),
          '\s+', ' ', 'g'
        ), 'UTF8'
      )), 'hex')
      from pg_catalog.pg_class where oid = any (ours) and relkind = 'v'
    )
    select case
      when made.part is null then format(
        '%s of %s is missing: %s', part, relation,
        case when part like 'index %' then again else by_hand || ': ' || wanted.definition end
      )
      when wanted.part is null then format(
        '%s of %s is none of the migrations: drop it (%s)', part, relation, made.definition
      )
      when part = 'definition' then format(
        '%s of %s is not as the migrations make it (%s): %s', part, relation, made.definition, again
      )
      else format(
        '%s of %s is %s instead of %s: %s', part, relation, made.definition, wanted.definition,
        case
          when part like 'index %' then 'drop it, and ' || again
          when part = 'options' then again
          else by_hand
        end
      )
    end
    from wanted
    full join (select relation::regclass::text, part, definition from made) as made
      using (relation, part)
    where made.definition is distinct from wanted.definition
      and (
        wanted.part is not null or part not like 'index %'
        or made.definition ~ '^unique| not valid$'
      )
      and exists (select from unnest(ours) as present where present::regclass::text = relation)
    order by relation, part
  );

  -- Policies and grants: one list says both. A policy lets its role see or change all rows; which
  -- columns, says the grant. Whom it does not name holds nothing, by name or as PUBLIC.
  found := found || array(
    with may (role, relation, verbs, columns) as (
      values
        ('service_role', 'public.ses_feedback_events', '{select,insert}'::text[], null::text[]),
        ('service_role', 'public.ses_feedback_daily_counts', '{select,insert,update}', null),
        ('service_role', 'public.ses_feedback_daily_totals', '{select,insert,update}', null),
        ('service_role', 'public.ses_feedback_rejects', '{select,insert,update}', null),
        ('service_role', 'public.ses_feedback_dlq_actions', '{select,insert,update}', null),
        ('service_role', 'public.ses_feedback_removals', '{select}', null),
        ('service_role', 'public.ses_suppressed_hashes', '{select}', null),
        ('service_role', 'public.ses_suppressed_recipients', '{select}', null),
        ('ses_feedback_writer', 'public.ses_feedback_events', '{insert}', null),
        ('ses_feedback_writer', 'public.ses_feedback_events', '{select}', '{dedupe_key}'),
        ('ses_feedback_writer', 'public.ses_feedback_daily_counts', '{select,insert}', null),
        ('ses_feedback_writer', 'public.ses_feedback_daily_counts', '{update}', '{count}'),
        ('ses_feedback_writer', 'public.ses_feedback_daily_totals', '{select,insert}', null),
        ('ses_feedback_writer', 'public.ses_feedback_daily_totals', '{update}', '{count}'),
        ('ses_feedback_writer', 'public.ses_feedback_rejects', '{select,insert,update}', null),
        ('ses_feedback_writer', 'public.ses_feedback_dlq_actions', '{select}', '{id}'),
        (
          'ses_feedback_writer', 'public.ses_feedback_dlq_actions', '{insert}',
          '{action,actor,selection,dry_run,why,run_id,parser_version}'
        ),
        (
          'ses_feedback_writer', 'public.ses_feedback_dlq_actions', '{update}',
          '{finished_at,moved,counts,error}'
        ),
        ('ses_feedback_reader', 'public.ses_feedback_events', '{select}', '{notification_type,event_at}'),
        ('ses_feedback_reader', 'public.ses_feedback_daily_counts', '{select}', null),
        ('ses_feedback_reader', 'public.ses_feedback_daily_totals', '{select}', null),
        (
          'ses_feedback_reader', 'public.ses_feedback_rejects', '{select}', -- all but body
          '{message_id,body_sha256,body_bytes,reason,detail,kind,topic_arn,queue,sent_at,first_seen_at,last_seen_at,times_seen,parser_version,last_run_id,redriven_at,resolution,resolved_at,resolved_by,resolved_run_id,body_kept_until}'
        ),
        ('ses_feedback_reader', 'public.ses_feedback_dlq_actions', '{select}', null),
        ('ses_feedback_reader', 'public.ses_feedback_removals', '{select}', null),
        ('ses_feedback_reader', 'dpp_feedback.ses_feedback_events_masked', '{select}', null),
        ('ses_feedback_reader', 'dpp_feedback.migrations', '{select}', null),
        ('ses_feedback_maintainer', 'public.ses_feedback_events', '{select,update,delete}', null),
        ('ses_feedback_maintainer', 'public.ses_feedback_daily_counts', '{select,insert,update,delete}', null),
        ('ses_feedback_maintainer', 'public.ses_feedback_daily_totals', '{select,insert,update,delete}', null),
        ('ses_feedback_maintainer', 'public.ses_feedback_rejects', '{select,update,delete}', null),
        ('ses_feedback_maintainer', 'public.ses_feedback_dlq_actions', '{select,update,delete}', null),
        ('ses_feedback_maintainer', 'public.ses_feedback_removals', '{select,insert,update}', null),
        ('ses_feedback_maintainer', 'public.ses_suppressed_hashes', '{select,insert,delete}', null),
        ('ses_feedback_maintainer', 'public.ses_suppressed_recipients', '{select}', null)
    ),
    policy (relation, name, verb, role) as (
      select relation, relname || '_owner', 'ALL', pg_get_userbyid(relowner)
      from (select oid::regclass::text as relation, * from pg_catalog.pg_class) as named
      where oid = any (ours) and relname = any (tables)
      union all
      select
        relation,
        concat_ws('_', split_part(relation, '.', 2), replace(role, 'ses_feedback_', ''), verb),
        upper(verb), role
      from may cross join unnest(verbs) as verb
      where not (role = 'service_role' and relation like '%\_daily\_%')
        and relation <> 'dpp_feedback.migrations'
      union all
      select relation, split_part(relation, '.', 2) || '_service_role', 'ALL', role
      from may where role = 'service_role' and relation like '%\_daily\_%'
      union all
      values ('dpp_feedback.migrations', 'migrations_select', 'SELECT', 'PUBLIC')
    ),
    wanted_policy as (
      select relation, name, format(
        'permissive for %s to %s using (%s) with check (%s)', verb,
        case role when 'PUBLIC' then role else quote_ident(role) end,
        case when verb <> 'INSERT' then 'true' end,
        case when verb in ('INSERT', 'UPDATE', 'ALL') then 'true' end
      ) as definition
      from policy
      join pg_catalog.pg_class on oid = any (ours) and oid::regclass::text = relation
      where relkind <> 'v'
        and (role = 'PUBLIC' or exists (select from pg_catalog.pg_roles where rolname = role))
    ),
    made_policy as (
      select polrelid::regclass::text as relation, polname::text as name, format(
        '%s for %s to %s using (%s) with check (%s)',
        case when polpermissive then 'permissive' else 'restrictive' end,
        case polcmd
          when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE' when 'd' then 'DELETE'
          else 'ALL'
        end,
        array_to_string(array(
          select case role when 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(role)) end
          from unnest(polroles) as role order by 1
        ), ', '),
        pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
      ) as definition
      from pg_catalog.pg_policy where polrelid = any (ours)
    ),
    wanted_grant as (
      select relation, column_name, role, upper(verb) as privilege, '' as passed_on
      from may
      cross join unnest(verbs) as verb
      cross join unnest(coalesce(columns, '{null}')) as column_name
      where exists (select from pg_catalog.pg_roles where rolname = role)
        and exists (select from unnest(ours) as present where present::regclass::text = relation)
    ),
    made_grant as (
      select
        held.relation::regclass::text as relation, held.column_name,
        case grantee when 0 then 'PUBLIC' else pg_get_userbyid(grantee) end as role,
        privilege_type as privilege,
        case when is_grantable then ' with grant option' else '' end as passed_on
      from (
        select oid as relation, null::text as column_name, relowner, relacl as acl
        from pg_catalog.pg_class where oid = any (ours)
        union all
        select attrelid, attname, relowner, attacl
        from pg_catalog.pg_attribute join pg_catalog.pg_class on pg_class.oid = attrelid
        where attrelid = any (ours) and not attisdropped
      ) as held
      cross join lateral aclexplode(held.acl)
      where grantee <> held.relowner
    )
    select case
      when made.name is null then format('policy %s on %s is missing: %s', name, relation, again)
      when wanted.name is null then format(
        'policy %1$s on %2$s is none of the migrations, %3$s: drop policy %1$I on %2$s',
        name, relation, made.definition
      )
      else format(
        'policy %s on %s is not as the migrations make it, but %s: %s',
        name, relation, made.definition, again
      )
    end
    from wanted_policy as wanted full join made_policy as made using (relation, name)
    where made.definition is distinct from wanted.definition
    union all
    select case
      when made.role is null then format(
        '%s lacks %s on %s: %s', wanted.role, wanted.privilege,
        concat_ws('.', wanted.relation, wanted.column_name), again
      )
      else format(
        '%1$s holds %2$s on %3$s%4$s: revoke %2$s%5$s on %6$s from %7$s',
        made.role, made.privilege, concat_ws('.', made.relation, made.column_name), made.passed_on,
        ' (' || quote_ident(made.column_name) || ')', made.relation,
        case made.role when 'PUBLIC' then 'public' else quote_ident(made.role) end
      )
    end
    from wanted_grant as wanted full join made_grant as made
      on (made.relation, made.role, made.privilege, made.passed_on)
        = (wanted.relation, wanted.role, wanted.privilege, wanted.passed_on)
      and made.column_name is not distinct from wanted.column_name
    where made.role is null or wanted.role is null
    order by 1
  );

  -- The roles that an API of Supabase speaks as hold nothing through another role either, be it a
  -- predefined one such as pg_read_all_data, which is in no access list.
  found := found || array(
    select format(
      '%s holds %s on %s by other means than a grant to it: find them with \drg %1$s, and revoke them',
      rolname, string_agg(privilege, ', ' order by privilege), relation::regclass
    )
    from pg_catalog.pg_roles
    cross join unnest(ours) as relation
    cross join unnest(
      '{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]
    ) as privilege
    where rolname in ('anon', 'authenticated') and not rolsuper
      and (
        has_table_privilege(pg_roles.oid, relation, privilege)
        -- also as a role that it does not inherit from, but may change to
        or exists (
          select from pg_catalog.pg_class
          cross join lateral aclexplode(coalesce(relacl, acldefault('r', relowner)))
          where pg_class.oid = relation and privilege_type = privilege and grantee <> 0
            and pg_has_role(pg_roles.oid, grantee, 'MEMBER')
        )
      )
      and not exists (
        select from pg_catalog.pg_class cross join lateral aclexplode(relacl)
        where pg_class.oid = relation and privilege_type = privilege and grantee in (0, pg_roles.oid)
      )
    group by rolname, relation
    order by 1
  );

  -- Roles
  found := found || array(
    select format('role %s is missing: %s', name, again) from unnest(our_roles) as name
    where not exists (select from pg_catalog.pg_roles where rolname = name)
    union all
    select format('role %s has %s: alter role %1$I no%3$s', rolname, upper(attribute), attribute)
    from pg_catalog.pg_roles
    cross join lateral (
      values
        ('login', rolcanlogin and rolname = any (our_roles)), ('superuser', rolsuper),
        ('bypassrls', rolbypassrls), ('createrole', rolcreaterole), ('createdb', rolcreatedb),
        ('replication', rolreplication)
    ) as property (attribute, present)
    where present and rolname = any (our_roles || '{anon,authenticated,authenticator}'::text[])
    union all
    select format('%s may act as %s: revoke %2$I from %1$I', member.rolname, role.rolname)
    from pg_catalog.pg_auth_members
    join pg_catalog.pg_roles as role on role.oid = roleid
    join pg_catalog.pg_roles as member on member.oid = pg_auth_members.member
    where member.rolname = any (our_roles)
      or (
        role.rolname = any (our_roles)
        and member.rolname in ('anon', 'authenticated', 'authenticator')
      )
    union all
    -- Through whatever roles: such a one needs no grant.
    select format(
      '%1$s may act as %2$s, whom nothing here binds: find out how with \drg %1$s, and revoke that',
      member.rolname, role.rolname
    )
    from pg_catalog.pg_roles as member cross join pg_catalog.pg_roles as role
    where member.rolname in ('anon', 'authenticated', 'authenticator') and not member.rolsuper
      and pg_has_role(member.oid, role.oid, 'MEMBER')
      and (
        role.rolsuper
        or role.rolname in (
          'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'
        )
        or role.oid <> member.oid and exists (
          select from pg_catalog.pg_class where pg_class.oid = any (ours) and relowner = role.oid
        )
      )
    order by 1
  );

  -- Schemas: only a reader looks into dpp_feedback, and no API serves it.
  found := found || array(
    select format(
      '%s holds %s on schema dpp_feedback: revoke %2$s on schema dpp_feedback from %s',
      holder, privilege_type, case grantee when 0 then 'public' else quote_ident(holder) end
    )
    from pg_catalog.pg_namespace
    cross join lateral aclexplode(nspacl)
    cross join lateral (
      select case grantee when 0 then 'PUBLIC' else pg_get_userbyid(grantee) end as holder
    ) as named
    where nspname = 'dpp_feedback' and grantee <> nspowner
      and (holder, privilege_type) <> ('ses_feedback_reader', 'USAGE')
    union all
    select format('%s lacks USAGE on schema public: %s', rolname, again)
    from pg_catalog.pg_roles
    where rolname = any (our_roles) and to_regnamespace('public') is not null
      and not has_schema_privilege(oid, 'public', 'USAGE')
    union all
    select format('ses_feedback_reader lacks USAGE on schema dpp_feedback: %s', again)
    from pg_catalog.pg_namespace
    where nspname = 'dpp_feedback' and not exists (
      select from aclexplode(nspacl)
      where pg_get_userbyid(grantee) = 'ses_feedback_reader' and privilege_type = 'USAGE'
    )
    union all
    select format(
      'schema %1$s belongs to %2$s, whom it is to shut out: '
        'alter schema %1$s owner to whoever migrates',
      nspname, pg_get_userbyid(nspowner)
    )
    from pg_catalog.pg_namespace
    where nspname in ('dpp_feedback', 'public')
      and pg_get_userbyid(nspowner) = any (
        our_roles || '{anon,authenticated,authenticator,service_role}'::text[]
      )
    union all
    select format(
      '%s.%s is none of the migrations: move it to another schema, or drop it', nspname, relname
    )
    from pg_catalog.pg_class join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
    where nspname = 'dpp_feedback' and relkind not in ('i', 'I') and pg_class.oid <> all (ours)
    union all
    select format(
      'function %s is none of the migrations: move it to another schema, or drop it',
      pg_proc.oid::regprocedure
    )
    from pg_catalog.pg_proc join pg_catalog.pg_namespace on pg_namespace.oid = pronamespace
    where nspname = 'dpp_feedback' and proname <> 'enable_row_level_security'
    union all
    select format(
      'default privileges of %1$s give %2$s what it creates in dpp_feedback: '
        'alter default privileges for role %1$I in schema dpp_feedback revoke all on %3$s from %4$s',
      pg_get_userbyid(defaclrole), holder,
      case defaclobjtype
        when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types' else 'tables'
      end,
      case grantee when 0 then 'public' else quote_ident(holder) end
    )
    from pg_catalog.pg_default_acl
    join pg_catalog.pg_namespace on pg_namespace.oid = defaclnamespace
    cross join lateral aclexplode(defaclacl)
    cross join lateral (
      select case grantee when 0 then 'PUBLIC' else pg_get_userbyid(grantee) end as holder
    ) as named
    where nspname = 'dpp_feedback' and grantee <> defaclrole
    union all
    select format(
      'the API serves schema dpp_feedback, as %s says: take it out of pgrst.db_schemas',
      coalesce('role ' || pg_get_userbyid(nullif(setrole, 0)), 'the database')
    )
    from pg_catalog.pg_db_role_setting cross join unnest(setconfig) as setting
    where setting ~ '^pgrst.db.schemas?=(.*[ ,"])?dpp_feedback\y'
      and setdatabase in (
        0, (select oid from pg_catalog.pg_database where datname = current_database())
      )
    order by 1
  );

  -- A function or an operator that is made there, of just the types that a statement names, takes
  -- the place of PostgreSQL's own in sessions of others, and runs with their rights (CVE-2018-1058).
  found := found || array(
    select format(
      '%s may create in %s what then runs in sessions of others: revoke create on %2$s from %s',
      holder, place, case grantee when 0 then 'public' else quote_ident(holder) end
    )
    from (
      select 'schema public' as place, nspacl as acl from pg_catalog.pg_namespace
      where nspname = 'public'
      union all
      -- A schema that has the name of a login comes before public in the path of that login.
      select format('database %I', datname), datacl from pg_catalog.pg_database
      where datname = current_database()
    ) as granted
    cross join lateral aclexplode(acl)
    cross join lateral (
      select case grantee when 0 then 'PUBLIC' else pg_get_userbyid(grantee) end as holder
    ) as named
    where privilege_type = 'CREATE'
      and holder = any (our_roles || '{PUBLIC,anon,authenticated,authenticator}'::text[])
    union all
    select format(
      'database %1$I belongs to %2$s, whom it is to shut out: '
        'alter database %1$I owner to whoever migrates',
      datname, pg_get_userbyid(datdba)
    )
    from pg_catalog.pg_database
    where datname = current_database()
      and pg_get_userbyid(datdba) = any (
        our_roles || '{anon,authenticated,authenticator,service_role}'::text[]
      )
    order by 1
  );

  -- Ways around: what shows, sends or changes our rows and is none of the migrations
  found := found || array(
    with recursive reading (relation) as (
      select unnest(ours)
      union
      select ev_class
      from reading
      join pg_catalog.pg_depend on refclassid = 'pg_class'::regclass and refobjid = relation
        and classid = 'pg_rewrite'::regclass
      join pg_catalog.pg_rewrite on pg_rewrite.oid = objid
    ),
    outsider (oid, name) as (
      select 0::oid, 'PUBLIC'
      union all
      select oid, rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated')
    )
    select format(
      '%s reads %s, which shows our rows with the rights of its owner: revoke all on %2$s from %3$s',
      name, relation::regclass, lower(name)
    )
    from reading
    join pg_catalog.pg_class on pg_class.oid = relation
    join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
    cross join outsider
    where relation <> all (ours)
      and not exists (
        select from pg_options_to_table(reloptions)
        where option_name = 'security_invoker' and option_value::boolean
      )
      and case outsider.oid
        when 0 then exists (
          select from aclexplode(relacl) where grantee = 0
          union all
          select from pg_catalog.pg_attribute cross join lateral aclexplode(attacl)
          where attrelid = relation and grantee = 0
        )
        else has_schema_privilege(outsider.oid, relnamespace, 'USAGE')
          and (
            has_table_privilege(outsider.oid, relation, 'SELECT, INSERT, UPDATE, DELETE')
            or has_any_column_privilege(outsider.oid, relation, 'SELECT, INSERT, UPDATE')
          )
      end
    union all
    -- Statements that a function puts together are seen only if a name of ours stands in its text.
    select format(
      '%s may call %s, which is security definer and names a table of ours: '
        'revoke execute on function %2$s from %3$s',
      name, pg_proc.oid::regprocedure, lower(name)
    )
    from pg_catalog.pg_proc
    join pg_catalog.pg_namespace on pg_namespace.oid = pronamespace
    cross join outsider
    where prosecdef
      and (
        prosrc ~* 'ses_(feedback|suppressed)_'
        or exists (
          select from pg_catalog.pg_depend
          where classid = 'pg_proc'::regclass and objid = pg_proc.oid
            and refclassid = 'pg_class'::regclass and refobjid in (select relation from reading)
        )
      )
      and case outsider.oid
        when 0 then exists (
          select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0
        )
        else has_schema_privilege(outsider.oid, pronamespace, 'USAGE')
          and has_function_privilege(outsider.oid, pg_proc.oid, 'EXECUTE')
      end
    union all
    select format(
      'publication %s sends %s to whoever subscribes: %s', pubname, relation::regclass,
      case
        when puballtables then 'name its tables in place of "for all tables"'
        when exists (
          select from pg_catalog.pg_publication_rel
          where prpubid = pg_publication.oid and prrelid = relation
        ) then format('alter publication %I drop table %s', pubname, relation::regclass)
        else 'name its tables in place of their schema'
      end
    )
    from pg_catalog.pg_publication
    join pg_catalog.pg_publication_tables using (pubname)
    join unnest(ours) as relation
      on relation::regclass::text = format('%I.%I', schemaname, tablename)
    union all
    select format(
      'trigger %I on %s is none of the migrations: drop trigger %1$I on %2$s',
      tgname, tgrelid::regclass
    )
    from pg_catalog.pg_trigger where tgrelid = any (ours) and not tgisinternal
    union all
    select format(
      'rule %I on %s is none of the migrations: drop rule %1$I on %2$s', rulename, ev_class::regclass
    )
    from pg_catalog.pg_rewrite where ev_class = any (ours) and rulename <> '_RETURN'
    union all
    select format(
      '%s inherits from %s, through which its rows are seen and changed: '
        'alter table %1$s no inherit %2$s',
      inhrelid::regclass, inhparent::regclass
    )
    from pg_catalog.pg_inherits
    where (inhrelid = any (ours) or inhparent = any (ours))
      and exists (select from pg_catalog.pg_class where oid = inhrelid and relkind not in ('i', 'I'))
    union all
    select format(
      'constraint %I of %s refers to %s, whose rows it keeps from being removed: '
        'alter table %2$s drop constraint %1$I',
      conname, conrelid::regclass, confrelid::regclass
    )
    from pg_catalog.pg_constraint where contype = 'f' and confrelid = any (ours)
    order by 1
  );

  -- The guard
  if not exists (select from pg_catalog.pg_event_trigger where evtname = guard_name) then
    found := found || format('guard: event trigger %s is missing: %s', guard_name, again);
  end if;
  found := found || array(
    select format('guard: %s: %s', problem, again)
    from pg_catalog.pg_event_trigger as guard
    join pg_catalog.pg_proc as function on function.oid = guard.evtfoid
    join pg_catalog.pg_language as language on language.oid = function.prolang
    join pg_catalog.pg_namespace as place on place.oid = function.pronamespace
    cross join lateral (
      values
        (guard.evtenabled not in ('O', 'A'), 'it is disabled'),
        (guard.evtenabled = 'O', 'it sleeps in sessions with session_replication_role = replica'),
        (
          -- PostgreSQL 17 and newer
          current_setting('event_triggers', true) = 'off'
          or exists (
            select from pg_catalog.pg_db_role_setting cross join unnest(setconfig) as setting
            where setting ~* '^event_triggers=(off|false|no|0)$'
          ),
          'it is put to sleep by the setting event_triggers'
        ),
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
          (place.nspname, function.proname) <> ('dpp_feedback', 'enable_row_level_security'),
          'it calls another function'
        ),
        (function.prosecdef, 'its function is security definer'),
        (
          function.proconfig is distinct from array['search_path=""'],
          'its function has another search_path'
        ),
        (
          -- of the text between the two $guard$ in 20261201, whatever its line ends
          language.lanname <> 'plpgsql'
          or encode(sha256(convert_to(replace(function.prosrc, E'\r', ''), 'UTF8')), 'hex')
            <> '626937a3d6a0023bfda694758bd24e724014c5074f96863698dedc0f352f4c34',
          'its function is not the one of the migrations'
        ),
        (
          function.proowner <> guard.evtowner
          and not exists (
            select from pg_catalog.pg_roles where oid = function.proowner and rolsuper
          ),
          'its function belongs to a role that could put other code into everybody''s sessions'
        ),
        (
          exists (
            select from aclexplode(coalesce(function.proacl, acldefault('f', function.proowner)))
            where grantee <> function.proowner
          ),
          'its function is granted to somebody'
        )
    ) as test (wrong, problem)
    where guard.evtname = guard_name and wrong
    union all
    select format(
      'table %1$s has no row level security: alter table %1$s enable row level security',
      oid::regclass
    )
    from pg_catalog.pg_class
    where relnamespace = to_regnamespace('public') and relkind in ('r', 'p')
      and not relrowsecurity and oid <> all (ours)
    order by 1
  );

  if cardinality(found) > 0 then
    raise exception E'the tables of SES feedback are not safe:\n%',
      '- ' || array_to_string(found, E'\n- ')
      using hint = 'Correct each line, then verify again.';
  end if;
  perform set_config('search_path', session_path, true);
end
$$;

select 'the tables of SES feedback are as the migrations make them' as verdict;
