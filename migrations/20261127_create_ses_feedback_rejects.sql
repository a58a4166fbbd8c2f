-- What could not be stored, and what people did about it: one row for each message that a run
-- rejected, and one for each act on the dead-letter queue. Message bodies stay in SQS.
--
-- Run it with `dpp-feedback migrate`, psql, or Supabase's SQL editor, after
-- 20260220_fix_ses_feedback_events_rls_and_guard.sql. Running it again restores grants and policies
-- and nothing else.

create table if not exists public.ses_feedback_rejects (
  -- "C" compares bytes, as the statements' order does.
  message_id text collate "C" not null,
  body_sha256 text collate "C" not null,
  body_bytes integer not null,
  reason text not null,
  detail text not null,
  kind text,
  topic_arn text,
  queue text not null,
  sent_at timestamptz not null,
  first_seen_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  times_seen integer not null default 1,
  parser_version integer not null,
  last_run_id text,
  redriven_at timestamptz,
  resolution text not null default 'waiting',
  resolved_at timestamptz,
  resolved_by text,
  resolved_run_id text,
  body bytea,
  body_kept_until timestamptz,
  constraint ses_feedback_rejects_pkey primary key (message_id),
  constraint ses_feedback_rejects_body_sha256_check check (body_sha256 ~ '^[0-9a-f]{64}$'),
  constraint ses_feedback_rejects_detail_check check (length(detail) <= 500),
  constraint ses_feedback_rejects_resolution_check
    check (resolution in ('waiting', 'reprocessed', 'discarded', 'expired')),
  constraint ses_feedback_rejects_resolved_at_check
    check ((resolved_at is null) = (resolution = 'waiting')),
  constraint ses_feedback_rejects_body_check check ((body is null) = (body_kept_until is null))
);

-- What waits, the oldest first: those that SQS will delete next.
create index if not exists ses_feedback_rejects_waiting_idx
  on public.ses_feedback_rejects (sent_at) where resolution = 'waiting';
-- A redriven message comes back under a new id, and is known again by its body.
create index if not exists ses_feedback_rejects_redriven_idx
  on public.ses_feedback_rejects (body_sha256)
  where resolution = 'waiting' and redriven_at is not null;
-- The few bodies that are kept, by when they are to go.
create index if not exists ses_feedback_rejects_body_idx
  on public.ses_feedback_rejects (body_kept_until) where body is not null;

create table if not exists public.ses_feedback_dlq_actions (
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
  action text not null,
  actor text not null,
  selection jsonb not null,
  dry_run boolean not null,
  why text,
  run_id text,
  parser_version integer not null,
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  moved integer,
  counts jsonb,
  error text,
  database_user text not null default session_user,
  constraint ses_feedback_dlq_actions_pkey primary key (id),
  constraint ses_feedback_dlq_actions_action_check
    check (action in ('reprocess', 'redrive', 'cancel_redrive', 'discard')),
  constraint ses_feedback_dlq_actions_selection_check check (jsonb_typeof(selection) = 'object'),
  constraint ses_feedback_dlq_actions_counts_check check (jsonb_typeof(counts) = 'object')
);

-- As in 20260217 and 20260220: closed to all but the owner, and to service_role what it needs.
-- Nobody but the owner deletes: what happened stays.
do $$
declare
  ours name;
  outsider name;
  owner name;
  verb text;
begin
  foreach ours in array array['ses_feedback_rejects', 'ses_feedback_dlq_actions'] loop
    select pg_get_userbyid(relowner) into owner
    from pg_catalog.pg_class where oid = format('public.%I', ours)::regclass;

    execute format('alter table public.%I enable row level security', ours);
    execute format('alter table public.%I force row level security', ours);
    execute format('revoke all on table public.%I from public', ours);
    for outsider in
      select rolname from pg_catalog.pg_roles
      where rolname in ('anon', 'authenticated', 'service_role')
    loop
      execute format('revoke all on table public.%I from %I', ours, outsider);
    end loop;

    execute format('drop policy if exists %I on public.%I', ours || '_owner', ours);
    execute format(
      'create policy %I on public.%I for all to %I using (true) with check (true)',
      ours || '_owner', ours, owner
    );
    foreach verb in array array['select', 'insert', 'update'] loop
      execute format(
        'drop policy if exists %I on public.%I', ours || '_service_role_' || verb, ours
      );
      if exists (select from pg_catalog.pg_roles where rolname = 'service_role') then
        execute format('grant %s on table public.%I to service_role', verb, ours);
        execute format(
          'create policy %I on public.%I for %s to service_role %s',
          ours || '_service_role_' || verb, ours, verb,
          case verb
            when 'select' then 'using (true)' when 'insert' then 'with check (true)'
            else 'using (true) with check (true)'
          end
        );
      end if;
    end loop;
  end loop;
