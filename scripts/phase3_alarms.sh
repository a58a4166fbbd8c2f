#!/usr/bin/env bash
# CloudWatch alarms for the SES feedback queue, for the hours in which Dagster itself is down.
#
# It compares before it changes, so running it again is harmless. AWS CLI v1 or v2.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: phase3_alarms.sh [--dry-run] [--delete [--yes]] [--help]

Sets three CloudWatch alarms, which tell an SNS topic when they begin and when they end:
  <prefix>-queue-age    the oldest message is older than MAX_AGE_SECONDS: nobody drains the queue
  <prefix>-dlq-depth    a message is in the dead-letter queue
  <prefix>-no-traffic   no message has come for SILENT_HOURS: the wiring is broken, or no mail is sent

  --dry-run   print each call that would change something; change nothing
  --delete    delete the alarms, and the topic if this script made it; asks first
  --yes       do not ask

Settings, from the environment:
  AWS_REGION        ap-northeast-2
  QUEUE_NAME        decisionproof-ses-feedback-queue
  DLQ_NAME          decisionproof-ses-feedback-dlq
  ALARM_PREFIX      decisionproof-ses-feedback
  ALARM_TOPIC_ARN   a topic that is there already; else one named <prefix>-alarms is made
  MAX_AGE_SECONDS   300
  SILENT_HOURS      24 (1 to 168)
  AWS_ENDPOINT_URL  a stand-in for AWS, for trying it out

The login needs sqs:GetQueueUrl, sqs:GetQueueAttributes, cloudwatch:DescribeAlarms, PutMetricAlarm
and DeleteAlarms, sns:GetTopicAttributes, CreateTopic, TagResource, ListTagsForResource and
DeleteTopic.
TEXT
}

# shellcheck source=lib.sh
source "${BASH_SOURCE[0]%phase3_alarms.sh}./lib.sh"

dry_run='' delete='' yes=''
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=1 ;;
    --delete) delete=1 ;;
    --yes) yes=1 ;;
    --help | -h) usage && exit 0 ;;
    *) fail "$argument is no option; see --help." ;;
  esac
done

prefix=${ALARM_PREFIX:-decisionproof-ses-feedback}
max_age=${MAX_AGE_SECONDS:-300}
silent_hours=${SILENT_HOURS:-24}
[[ $max_age =~ ^[1-9][0-9]{0,6}$ ]] || fail "MAX_AGE_SECONDS is $max_age, no whole number above 0."
[[ $silent_hours =~ ^[1-9][0-9]{0,2}$ && $silent_hours -le 168 ]] ||
  fail "SILENT_HOURS is $silent_hours, no whole number from 1 to 168."

made_by='phase3_alarms.sh' # the tag of a topic that this script made
alarms=("$prefix-queue-age" "$prefix-dlq-depth" "$prefix-no-traffic")

topic_is_there() { # ARN
  if ask sns get-topic-attributes --topic-arn "$1"; then return 0; fi
  [[ $said == *NotFound* ]] || explain 'sns get-topic-attributes'
  return 1
}

