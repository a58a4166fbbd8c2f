-- Counters: how many events of each sort happened on each day, so that a rate over a year needs no
-- look at the events. The statement that inserts events counts them, in the same transaction.
--
-- Run it with `dpp-feedback migrate`, psql, or Supabase's SQL editor, after
-- 20260220_fix_ses_feedback_events_rls_and_guard.sql. Running it again restores grants and policies
-- and nothing else. The events that are there already are counted here.

-- "" stands for what SES does not say: a primary key takes no null. Texts are cut so that the key
-- fits into an index page, whatever a body says. "C" compares bytes, as the statement's order does.
create table if not exists public.ses_feedback_daily_counts (
  day date not null,
  notification_type text collate "C" not null,
  bounce_type text collate "C" not null,
  bounce_sub_type text collate "C" not null,
  complaint_sub_type text collate "C" not null,
  automatic_reply boolean not null,
  source text collate "C" not null,
  configuration_set text collate "C" not null,
  recipient_domain text collate "C" not null,
  count bigint not null,
  constraint ses_feedback_daily_counts_pkey primary key (
    day, notification_type, bounce_type, bounce_sub_type, complaint_sub_type, automatic_reply,
    source, configuration_set, recipient_domain
  )
) with (fillfactor = 70); -- counting up changes no index, so the new version fits beside the old

-- The rates of one domain over a year, of the providers with feedback loops for one.
create index if not exists ses_feedback_daily_counts_domain_idx
  on public.ses_feedback_daily_counts (recipient_domain, day);

-- Which domains complain: a few rows among many.
create index if not exists ses_feedback_daily_counts_complaint_idx
  on public.ses_feedback_daily_counts (day, recipient_domain)
  where notification_type = 'Complaint';

-- The same without the domain: a few dozen rows a day even where mail goes to a million domains.
create table if not exists public.ses_feedback_daily_totals (
  day date not null,
  notification_type text collate "C" not null,
  bounce_type text collate "C" not null,
  bounce_sub_type text collate "C" not null,
  complaint_sub_type text collate "C" not null,
  automatic_reply boolean not null,
  source text collate "C" not null,
  configuration_set text collate "C" not null,
  count bigint not null,
  constraint ses_feedback_daily_totals_pkey primary key (
    day, notification_type, bounce_type, bounce_sub_type, complaint_sub_type, automatic_reply,
    source, configuration_set
  )
) with (fillfactor = 70);

-- As in 20260217 and 20260220: closed to all but the owner, and to service_role what it needs.
do $$
declare
  counter name;
  outsider name;
  owner name;
begin
  foreach counter in array array['ses_feedback_daily_counts', 'ses_feedback_daily_totals'] loop
    select pg_get_userbyid(relowner) into owner
    from pg_catalog.pg_class where oid = format('public.%I', counter)::regclass;

    execute format('alter table public.%I enable row level security', counter);
    execute format('alter table public.%I force row level security', counter);
    execute format('revoke all on table public.%I from public', counter);
    for outsider in
      select rolname from pg_catalog.pg_roles
      where rolname in ('anon', 'authenticated', 'service_role')
    loop
      execute format('revoke all on table public.%I from %I', counter, outsider);
    end loop;

    execute format('drop policy if exists %I on public.%I', counter || '_owner', counter);
    execute format(
      'create policy %I on public.%I for all to %I using (true) with check (true)',
      counter || '_owner', counter, owner
    );
    execute format('drop policy if exists %I on public.%I', counter || '_service_role', counter);
    if exists (select from pg_catalog.pg_roles where rolname = 'service_role') then
      -- Counting up is `insert ... on conflict do update`, which needs all three.
      execute format('grant select, insert, update on table public.%I to service_role', counter);
      execute format(
        'create policy %I on public.%I for all to service_role using (true) with check (true)',
        counter || '_service_role', counter
      );
    end if;
  end loop;
end
$$;

