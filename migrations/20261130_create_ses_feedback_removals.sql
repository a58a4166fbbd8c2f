-- What is removed: the record of retention and erasure, and the keyed hashes of addresses that were
-- erased and stay suppressed. `dpp-feedback retention` and `dpp-feedback erase` write both.
--
-- Run it with `dpp-feedback migrate`, psql, or Supabase's SQL editor, after
-- 20261129_create_ses_feedback_roles.sql. Running it again restores grants, policies and view, and
-- nothing else.

create table if not exists public.ses_feedback_removals (
  -- A version 7 UUID, as in 20260217.
  id uuid not null default encode(
    set_bit(
      set_bit(
        overlay(
          uuid_send(gen_random_uuid())
          placing substring(
            int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3
          )
          from 1 for 6
        ),
        52, 1
      ),
      53, 1
    ),
    'hex'
  )::uuid,
  kind text not null,
  actor text not null,
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  events_before timestamptz,
  counts jsonb,
  run_id text,
  error text,
  database_user text not null default session_user,
  constraint ses_feedback_removals_pkey primary key (id),
  constraint ses_feedback_removals_kind_check check (kind in ('retention', 'erasure')),
  constraint ses_feedback_removals_events_before_check
    check ((events_before is null) = (kind = 'erasure')),
  -- Days are counted by UTC, so no day may be removed in part.
  constraint ses_feedback_removals_whole_days_check
    check (
      events_before at time zone 'UTC' = date_trunc('day', events_before at time zone 'UTC')
    ),
  constraint ses_feedback_removals_counts_check check (jsonb_typeof(counts) = 'object')
);

-- The floor: days before it are not recounted, for their events are gone and their counts are not.
create index if not exists ses_feedback_removals_floor_idx
  on public.ses_feedback_removals (events_before) where kind = 'retention';

create table if not exists public.ses_suppressed_hashes (
  recipient_hmac bytea not null,
  reason text not null,
  since timestamptz not null,
  kept_at timestamptz not null default now(),
  constraint ses_suppressed_hashes_pkey primary key (recipient_hmac),
  constraint ses_suppressed_hashes_recipient_hmac_check check (octet_length(recipient_hmac) = 32),
  constraint ses_suppressed_hashes_reason_check check (
    reason in ('complaint', 'unsubscribed', 'permanent_bounce', 'global_list', 'transient_bounces')
  )
);

-- As in 20260217 and 20261129: closed to all, then opened for what each role needs. One block, so
-- that nobody meets a table between two policies.
do $$
declare
  allowed record;
  ours name;
  outsider text;
  owner name;
  policy name;
  verb text;
begin
  foreach ours in array array['ses_feedback_removals', 'ses_suppressed_hashes'] loop
    select pg_get_userbyid(relowner) into owner
    from pg_catalog.pg_class where oid = format('public.%I', ours)::regclass;

    execute format('alter table public.%I enable row level security', ours);
    execute format('alter table public.%I force row level security', ours);
    for outsider in
      select 'public'
      union all
      select quote_ident(rolname) from pg_catalog.pg_roles
      where rolname in (
        'anon', 'authenticated', 'service_role',
        'ses_feedback_writer', 'ses_feedback_reader', 'ses_feedback_maintainer'
      )
    loop
      execute format('revoke all on table public.%I from %s', ours, outsider);
    end loop;
    execute format('drop policy if exists %I on public.%I', ours || '_owner', ours);
    execute format(
      'create policy %I on public.%I for all to %I using (true) with check (true)',
      ours || '_owner', ours, owner
    );
  end loop;

  for allowed in
    select * from (
      values
        -- Who removed what stays: no role deletes from the record.
        ('ses_feedback_maintainer', 'ses_feedback_removals', array['select', 'insert', 'update']),
        ('ses_feedback_reader', 'ses_feedback_removals', array['select']),
        ('service_role', 'ses_feedback_removals', array['select']),
        ('ses_feedback_maintainer', 'ses_suppressed_hashes', array['select', 'insert', 'delete']),
        ('service_role', 'ses_suppressed_hashes', array['select'])
    ) as matrix (role, relation, verbs)
  loop
    foreach verb in array allowed.verbs loop
      policy := allowed.relation || '_' || replace(allowed.role, 'ses_feedback_', '') || '_' || verb;
      execute format('drop policy if exists %I on public.%I', policy, allowed.relation);
      if exists (select from pg_catalog.pg_roles where rolname = allowed.role) then
        execute format('grant %s on table public.%I to %I', verb, allowed.relation, allowed.role);
        execute format(
          'create policy %I on public.%I for %s to %I %s',
          policy, allowed.relation, verb, allowed.role,
          case verb
            when 'insert' then 'with check (true)'
            when 'update' then 'using (true) with check (true)'
            else 'using (true)'
          end
        );
      end if;
    end loop;
  end loop;