# Reads all alarms into $found, a line each: name, a tab, what it is, last whether its actions are on.
find_alarms() {
  local fields
  fields='Namespace,MetricName,Dimensions[].[Name,Value],Statistic,Period,EvaluationPeriods'
  fields+=',Threshold,ComparisonOperator,TreatMissingData,AlarmDescription,AlarmActions,OKActions'
  fields+=',ActionsEnabled'
  found=$(call cloudwatch describe-alarms --alarm-names "${alarms[@]}" \
    --query "MetricAlarms[].[AlarmName, join('|', map(&to_string(@), [$fields][] | []))]")
  found=${found//.0|/|}
}

alarm_now() { # name
  local name definition
  while IFS=$'\t' read -r name definition; do
    if [[ $name == "$1" ]]; then printf '%s' "$definition"; fi
  done <<<"$found"
}

set_alarm() { # name, metric, queue, statistic, period, periods, comparison, threshold, missing, text
  local now wanted enabled=--actions-enabled
  wanted="AWS/SQS|$2|QueueName|$3|$4|$5|$6|$8|$7|$9|${10}|$topic|$topic"
  now=$(alarm_now "$1")
  if [[ ${now%|*} == "$wanted" ]]; then
    printf '%s: unchanged\n' "$1"
    return
  fi
  # Whoever has silenced an alarm wants it to stay so.
  if [[ $now == *'|false' ]]; then enabled=--no-actions-enabled; fi
  change cloudwatch put-metric-alarm --alarm-name "$1" --namespace AWS/SQS --metric-name "$2" \
    --dimensions "Name=QueueName,Value=$3" --statistic "$4" --period "$5" \
    --evaluation-periods "$6" --comparison-operator "$7" --threshold "$8" \
    --treat-missing-data "$9" --alarm-description "${10}" "$enabled" \
    --alarm-actions "$topic" --ok-actions "$topic"
  if [[ -n $dry_run ]]; then return; fi
  if [[ -z $now ]]; then printf '%s: created\n' "$1"; else printf '%s: changed\n' "$1"; fi
}

name_topic() {
  if [[ -n ${ALARM_TOPIC_ARN:-} ]]; then
    topic=$ALARM_TOPIC_ARN
  else
    topic="${arn/:sqs:/:sns:}" # the same partition, region and account
    topic="${topic%:*}:$prefix-alarms"
  fi
}

delete_all() {
  local name made='' there=() gone=()
  for name in "${alarms[@]}"; do
    if [[ -z $(alarm_now "$name") ]]; then
      printf '%s: is not there\n' "$name"
    else
      there+=("$name")
    fi
  done
  if [[ -z ${ALARM_TOPIC_ARN:-} ]] && topic_is_there "$topic"; then
    made=$(call sns list-tags-for-resource --resource-arn "$topic" \
      --query "Tags[?Key=='made-by'].Value | [0]")
    if [[ $made != "$made_by" ]]; then printf '%s: stays, this script did not make it\n' "$topic"; fi
  fi
  gone=(${there[@]+"${there[@]}"})
  if [[ $made == "$made_by" ]]; then gone+=("$topic"); fi
  if [[ ${#gone[@]} -eq 0 ]]; then
    printf 'Nothing to delete.\n'
    return
  fi
  confirm "Delete ${gone[*]}?"
  if [[ ${#there[@]} -gt 0 ]]; then change cloudwatch delete-alarms --alarm-names "${there[@]}"; fi
  if [[ $made == "$made_by" ]]; then change sns delete-topic --topic-arn "$topic"; fi
  if [[ -z $dry_run ]]; then printf '%s: deleted\n' "${gone[@]}"; fi
}

if [[ -n $delete ]]; then
  # The queues may be gone by now, so the account is asked for instead.
  find_account
  arn="arn:$partition:sqs:$region:$account:$queue"
  name_topic
  find_alarms
  delete_all
  exit 0
fi

url=$(call sqs get-queue-url --queue-name "$queue" --query QueueUrl)
arn=$(call sqs get-queue-attributes --queue-url "$url" --attribute-names QueueArn \
  --query Attributes.QueueArn)
call sqs get-queue-url --queue-name "$dlq" >/dev/null
name_topic
if topic_is_there "$topic"; then
  printf '%s: unchanged\n' "$topic"
elif [[ -n ${ALARM_TOPIC_ARN:-} ]]; then
  fail "ALARM_TOPIC_ARN names a topic that does not exist: $topic."
else
  change sns create-topic --name "${topic##*:}" --tags "Key=made-by,Value=$made_by"
  if [[ -z $dry_run ]]; then
    printf '%s: created; nobody hears it yet. Subscribe:\n' "$topic"
    printf '  aws sns subscribe --region %s --topic-arn %s --protocol email --notification-endpoint you@example.com\n' \
      "$region" "$topic"
  fi
fi

find_alarms
# An idle queue has no values after some hours: what was wrong then still is, until a value says so.
set_alarm "${alarms[0]}" ApproximateAgeOfOldestMessage "$queue" Maximum 60 3 \
  GreaterThanThreshold "$max_age" ignore \
  'The oldest SES feedback message is too old: nobody drains the queue. Runbook: oldest_message.'
set_alarm "${alarms[1]}" ApproximateNumberOfMessagesVisible "$dlq" Maximum 60 1 \
  GreaterThanOrEqualToThreshold 1 ignore \
  'SES feedback is in the dead-letter queue. Runbook: dlq_has_messages.'
set_alarm "${alarms[2]}" NumberOfMessagesSent "$queue" Sum 3600 "$silent_hours" \
  LessThanThreshold 1 breaching \
  'No SES feedback has come into the queue for hours. Runbook: silence.'