-- The events that are there already. What each column is made from stands a second time in
-- dpp_feedback/daily_counts.py, which counts what comes from now on; a test compares the two.
--
-- Only what is missing is added, and each statement sees one moment, so that it matters neither
-- whether drains count meanwhile nor whether this file is run again.
do $$
begin
  perform pg_advisory_xact_lock(hashtextextended('dpp_feedback.mend', 0));

  insert into public.ses_feedback_daily_counts as counter
  select
    told.day, told.notification_type, told.bounce_type, told.bounce_sub_type,
    told.complaint_sub_type, told.automatic_reply, told.source, told.configuration_set,
    told.recipient_domain, told.count - coalesce(kept.count, 0)
  from (
    select
      (event_at at time zone 'UTC')::date as day,
      left(notification_type, 40) collate "C" as notification_type,
      left(coalesce(bounce_type, ''), 40) collate "C" as bounce_type,
      left(coalesce(bounce_sub_type, ''), 40) collate "C" as bounce_sub_type,
      case
        when notification_type = 'Complaint'
        then left(coalesce(type_data ->> 'complaint_sub_type', ''), 40) else ''
      end collate "C" as complaint_sub_type,
      coalesce(bounce_type = 'Transient' and bounce_sub_type = 'General', false)
        and not type_data ?| array['status', 'action', 'diagnostic_code'] as automatic_reply,
      left(
        case
          when strpos(source, '=') > 0 then regexp_replace(source, '^[^"@]*=[^@]*@', '@')
          when strpos(source, '+') > 0 then regexp_replace(source, '^([^"+@]+)[+][^@]*@', '\1@')
          else coalesce(source, '')
        end,
        128
      ) collate "C" as source,
      left(coalesce(configuration_set, ''), 64) collate "C" as configuration_set,
      case
        when strpos(primary_recipient, '@') > 0
        then left(split_part(primary_recipient, '@', -1), 253) else ''
      end collate "C" as recipient_domain,
      count(*) as count
    from public.ses_feedback_events
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9
  ) as told
  left join public.ses_feedback_daily_counts as kept using (
    day, notification_type, bounce_type, bounce_sub_type, complaint_sub_type, automatic_reply,
    source, configuration_set, recipient_domain
  )
  where told.count > coalesce(kept.count, 0)
  order by 1, 2, 3, 4, 5, 6, 7, 8, 9
  on conflict on constraint ses_feedback_daily_counts_pkey
    do update set count = counter.count + excluded.count;

  insert into public.ses_feedback_daily_totals as counter
  select
    told.day, told.notification_type, told.bounce_type, told.bounce_sub_type,
    told.complaint_sub_type, told.automatic_reply, told.source, told.configuration_set,
    told.count - coalesce(kept.count, 0)
  from (
    select
      day, notification_type, bounce_type, bounce_sub_type, complaint_sub_type, automatic_reply,
      source, configuration_set, sum(count)::bigint as count
    from public.ses_feedback_daily_counts
    group by 1, 2, 3, 4, 5, 6, 7, 8
  ) as told
  left join public.ses_feedback_daily_totals as kept using (
    day, notification_type, bounce_type, bounce_sub_type, complaint_sub_type, automatic_reply,
    source, configuration_set
  )
  where told.count > coalesce(kept.count, 0)
  order by 1, 2, 3, 4, 5, 6, 7, 8
  on conflict on constraint ses_feedback_daily_totals_pkey
    do update set count = counter.count + excluded.count;
end
$$;

comment on table public.ses_feedback_daily_counts is
  'Events per day (UTC, by event_at), kind, bounce subtype, source, configuration set and recipient domain; counted as events are inserted. Text is empty where SES does not say it.';
comment on table public.ses_feedback_daily_totals is
  'The same as ses_feedback_daily_counts without the domain: for rates of whole accounts, sources and configuration sets.';
comment on column public.ses_feedback_daily_counts.automatic_reply is
  'A vacation or challenge response: Transient/General without a delivery status notification. No bounce of ours.';
comment on column public.ses_feedback_daily_totals.automatic_reply is
  'A vacation or challenge response: Transient/General without a delivery status notification. No bounce of ours.';
comment on column public.ses_feedback_daily_counts.source is
  'Sending address without +label, at most 128 characters; of a variable return path (with =) the domain alone.';
comment on column public.ses_feedback_daily_totals.source is
  'Sending address without +label, at most 128 characters; of a variable return path (with =) the domain alone.';
comment on column public.ses_feedback_daily_counts.recipient_domain is
  'What stands after the last @ of the recipient.';