end
$$;

-- The view of 20261126 without the rows of people who were erased: of their addresses only the
-- domain is left, as in @example.com. And of two mails at one moment it always names the same as the
-- last. Nothing else of it is changed, and its grants stay.
create or replace view public.ses_suppressed_recipients with (security_invoker = true) as
with
  faults as not materialized ( -- named once, read for one recipient at a time
    select
      primary_recipient as recipient,
      case
        when notification_type = 'Complaint' then 'complaint'
        when bounce_sub_type = 'UnsubscribedRecipient' then 'unsubscribed'
        when bounce_sub_type = 'Suppressed' then 'global_list'
        when bounce_type = 'Permanent' then 'permanent_bounce'
        else 'transient_bounces'
      end as reason,
      notification_type as kind,
      coalesce(
        case
          when notification_type = 'Complaint' then type_data ->> 'complaint_feedback_type'
          else bounce_sub_type
        end,
        ''
      ) as sub_type,
      event_at,
      ses_message_id
    from public.ses_feedback_events
    where notification_type in ('Bounce', 'Complaint')
      and primary_recipient is not null
      and primary_recipient not like '%@simulator.amazonses.com'
      and primary_recipient not like '@%' -- erased: nobody can be mailed there
      and case
        when notification_type = 'Complaint' then
          coalesce(type_data ->> 'complaint_sub_type', '') <> 'OnAccountSuppressionList'
          and coalesce(type_data ->> 'complaint_feedback_type', '') <> 'not-spam'
        when bounce_sub_type = 'OnAccountSuppressionList' then false
        when bounce_type = 'Permanent' then true
        when bounce_type = 'Transient' then
          coalesce(bounce_sub_type, '')
            not in ('MessageTooLarge', 'ContentRejected', 'AttachmentRejected')
          and (
            bounce_sub_type is distinct from 'General'
            or type_data ?| array['status', 'action', 'diagnostic_code']
          )
        else false
      end
  )
select
  candidate.recipient,
  verdict.reason,
  verdict.since,
  verdict.last_event_at,
  verdict.events,
  verdict.evidence,
  verdict.expires_at
