-- The index on the recipient without the time: equal keys are then stored once, which makes it a
-- quarter of the size, and the write-ahead log of an insert into a large table half (measured at 10
-- million rows). The history of one recipient is sorted when it is read: dozens of rows.
--
-- Run it with `dpp-feedback migrate`, psql, or Supabase's SQL editor, after
-- 20260217_create_ses_feedback_events.sql. Running it again does nothing. While the new index is
-- built, inserts wait (some 10 seconds for 10 million rows): runs try again, and nothing is lost.

do $$
begin
  if exists (
    select from pg_catalog.pg_index
    where indexrelid = to_regclass('public.ses_feedback_events_recipient_idx') and indnkeyatts = 1
  ) then
    return;
  end if;
  create index ses_feedback_events_recipient_new_idx
    on public.ses_feedback_events (primary_recipient)
    where primary_recipient is not null;
  drop index if exists public.ses_feedback_events_recipient_idx;
  alter index public.ses_feedback_events_recipient_new_idx
    rename to ses_feedback_events_recipient_idx;
end
$$;
