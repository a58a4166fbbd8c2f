-- What may be done before 20261128_shrink_ses_feedback_recipient_index.sql while runs go on
-- inserting: the file itself keeps them waiting for as long as it builds the index.
--
-- Changes nothing by itself: it returns the statements that are still to be run, one by one and
-- outside of a transaction. `dpp-feedback migrate` does so; with psql, append \gexec:
--
--   (cat migrations/concurrently/20261128_*.sql; echo '\gexec') | psql "$DATABASE_URL"
--
-- An index that is not valid is what is left of a build that was cut short.

with former as (
  select indnkeyatts = 1 and indisvalid as small from pg_catalog.pg_index
  where indexrelid = to_regclass('public.ses_feedback_events_recipient_idx')
),
built as (
  select indisvalid as valid from pg_catalog.pg_index
  where indexrelid = to_regclass('public.ses_feedback_events_recipient_new_idx')
)
select step.statement
from (
  values
    (
      1,
      exists (select from built where not valid),
      'drop index concurrently public.ses_feedback_events_recipient_new_idx'
    ),
    (
      2,
      not exists (select from built where valid),
      'create index concurrently ses_feedback_events_recipient_new_idx
         on public.ses_feedback_events (primary_recipient) where primary_recipient is not null'
    ),
    (
      3,
      exists (select from former),
      'drop index concurrently public.ses_feedback_events_recipient_idx'
    ),
    (
      4,
      true,
      'alter index public.ses_feedback_events_recipient_new_idx
         rename to ses_feedback_events_recipient_idx'
    )
) as step (number, wanted, statement)
where step.wanted
  and not exists (select from former where small)
  and pg_relation_size(to_regclass('public.ses_feedback_events')) > 0 -- else there is no hurry
order by step.number
