-- Roles, so that no login needs more than its task does, and a view of the events with masked
-- addresses. A login becomes a member of those it needs; docs/runbook.md, step 3, says how.
--
--   ses_feedback_writer      stores: what a drain and work on the dead-letter queue need. Of the
--                            events it reads no column but dedupe_key, and so no address.
--   ses_feedback_reader      reports: counters, rejects without bodies, acts, masked events.
--   ses_feedback_maintainer  recounts, makes the suppression list, removes what is to go: reads all.
--
-- Run it with `dpp-feedback migrate`, psql, or Supabase's SQL editor, after
-- 20261127_create_ses_feedback_rejects.sql. Running it again restores grants, policies and view, and
-- nothing else. Roles belong to the whole server: those that are there already stay as they are.

do $$
declare
  wanted record;
begin
  for wanted in
    select * from (
      values
        ('ses_feedback_writer', 'dpp_feedback: stores SES feedback; reads no address of an event.'),
        ('ses_feedback_reader', 'dpp_feedback: reads what reports need; sees masked addresses alone.'),
        (
          'ses_feedback_maintainer',
          'dpp_feedback: recounts, makes the suppression list and removes; reads addresses.'
        )
    ) as role (name, purpose)
    where not exists (select from pg_catalog.pg_roles where rolname = role.name)
    order by role.name -- so that two sessions never wait for each other in a circle
  loop
    begin
      execute format('create role %I nologin', wanted.name);
      execute format('comment on role %I is %L', wanted.name, wanted.purpose);
    exception
      -- A session in another database of this server was faster.
      when duplicate_object or unique_violation then null;
      when insufficient_privilege then
        raise exception 'the login % may not create the role %', current_user, wanted.name
          using
            errcode = 'insufficient_privilege',
            hint = 'Let a superuser, or a login with CREATEROLE (on Supabase: postgres), run `create role ses_feedback_writer nologin; create role ses_feedback_reader nologin; create role ses_feedback_maintainer nologin`; then go on with this login.';
    end;
  end loop;
end
$$;

-- The events as a reader may see them. The columns are a list of what is allowed: no free text of
-- other mail servers, no type_data, and no key that could be recomputed from an address. Functions
-- are named with their schema, so that none of public can take their place.
create or replace view dpp_feedback.ses_feedback_events_masked with (security_barrier = true) as
select
  id,
  notification_type,
  ses_message_id,
  case
    when pg_catalog.strpos(source, '@') > 0 then pg_catalog.concat(
      substring(source from '^[[:alnum:]]'), '***@', pg_catalog.split_part(source, '@', -1)
    )
    when source <> '' then '***'
  end as source,
  case
    when pg_catalog.strpos(primary_recipient, '@') > 0 then pg_catalog.concat(
      substring(primary_recipient from '^[[:alnum:]]'), '***@',
      pg_catalog.split_part(primary_recipient, '@', -1)
    )
    when primary_recipient <> '' then '***'
  end as primary_recipient,
  bounce_type,
  bounce_sub_type,
  configuration_set,
  event_at,
  received_at
from public.ses_feedback_events;

comment on view dpp_feedback.ses_feedback_events_masked is
  'The events with masked addresses (j***@example.com). It reads the events with the rights of its owner, not of whoever asks (security_invoker is off on purpose): a reader with the right to read the events would not need it masked. So it is in a schema that no API serves, is a security barrier, and nobody but ses_feedback_reader may read it.';
comment on column dpp_feedback.ses_feedback_events_masked.source is
  'Sending address: first letter or digit, ***, and what stands after the last @.';
comment on column dpp_feedback.ses_feedback_events_masked.primary_recipient is
  'Recipient: first letter or digit, ***, and what stands after the last @.';

-- One block, so that nobody meets a table between two policies.
do $$
declare
  allowed record;
  object regclass;
  outsider text;
  owner name := (
    select pg_get_userbyid(relowner) from pg_catalog.pg_class
    where oid = 'public.ses_feedback_events'::regclass
  );
  policy name;
  verb text;