from (select recipient from faults group by recipient) as candidate
cross join (
  select
    greatest(coalesce(
      nullif(current_setting('dpp_feedback.transient_bounces', true), '')::integer, 5
    ), 1) as bounces,
    make_interval(days => greatest(coalesce(
      nullif(current_setting('dpp_feedback.transient_days', true), '')::integer, 14
    ), 1)) as days
) as enough
left join lateral ( -- the last delivery; from the newest on, so that few are read
  select delivery.event_at
  from public.ses_feedback_events as delivery
  where delivery.primary_recipient = candidate.recipient
    and delivery.notification_type = 'Delivery'
    and delivery.event_at <= now()
    and not exists (
      select from faults
      where faults.recipient = candidate.recipient
        and faults.ses_message_id = delivery.ses_message_id
        and faults.kind = 'Bounce'
    )
  order by delivery.event_at desc
  limit 1
) as delivered on true
cross join lateral (
  select
    (array_agg(standing.reason order by standing.strength))[1] as reason,
    (array_agg(standing.since order by standing.strength))[1] as since,
    max(standing.last_event_at) as last_event_at,
    sum(standing.events)::bigint as events,
    jsonb_agg(standing.evidence order by standing.strength) as evidence,
    case when bool_and(standing.expires_at is not null) then max(standing.expires_at) end
      as expires_at
  from (
    select
      grouped.*,
      jsonb_build_object(
        'reason', grouped.reason,
        'kind', grouped.kind,
        'sub_types', grouped.sub_types,
        'events', grouped.events,
        'first_at', grouped.since,
        'last_at', grouped.last_event_at,
        'last_ses_message_id', grouped.last_ses_message_id
      ) as evidence,
      array_position(
        array['complaint', 'unsubscribed', 'permanent_bounce', 'global_list', 'transient_bounces'],
        grouped.reason
      ) as strength,
      case grouped.reason
        when 'global_list' then grouped.last_event_at + interval '14 days'
        when 'transient_bounces' then grouped.last_event_at + enough.days
      end as expires_at
    from (
      select
        counted.reason,
        min(counted.kind) as kind,
        array_agg(distinct counted.sub_type order by counted.sub_type) as sub_types,
        count(*) as events,
        min(counted.event_at) as since,
        max(counted.event_at) as last_event_at,
        (array_agg(counted.ses_message_id order by counted.event_at desc, counted.ses_message_id))[1]
          as last_ses_message_id,
        bool_or(counted.nth_before >= counted.event_at - enough.days) as enough_in_time
      from (
        select
          faults.*,
          lag(faults.event_at, enough.bounces - 1)
            over (partition by faults.reason order by faults.event_at) as nth_before
        from faults
        where faults.recipient = candidate.recipient
          and case
            when delivered.event_at is null then true
            when faults.reason in ('complaint', 'unsubscribed') then true
            when faults.reason = 'transient_bounces' then faults.event_at > delivered.event_at
            else faults.event_at > delivered.event_at - interval '1 day'
          end
      ) as counted
      group by counted.reason
    ) as grouped
    where grouped.reason <> 'transient_bounces' or grouped.enough_in_time
  ) as standing
  where standing.expires_at is null or standing.expires_at > now()
) as verdict
where verdict.reason is not null;

comment on table public.ses_feedback_removals is
  'Who removed what: one row for each run of retention and each erasure, written before it begins. Names no person who was erased.';
comment on column public.ses_feedback_removals.id is
  'UUID version 7: grows with the time of the removal.';
comment on column public.ses_feedback_removals.kind is
  'retention: what is older than its time; erasure: one person.';
comment on column public.ses_feedback_removals.actor is
  'Who: an ARN of AWS, or user@host, or the job.';
comment on column public.ses_feedback_removals.started_at is
  'When it began.';
comment on column public.ses_feedback_removals.finished_at is
  'When it ended; null: it is under way, or its process died. The same command again completes it.';
comment on column public.ses_feedback_removals.events_before is
  'Of a retention: events that happened before are removed, a UTC day''s beginning. Days before the latest one are not recounted.';
comment on column public.ses_feedback_removals.counts is
  'How many rows, by what became of them.';
comment on column public.ses_feedback_removals.run_id is
  'Dagster run, if one did it.';
comment on column public.ses_feedback_removals.error is
  'Why it ended early, or what is left; null when it did not.';
comment on column public.ses_feedback_removals.database_user is
  'Login of the database that wrote the row.';

comment on table public.ses_suppressed_hashes is
  'Addresses that were erased and must not be mailed: a keyed hash of each, which nobody without the key can look for. docs/suppression.md says how to ask it.';
comment on column public.ses_suppressed_hashes.recipient_hmac is
  'HMAC-SHA256 of the address in lower case (UTF-8), with SES_FEEDBACK_ERASURE_KEY (UTF-8).';
comment on column public.ses_suppressed_hashes.reason is
  'Why the address was suppressed when it was erased, as in ses_suppressed_recipients.';
comment on column public.ses_suppressed_hashes.since is
  'When the first event of this reason happened.';
comment on column public.ses_suppressed_hashes.kept_at is
  'When the address was erased.';
