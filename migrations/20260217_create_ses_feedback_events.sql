-- The table of SES feedback: one row for each notification and recipient.
--
-- Run it with `dpp-feedback migrate`, psql, or Supabase's SQL editor. Running it again changes
-- nothing. It ends with nobody but the owner holding a privilege; who else may do what is in
-- 20260220_fix_ses_feedback_events_rls_and_guard.sql, which belongs right after it.

create table if not exists public.ses_feedback_events (
  -- A version 7 UUID (RFC 9562): 48 bits of Unix milliseconds, then random ones. New rows so go to
  -- the right end of the primary key's index instead of all over it. uuidv7() is newer than
  -- PostgreSQL 15; setting bits 52 and 53 turns the 4 of gen_random_uuid() into a 7.
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
  notification_type text not null,
  ses_message_id text not null,
  feedback_id text,
  source text,
  primary_recipient text,
  bounce_type text,
  bounce_sub_type text,
  type_data jsonb not null default '{}',
  configuration_set text,
  event_at timestamptz not null,
  received_at timestamptz not null default now(),
  sns_message_id text,
  -- "C" compares bytes: faster, and an upgrade of the system's collations cannot break uniqueness.
  dedupe_key text collate "C" not null,
  constraint ses_feedback_events_pkey primary key (id),
  constraint ses_feedback_events_dedupe_key_key unique (dedupe_key),
  constraint ses_feedback_events_type_data_check check (jsonb_typeof(type_data) = 'object')
);

-- `if not exists` is also content with a table that somebody else made under this name.
do $$
declare
  missing text;
begin
  select string_agg(wanted.name, ', ') into missing
  from unnest(array[
    'id', 'notification_type', 'ses_message_id', 'feedback_id', 'source', 'primary_recipient',
    'bounce_type', 'bounce_sub_type', 'type_data', 'configuration_set', 'event_at', 'received_at',
    'sns_message_id', 'dedupe_key', 'ses_feedback_events_dedupe_key_key'
  ]) as wanted (name)
  where not exists (
    select from pg_catalog.pg_attribute
    where attrelid = 'public.ses_feedback_events'::regclass and attname = wanted.name
      and not attisdropped
  )
  and not exists (
    select from pg_catalog.pg_constraint
    where conrelid = 'public.ses_feedback_events'::regclass and conname = wanted.name
  );
  if missing is not null then
    raise exception 'another table public.ses_feedback_events is there already; it lacks %', missing
      using hint = 'Rename that table and run this again.';
  end if;
end
$$;

-- The daily counts: one day is a range of this index, read without the table.
create index if not exists ses_feedback_events_event_at_idx
  on public.ses_feedback_events (event_at, notification_type);
-- The history of one recipient, newest first. Opens and clicks often have no recipient.
create index if not exists ses_feedback_events_recipient_idx
  on public.ses_feedback_events (primary_recipient, event_at desc)
  where primary_recipient is not null;
-- "What came last": `order by received_at desc limit ...` needs an order, and BRIN has none. All
-- rows of a batch share one value at the right end, which a B-tree stores once: it stays small.
create index if not exists ses_feedback_events_received_at_idx
  on public.ses_feedback_events (received_at);

alter table public.ses_feedback_events enable row level security;
-- The owner obeys policies too. An owner without BYPASSRLS so needs `--enable-row-security` for
-- pg_dump.
alter table public.ses_feedback_events force row level security;

-- Older Supabase projects grant everything on a new table to their API's roles by default.
revoke all on table public.ses_feedback_events from public;
do $$
declare
  outsider name;
begin
  for outsider in
    select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated')
  loop
    execute format('revoke all on table public.ses_feedback_events from %I', outsider);
  end loop;
end
$$;

comment on table public.ses_feedback_events is
  'Amazon SES feedback (bounces, complaints, deliveries, ...): one row for each notification and recipient. Personal data: mail addresses.';
comment on column public.ses_feedback_events.id is
  'UUID version 7: grows with the time the row was stored.';
comment on column public.ses_feedback_events.notification_type is
  'Kind of event as SES writes it: Bounce, Complaint, Delivery, Send, DeliveryDelay, ...';
comment on column public.ses_feedback_events.ses_message_id is
  'mail.messageId: the mail that the event is about.';
comment on column public.ses_feedback_events.feedback_id is
  'feedbackId of a bounce or complaint; null for other kinds.';
comment on column public.ses_feedback_events.source is
  'mail.source: the address the mail was sent from (MAIL FROM).';
comment on column public.ses_feedback_events.primary_recipient is
  'The recipient of this row: lower case, without display name. Null when SES does not say who, as for an open of a mail to several people.';
comment on column public.ses_feedback_events.bounce_type is
  'bounceType verbatim: Permanent, Transient, Undetermined; null for other kinds.';
comment on column public.ses_feedback_events.bounce_sub_type is
  'bounceSubType verbatim: General, NoEmail, MailboxFull, ...; null for other kinds.';
comment on column public.ses_feedback_events.type_data is
  'What only this kind of event has, in snake_case: bounce_type, diagnostic_code, complaint_feedback_type, smtp_response, ... Never subjects or headers.';
comment on column public.ses_feedback_events.configuration_set is
  'The configuration set the mail was sent with, if any.';
comment on column public.ses_feedback_events.event_at is
  'When it happened, as SES says; days are counted by it.';
comment on column public.ses_feedback_events.received_at is
  'When the row was stored: start of the inserting transaction, so one value for a batch.';
comment on column public.ses_feedback_events.sns_message_id is
  'MessageId of the SNS notification that brought the row; null under raw message delivery.';
comment on column public.ses_feedback_events.dedupe_key is
  'The event''s identity, made of what SES says (message or feedback id, kind, recipient): the same for every redelivery. Begins with the time-ordered part of SES''s id.';