begin
  -- The view reads with its owner's rights: these shall be the tables' owner's.
  execute format('alter view dpp_feedback.ses_feedback_events_masked owner to %I', owner);

  -- Nothing for the API's roles, and for ours only what follows, whatever the server's default
  -- privileges give away on new objects.
  for outsider in
    select 'public'
    union all
    select quote_ident(rolname) from pg_catalog.pg_roles
    where rolname in (
      'anon', 'authenticated', 'service_role',
      'ses_feedback_writer', 'ses_feedback_reader', 'ses_feedback_maintainer'
    )
  loop
    execute format('revoke all on schema dpp_feedback from %s', outsider);
    for object in
      select oid from pg_catalog.pg_class
      where oid in (
        to_regclass('dpp_feedback.ses_feedback_events_masked'),
        to_regclass('dpp_feedback.migrations'), -- who migrates with psql alone has none
        to_regclass('public.ses_feedback_events'),
        to_regclass('public.ses_feedback_daily_counts'),
        to_regclass('public.ses_feedback_daily_totals'),
        to_regclass('public.ses_feedback_rejects'),
        to_regclass('public.ses_feedback_dlq_actions'),
        to_regclass('public.ses_suppressed_recipients')
      )
      -- The files before this one say what service_role holds in public.
      and (outsider <> 'service_role' or relnamespace = to_regnamespace('dpp_feedback'))
    loop
      execute format('revoke all on table %s from %s', object, outsider);
    end loop;
  end loop;

  -- Policies let a role see or change all rows or none; which columns, say the grants.
  for allowed in
    select * from (
      values
        -- `on conflict (dedupe_key)` and `returning dedupe_key` read that column.
        ('ses_feedback_writer', 'ses_feedback_events', array['insert'], ''),
        ('ses_feedback_writer', 'ses_feedback_events', array['select'], '(dedupe_key)'),
        ('ses_feedback_writer', 'ses_feedback_daily_counts', array['select', 'insert'], ''),
        ('ses_feedback_writer', 'ses_feedback_daily_counts', array['update'], '(count)'),
        ('ses_feedback_writer', 'ses_feedback_daily_totals', array['select', 'insert'], ''),
        ('ses_feedback_writer', 'ses_feedback_daily_totals', array['update'], '(count)'),
        ('ses_feedback_writer', 'ses_feedback_rejects', array['select', 'insert', 'update'], ''),
        -- It says how an act ended; who did what, and with which login, stays as it was written.
        ('ses_feedback_writer', 'ses_feedback_dlq_actions', array['select'], '(id)'),
        (
          'ses_feedback_writer', 'ses_feedback_dlq_actions', array['insert'],
          '(action, actor, selection, dry_run, why, run_id, parser_version)'
        ),
        (
          'ses_feedback_writer', 'ses_feedback_dlq_actions', array['update'],
          '(finished_at, moved, counts, error)'
        ),
        -- The checks ask when the first event was, and how many there were of each kind.
        ('ses_feedback_reader', 'ses_feedback_events', array['select'], '(notification_type, event_at)'),
        ('ses_feedback_reader', 'ses_feedback_daily_counts', array['select'], ''),
        ('ses_feedback_reader', 'ses_feedback_daily_totals', array['select'], ''),
        (
          'ses_feedback_reader', 'ses_feedback_rejects', array['select'], -- all but body
          '(message_id, body_sha256, body_bytes, reason, detail, kind, topic_arn, queue, sent_at, first_seen_at, last_seen_at, times_seen, parser_version, last_run_id, redriven_at, resolution, resolved_at, resolved_by, resolved_run_id, body_kept_until)'
        ),
        ('ses_feedback_reader', 'ses_feedback_dlq_actions', array['select'], ''),
        -- Erasure takes a person out of rows that must go on counting, so it updates; and out of a
        -- counter's source, so it deletes there.
        ('ses_feedback_maintainer', 'ses_feedback_events', array['select', 'update', 'delete'], ''),
        ('ses_feedback_maintainer', 'ses_feedback_daily_counts', array['select', 'insert', 'update', 'delete'], ''),
        ('ses_feedback_maintainer', 'ses_feedback_daily_totals', array['select', 'insert', 'update', 'delete'], ''),
        ('ses_feedback_maintainer', 'ses_feedback_rejects', array['select', 'update', 'delete'], ''),
        ('ses_feedback_maintainer', 'ses_feedback_dlq_actions', array['select', 'update', 'delete'], '')
    ) as matrix (role, relation, verbs, columns)
  loop
    foreach verb in array allowed.verbs loop
      policy := allowed.relation || replace(allowed.role, 'ses_feedback', '') || '_' || verb;
      execute format(
        'grant %s %s on table public.%I to %I',
        verb, allowed.columns, allowed.relation, allowed.role
      );
      execute format('drop policy if exists %I on public.%I', policy, allowed.relation);
      execute format(
        'create policy %I on public.%I for %s to %I %s',
        policy, allowed.relation, verb, allowed.role,
        case verb
          when 'insert' then 'with check (true)'
          when 'update' then 'using (true) with check (true)'
          else 'using (true)'
        end
      );
    end loop;
    -- Hardened databases take from PUBLIC what it holds on schema public.
    if not has_schema_privilege(allowed.role, 'public', 'usage') then
      execute format('grant usage on schema public to %I', allowed.role);
    end if;
  end loop;

  grant select on table public.ses_suppressed_recipients to ses_feedback_maintainer;
  grant usage on schema dpp_feedback to ses_feedback_reader;
  grant select on table dpp_feedback.ses_feedback_events_masked to ses_feedback_reader;
  -- For `dpp-feedback doctor`, which says what is not applied.
  if to_regclass('dpp_feedback.migrations') is not null then
    grant select on table dpp_feedback.migrations to ses_feedback_reader;
  end if;
end
$$;
