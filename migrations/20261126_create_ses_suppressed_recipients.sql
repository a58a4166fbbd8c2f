-- Who must not be mailed: the view public.ses_suppressed_recipients, for the sending application.
--
--   select from public.ses_suppressed_recipients where recipient = lower('Jane@Example.com');
--
-- Run it with `dpp-feedback migrate`, psql, or Supabase's SQL editor, after
-- 20260220_fix_ses_feedback_events_rls_and_guard.sql. Running it again restores view and grants and
-- nothing else. docs/suppression.md says the same for people.
--
-- The rules. A recipient is on the list
--   complaint         after a complaint. Not-spam reports are none. For ever.
--   unsubscribed      after a bounce UnsubscribedRecipient: SES's list management has it as
--                     unsubscribed. For ever.
--   permanent_bounce  after any other Permanent bounce. For ever, unless the address comes back.
--   global_list       after a bounce Suppressed: SES's global list has it, where an address stays
--                     for up to 14 days. For 14 days from the last one, unless it comes back.
--   transient_bounces after N Transient bounces within M days with no delivery since the first of
--                     them. For M days from the last one; one more afterwards begins M days anew.
-- An address has come back when a mail was delivered to it at least a day after the last bounce:
-- SES tries to deliver a mail for at most 14 hours, so this one was sent after the bounce. A
-- delivery whose own mail then bounced is none. Nothing but a person takes back a complaint.
--
-- What counts for nothing: OnAccountSuppressionList (bounce or complaint: only an echo of SES's own
-- list), automatic replies (Transient/General without a delivery status notification), bounces about
-- the mail rather than the mailbox (MessageTooLarge, ContentRejected, AttachmentRejected),
-- Undetermined bounces, SES's mailbox simulator, and deliveries that are said to be in the future.
--
-- N is 5 and M is 14, unless the database says otherwise:
--   alter database postgres set dpp_feedback.transient_bounces = 3;
--   alter database postgres set dpp_feedback.transient_days = 7;
-- This takes a superuser, or somebody with `grant set on parameter`. New sessions see it.

-- Few events are bounces or complaints, so the index costs the others nothing. It leads from a
-- recipient to what was held against it, and the whole list needs no look at the deliveries.
create index if not exists ses_feedback_events_suppression_idx
  on public.ses_feedback_events (primary_recipient, event_at)
  where notification_type in ('Bounce', 'Complaint') and primary_recipient is not null;

-- security_invoker: whoever reads it needs the right to read the events, and obeys their policies.
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
        (array_agg(counted.ses_message_id order by counted.event_at desc))[1]
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

-- Older Supabase projects grant everything on a new view to their API's roles by default.
revoke all on table public.ses_suppressed_recipients from public;
do $$
declare
  outsider name;
begin
  for outsider in
    select rolname from pg_catalog.pg_roles
    where rolname in ('anon', 'authenticated', 'service_role')
  loop
    execute format('revoke all on table public.ses_suppressed_recipients from %I', outsider);
  end loop;
  if exists (select from pg_catalog.pg_roles where rolname = 'service_role') then
    grant select on table public.ses_suppressed_recipients to service_role;
  end if;
end
$$;

comment on view public.ses_suppressed_recipients is
  'Who must not be mailed, by stated rules: one row for each recipient. Personal data: mail addresses.';
comment on column public.ses_suppressed_recipients.recipient is
  'The address in lower case: look it up with lower().';
comment on column public.ses_suppressed_recipients.reason is
  'The strongest one: complaint, unsubscribed, permanent_bounce, global_list, transient_bounces.';
comment on column public.ses_suppressed_recipients.since is
  'When the first event of this reason happened that still counts.';
comment on column public.ses_suppressed_recipients.last_event_at is
  'When the last event happened that counts, for any reason.';
comment on column public.ses_suppressed_recipients.events is
  'How many events count, for all reasons.';
comment on column public.ses_suppressed_recipients.evidence is
  'One object for each reason, the strongest first: reason, kind, sub_types, events, first_at, last_at, last_ses_message_id.';
comment on column public.ses_suppressed_recipients.expires_at is
  'When the recipient may be mailed again if nothing else happens; null: never.';