end
$$;

comment on table public.ses_feedback_rejects is
  'Messages that could not be stored: one row for each, whatever became of it. Details name what is wrong, never an address; a body is here only if it is kept, encrypted.';
comment on column public.ses_feedback_rejects.message_id is
  'MessageId of SQS. A redriven message has a new one, which the row takes over when it is seen.';
comment on column public.ses_feedback_rejects.body_sha256 is
  'SHA-256 of the body''s UTF-8, in hexadecimal.';
comment on column public.ses_feedback_rejects.body_bytes is
  'Size of the body''s UTF-8.';
comment on column public.ses_feedback_rejects.reason is
  'Why, as the parser of parser_version says: not_json, missing_details, refused_by_database, ...';
comment on column public.ses_feedback_rejects.detail is
  'The same for a person; at most 500 characters.';
comment on column public.ses_feedback_rejects.kind is
  'Kind of event that the body names, as SES writes it; null if it names none.';
comment on column public.ses_feedback_rejects.topic_arn is
  'SNS topic that the body names; not verified. Null if it names none.';
comment on column public.ses_feedback_rejects.queue is
  'Name of the queue that the message was last seen in, or redriven from.';
comment on column public.ses_feedback_rejects.sent_at is
  'SentTimestamp of SQS, which deletes the message the queue''s retention period after it.';
comment on column public.ses_feedback_rejects.first_seen_at is
  'When a run first rejected it.';
comment on column public.ses_feedback_rejects.last_seen_at is
  'When a run or an operator last met it.';
comment on column public.ses_feedback_rejects.times_seen is
  'How often a run or an operator met it.';
comment on column public.ses_feedback_rejects.parser_version is
  'PARSER_VERSION that gave the reason. When it is older than the present one, the message may be readable by now.';
comment on column public.ses_feedback_rejects.last_run_id is
  'Dagster run that last rejected it.';
comment on column public.ses_feedback_rejects.redriven_at is
  'When it was redriven; null again as soon as the message is seen after that.';
comment on column public.ses_feedback_rejects.resolution is
  'waiting; reprocessed: stored, or nothing to store; discarded: deleted by an operator; expired: deleted by SQS after the retention period.';
comment on column public.ses_feedback_rejects.resolved_at is
  'When it stopped waiting.';
comment on column public.ses_feedback_rejects.resolved_by is
  'Who resolved it; null when SQS did.';
comment on column public.ses_feedback_rejects.resolved_run_id is
  'Dagster run that resolved it.';
comment on column public.ses_feedback_rejects.body is
  'The body, encrypted with pgcrypto''s pgp_sym_encrypt_bytea and SES_FEEDBACK_REJECT_KEY; null unless that is set. Personal data: mail addresses.';
comment on column public.ses_feedback_rejects.body_kept_until is
  'When the body is to be removed.';

comment on table public.ses_feedback_dlq_actions is
  'Who did what to the dead-letter queue: one row for each act, written before it begins.';
comment on column public.ses_feedback_dlq_actions.id is
  'UUID version 7: grows with the time of the act.';
comment on column public.ses_feedback_dlq_actions.action is
  'reprocess, redrive, cancel_redrive or discard.';
comment on column public.ses_feedback_dlq_actions.actor is
  'Who: an ARN of AWS, or user@host.';
comment on column public.ses_feedback_dlq_actions.selection is
  'The filter: only what was set; {} is everything.';
comment on column public.ses_feedback_dlq_actions.dry_run is
  'Whether it only said what it would do.';
comment on column public.ses_feedback_dlq_actions.why is
  'The operator''s reason.';
comment on column public.ses_feedback_dlq_actions.run_id is
  'Dagster run, if one did it.';
comment on column public.ses_feedback_dlq_actions.parser_version is
  'PARSER_VERSION that chose the messages.';
comment on column public.ses_feedback_dlq_actions.started_at is
  'When it began.';
comment on column public.ses_feedback_dlq_actions.finished_at is
  'When it ended; null: it is under way, or it failed or died before its end.';
comment on column public.ses_feedback_dlq_actions.moved is
  'How many messages left the dead-letter queue.';
comment on column public.ses_feedback_dlq_actions.counts is
  'How many messages, by what became of them.';
comment on column public.ses_feedback_dlq_actions.error is
  'Why it ended early; null when it did not.';
comment on column public.ses_feedback_dlq_actions.database_user is
  'Login of the database that wrote the row.';
