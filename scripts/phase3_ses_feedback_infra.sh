#!/usr/bin/env bash
# SES feedback to SQS: topics, queue, dead-letter queue, subscriptions, and what SES publishes.
#
# It looks before it changes anything, and changes only what differs: running it again is harmless,
# and goes on where an earlier run ended. AWS CLI v1 or v2.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: phase3_ses_feedback_infra.sh [--dry-run] [--adopt] [--delete [--yes]] [--help]

Makes, in one region of one account:
  three topics         SES of this account may publish to them, nobody else
  a dead-letter queue  for this queue only
  a queue              for these three topics only, over TLS; SQS encrypts both queues, keeps
                       messages 14 days, and moves one aside after 5 receives
  subscriptions        of the queue to the topics, with SNS's envelope (not raw)
  notifications        of IDENTITY and of CONFIGURATION_SET, if they are set

On stdout are six lines for the product's environment, and nothing else; they are written to
ENV_FILE as well. Everything that is said is on stderr.

  --dry-run   print each call that would change something; change nothing
  --adopt     take over what is there and this script did not make: queues, topics, and the topics
              to which IDENTITY sends now
  --delete    delete what this script made or took over, with the messages in it; asks first.
              Set IDENTITY and CONFIGURATION_SET as before: they then send there no more
  --yes       do not ask

Settings, from the environment:
  AWS_REGION            ap-northeast-2
  EXPECTED_ACCOUNT      12 digits: the login must be of this account
  QUEUE_NAME            decisionproof-ses-feedback-queue
  DLQ_NAME              decisionproof-ses-feedback-dlq
  BOUNCE_TOPIC_NAME     decisionproof-ses-bounce
  COMPLAINT_TOPIC_NAME  decisionproof-ses-complaint
  DELIVERY_TOPIC_NAME   decisionproof-ses-delivery
  IDENTITY              a verified domain or address: its bounces, complaints and deliveries
  FEEDBACK_FORWARDING   off or on: whether SES also mails feedback of IDENTITY to the sender; else
                        it stays as it is
  CONFIGURATION_SET     mails that are sent with it: all ten kinds of events. With OPEN and CLICK
                        among them SES puts a pixel and links of its own into HTML mail
  TRACKING              off: without OPEN and CLICK
  ENV_FILE              k8s/overlays/production/ses-feedback.env; - for none
  AWS_ENDPOINT_URL      a stand-in for AWS, for trying it out

The login needs sts:GetCallerIdentity; sqs:GetQueueUrl, GetQueueAttributes, ListQueueTags, CreateQueue,
SetQueueAttributes, TagQueue and DeleteQueue; sns:GetTopicAttributes, SetTopicAttributes,
ListTagsForResource, CreateTopic, TagResource, DeleteTopic, ListSubscriptionsByTopic,
GetSubscriptionAttributes, SetSubscriptionAttributes, Subscribe and Unsubscribe; ses:GetAccount.
With IDENTITY ses:GetIdentityVerificationAttributes, GetIdentityNotificationAttributes,
SetIdentityNotificationTopic, SetIdentityHeadersInNotificationsEnabled and
SetIdentityFeedbackForwardingEnabled. With CONFIGURATION_SET
ses:GetConfigurationSetEventDestinations, CreateConfigurationSetEventDestination,
UpdateConfigurationSetEventDestination and DeleteConfigurationSetEventDestination.
TEXT
}

# shellcheck source=lib.sh
source "${BASH_SOURCE[0]%phase3_ses_feedback_infra.sh}./lib.sh"

dry_run='' delete='' yes='' adopt=''
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=1 ;;
    --adopt) adopt=1 ;;
    --delete) delete=1 ;;
    --yes) yes=1 ;;
    --help | -h) usage && exit 0 ;;
    *) fail "$argument is no option; see --help." ;;
  esac
done
exec 3>&1 1>&2 # stdout is for the six lines

made_by='phase3_ses_feedback_infra.sh' # the tag of what this script made
identity=${IDENTITY:-}
configuration_set=${CONFIGURATION_SET:-}
forwarding=${FEEDBACK_FORWARDING:-}
tracking=${TRACKING:-on}
folder=${BASH_SOURCE[0]%phase3_ses_feedback_infra.sh}../k8s/overlays/production
env_file=${ENV_FILE:-$folder/ses-feedback.env}
kinds=(Bounce Complaint Delivery)
topics=("${BOUNCE_TOPIC_NAME:-decisionproof-ses-bounce}"
  "${COMPLAINT_TOPIC_NAME:-decisionproof-ses-complaint}"
  "${DELIVERY_TOPIC_NAME:-decisionproof-ses-delivery}")
# The ten kinds that SES publishes; those without a topic of their own are about delivery.
events=(BOUNCE COMPLAINT
  'CLICK,DELIVERY,DELIVERY_DELAY,OPEN,REJECT,RENDERING_FAILURE,SEND,SUBSCRIPTION')
if [[ $tracking == off ]]; then
  events[2]=DELIVERY,DELIVERY_DELAY,REJECT,RENDERING_FAILURE,SEND,SUBSCRIPTION
fi

[[ $tracking =~ ^(on|off)$ ]] || fail "TRACKING is $tracking, neither on nor off."
[[ $forwarding =~ ^(on|off|)$ ]] || fail "FEEDBACK_FORWARDING is $forwarding, neither on nor off."
[[ -z $forwarding || -n $identity ]] || fail "FEEDBACK_FORWARDING is set, and IDENTITY is not."
[[ $env_file == - || -n $delete || -d $(dirname "$env_file") ]] ||
  fail "ENV_FILE is in a folder that does not exist, $(dirname "$env_file"): make it, or set ENV_FILE."

# What is there. A tag is empty where a thing is not there; else who made it, or None.

find_queue() { # name; sets $url and $tag
  url='' tag=''
  if ask sqs get-queue-url --queue-name "$1" --query QueueUrl; then
    url=$answer
    tag=$(call sqs list-queue-tags --queue-url "$url" --query "Tags.\"made-by\"")
  elif [[ $said != *NonExistentQueue* && $said != *QueueDoesNotExist* ]]; then
    explain 'sqs get-queue-url'
  fi
}

find_topic() { # ARN; sets $policy, $signs and $tag
  policy='' signs='' tag=''
  if ask sns get-topic-attributes --topic-arn "$1" --query Attributes.Policy; then
    policy=$answer
    signs=$(call sns get-topic-attributes --topic-arn "$1" --query Attributes.SignatureVersion)
    tag=$(call sns list-tags-for-resource --resource-arn "$1" \
      --query "Tags[?Key=='made-by'].Value | [0]")
  elif [[ $said != *NotFound* ]]; then
    explain 'sns get-topic-attributes'
  fi
}

# Ends when a thing belongs to somebody else.
require_ours() { # what, its name, the setting of the name, its tag
  if [[ -z $4 || $4 == "$made_by" || -n $adopt ]]; then return; fi
  fail "There is a $1 $2 that this script did not make: choose another $3, or take it over with --adopt."
}

find_all() {
  local i
  find_queue "$dlq"
  dlq_url=$url dlq_tag=$tag
  find_queue "$queue"
  queue_url=$url queue_tag=$tag
  for i in 0 1 2; do
    find_topic "${arns[i]}"
    policies[i]=$policy signatures[i]=$signs topic_tags[i]=$tag
  done
}

# The identity's topics into $heard, "None" where there is none; whether SES mails feedback into
# $forwards; and whether headers come along into $headers.
find_notifications() {
  local row
  row=$(call ses get-identity-notification-attributes --identities "$identity" --query \
    "NotificationAttributes.* | [0].[BounceTopic, ComplaintTopic, DeliveryTopic, ForwardingEnabled,
    HeadersInBounceNotificationsEnabled, HeadersInComplaintNotificationsEnabled,
    HeadersInDeliveryNotificationsEnabled]")
  read -r 'heard[0]' 'heard[1]' 'heard[2]' forwards 'headers[0]' 'headers[1]' 'headers[2]' <<<"$row"
}

# Reads the configuration set's event destinations into $destinations, a line each.
find_destinations() {
  if ask sesv2 get-configuration-set-event-destinations --configuration-set-name "$configuration_set" --query \
    "EventDestinations[].[Name, SnsDestination.TopicArn, join(',', sort(MatchingEventTypes)), Enabled]"; then
    destinations=$answer
  elif [[ $said == *NotFound* ]]; then
    fail "CONFIGURATION_SET names none of SES's in $region, $configuration_set: create it, or correct the setting."
  else
    explain 'sesv2 get-configuration-set-event-destinations'
  fi
}

destination_now() { # name
  local name definition
  while IFS=$'\t' read -r name definition; do
    if [[ $name == "$1" ]]; then printf '%s' "$definition"; fi
  done <<<"$destinations"
}

# The queue's subscriptions to a topic into $subscriptions; says who else hears it.
find_subscriptions() { # topic ARN
  local rows arn protocol endpoint
  subscriptions=()
  rows=$(call sns list-subscriptions-by-topic --topic-arn "$1" \
    --query 'Subscriptions[].[SubscriptionArn, Protocol, Endpoint]')
  while read -r arn protocol endpoint; do
    if [[ $endpoint == "$queue_arn" && $arn == arn:* ]]; then
      subscriptions+=("$arn")
    elif [[ -n $arn && $arn != None ]]; then
      printf '%s: somebody else hears it as well, by %s\n' "${1##*:}" "$protocol"
    fi
  done <<<"$rows"
}

# Setting things right.

report() { # name, what became of it
  if [[ -z $dry_run || $2 == unchanged ]]; then printf '%s: %s\n' "$1" "$2"; fi
}

quoted() { # text without control characters: as a JSON string
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# Sets those attributes of a queue that differ; $url is its URL afterwards.
set_queue() { # name, URL or nothing, tag, attributes as "Name":"value"
  local name=$1 tag=$3 now pair wanted='' all='' became=unchanged
  url=$2
  shift 3
  for pair in "$@"; do all+=${all:+,}$pair; done
  if [[ -z $url ]]; then
    change sqs create-queue --queue-name "$name" --attributes "{$all}" \
      --tags "{\"made-by\":\"$made_by\"}" --query QueueUrl
    if [[ -z $dry_run ]]; then url=$answer; fi
    report "$name" created
    return
  fi
  now=$(call sqs get-queue-attributes --queue-url "$url" --attribute-names All \
    --query Attributes --output json | compact)
  if [[ $now == *'"KmsMasterKeyId":"'[!\"]* ]]; then
    fail "$name is encrypted with a KMS key, on which neither SNS nor the role has rights: have SQS encrypt it (SSE-SQS), then run this again."
  fi
  if [[ $tag != "$made_by" ]]; then
    change sqs tag-queue --queue-url "$url" --tags "{\"made-by\":\"$made_by\"}"
    became='taken over'
  fi
  for pair in "$@"; do
    if [[ $now != *"$pair"* ]]; then wanted+=${wanted:+,}$pair; fi
  done
  if [[ -n $wanted ]]; then
    change sqs set-queue-attributes --queue-url "$url" --attributes "{$wanted}"
    if [[ $became == unchanged ]]; then became=changed; fi
  fi
  report "$name" "$became"
}

set_queues() {
  local deny allow both
  both=('"MessageRetentionPeriod":"1209600"' '"SqsManagedSseEnabled":"true"')
  deny='{"Sid":"OverTlsOnly","Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"%s","Condition":{"Bool":{"aws:SecureTransport":"false"}}}'
  # shellcheck disable=SC2059  # a template
  set_queue "$dlq" "$dlq_url" "$dlq_tag" "${both[@]}" \
    "\"RedriveAllowPolicy\":$(quoted "{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"$queue_arn\"]}")" \
    "\"Policy\":$(quoted "{\"Version\":\"2012-10-17\",\"Statement\":[$(printf "$deny" "$dlq_arn")]}")"
  dlq_url=$url
  allow="{\"Sid\":\"OnlyTheFeedbackTopicsSend\",\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"sns.amazonaws.com\"},\"Action\":\"sqs:SendMessage\",\"Resource\":\"$queue_arn\",\"Condition\":{\"ArnEquals\":{\"aws:SourceArn\":[\"${arns[0]}\",\"${arns[1]}\",\"${arns[2]}\"]}}}"
  # A run receives for a third of the visibility timeout, and then has the rest to store and delete.
  # shellcheck disable=SC2059
  set_queue "$queue" "$queue_url" "$queue_tag" "${both[@]}" '"VisibilityTimeout":"300"' \
    "\"RedrivePolicy\":$(quoted "{\"deadLetterTargetArn\":\"$dlq_arn\",\"maxReceiveCount\":5}")" \
    "\"Policy\":$(quoted "{\"Version\":\"2012-10-17\",\"Statement\":[$allow,$(printf "$deny" "$queue_arn")]}")"
  queue_url=$url
}

set_topic() { # number
  local arn=${arns[$1]} tag=${topic_tags[$1]} became=unchanged wanted ours
  ours="arn:$partition:ses:$region:$account"
  wanted="{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"SesOfThisAccountPublishes\",\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"ses.amazonaws.com\"},\"Action\":\"sns:Publish\",\"Resource\":\"$arn\",\"Condition\":{\"StringEquals\":{\"AWS:SourceAccount\":\"$account\"},\"ArnLike\":{\"AWS:SourceArn\":[\"$ours:identity/*\",\"$ours:configuration-set/*\"]}}}]}"
  if [[ -z $tag ]]; then
    change sns create-topic --name "${topics[$1]}" --tags "Key=made-by,Value=$made_by"
    became=created
  elif [[ $tag != "$made_by" ]]; then
    change sns tag-resource --resource-arn "$arn" --tags "Key=made-by,Value=$made_by"
    became='taken over'
  fi
  if [[ $(compact <<<"${policies[$1]}") != "$wanted" ]]; then
    change sns set-topic-attributes --topic-arn "$arn" --attribute-name Policy \
      --attribute-value "$wanted"
    if [[ $became == unchanged ]]; then became=changed; fi
  fi
  if [[ ${signatures[$1]} != 2 ]]; then # SHA256; by default SNS signs with SHA1
    change sns set-topic-attributes --topic-arn "$arn" --attribute-name SignatureVersion \
      --attribute-value 2
    if [[ $became == unchanged ]]; then became=changed; fi
  fi
  report "${topics[$1]}" "$became"
}

# One subscription of the queue, not raw and without a filter: the product reads SNS's envelope.
set_subscription() { # number
  local arn=${arns[$1]} name="${topics[$1]} to $queue" raw filter extra row
  subscriptions=()
  if [[ -z $dry_run || -n ${topic_tags[$1]} ]]; then find_subscriptions "$arn"; fi
  if [[ ${#subscriptions[@]} -eq 0 ]]; then
    change sns subscribe --topic-arn "$arn" --protocol sqs --notification-endpoint "$queue_arn" \
      --attributes RawMessageDelivery=false
    report "$name" created
    return
  fi
  for extra in "${subscriptions[@]:1}"; do
    change sns unsubscribe --subscription-arn "$extra"
    report "$name" 'subscribed twice, one taken away'
  done
  # On a line of its own: a call that fails inside of <<<"$(...)" would not stop the script.
  row=$(call sns get-subscription-attributes \
    --subscription-arn "${subscriptions[0]}" \
    --query "Attributes.[RawMessageDelivery, FilterPolicy]")
  read -r raw filter <<<"$row"
  if [[ $raw == true ]]; then
    change sns set-subscription-attributes --subscription-arn "${subscriptions[0]}" \
      --attribute-name RawMessageDelivery --attribute-value false
    report "$name" 'raw delivery switched off'
  fi
  if [[ $filter != None && $filter != '{}' ]]; then
    change sns set-subscription-attributes --subscription-arn "${subscriptions[0]}" \
      --attribute-name FilterPolicy --attribute-value '{}'
    report "$name" 'filter policy taken away'
  fi
  if [[ $raw != true && ($filter == None || $filter == '{}') && ${#subscriptions[@]} -eq 1 ]]; then
    report "$name" unchanged
  fi
}

# Where the identity sends, last of all: now everything is there to take it.
set_notifications() {
  local i became=unchanged
  for i in 0 1 2; do
    if [[ ${heard[i]} != "${arns[i]}" ]]; then
      change ses set-identity-notification-topic --identity "$identity" \
        --notification-type "${kinds[i]}" --sns-topic "${arns[i]}"
      became=changed
    fi
    if [[ ${headers[i]} == True ]]; then
      change ses set-identity-headers-in-notifications-enabled --identity "$identity" \
        --notification-type "${kinds[i]}" --no-enabled
      became=changed
    fi
  done
  if [[ $forwarding == off && $forwards == True ]]; then
    change ses set-identity-feedback-forwarding-enabled --identity "$identity" \
      --no-forwarding-enabled
    became=changed
  elif [[ $forwarding == on && $forwards == False ]]; then
    change ses set-identity-feedback-forwarding-enabled --identity "$identity" --forwarding-enabled
    became=changed
  fi
  report 'notifications of IDENTITY' "$became"
}

set_destination() { # number
  local name=${topics[$1]} now became=created operation=create definition
  now=$(destination_now "$name")
  if [[ $now == "${arns[$1]}"$'\t'"${events[$1]}"$'\tTrue' ]]; then
    report "$configuration_set to $name" unchanged
    return
  fi
  if [[ -n $now && $now != "${arns[$1]}"$'\t'* && -z $adopt ]]; then
    fail "$configuration_set has an event destination $name that publishes elsewhere: take it over with --adopt."
  fi
  definition="{\"Enabled\":true,\"MatchingEventTypes\":[\"${events[$1]//,/\",\"}\"],\"SnsDestination\":{\"TopicArn\":\"${arns[$1]}\"}}"
  if [[ -n $now ]]; then operation=update became=changed; fi
  change sesv2 "$operation-configuration-set-event-destination" --configuration-set-name "$configuration_set" \
    --event-destination-name "$name" --event-destination "$definition"
  report "$configuration_set to $name" "$became"
}

# Deleting: what publishes first, so that nothing is published into the void.
delete_all() {
  local i gone=() waiting=0 asked
  for i in 0 1 2; do
    if [[ -n $configuration_set && $(destination_now "${topics[i]}") == "${arns[i]}"$'\t'* ]]; then gone+=("$configuration_set to ${topics[i]}"); fi
    if [[ -n $identity && ${heard[i]} == "${arns[i]}" ]]; then
      gone+=("${kinds[i]} notifications of IDENTITY")
    fi
    going "${topics[i]}" "${topic_tags[i]}"
  done
  going "$queue" "$queue_tag"
  going "$dlq" "$dlq_tag"
  if [[ ${#gone[@]} -eq 0 ]]; then
    printf 'Nothing to delete.\n'
    return
  fi
  for url in "$queue_url" "$dlq_url"; do
    if [[ -n $url ]]; then
      asked=$(call sqs get-queue-attributes --queue-url "$url" --attribute-names \
        ApproximateNumberOfMessages --query Attributes.ApproximateNumberOfMessages)
      waiting=$((waiting + asked))
    fi
  done
  confirm "Delete $(printf '%s, ' "${gone[@]}")and $waiting waiting messages?"
  for i in 0 1 2; do
    if [[ -n $configuration_set && $(destination_now "${topics[i]}") == "${arns[i]}"$'\t'* ]]; then
      change sesv2 delete-configuration-set-event-destination --configuration-set-name "$configuration_set" \
        --event-destination-name "${topics[i]}"
    fi
  done
  delete_notifications
  for i in 0 1 2; do
    if [[ ${topic_tags[i]} == "$made_by" ]]; then
      change sns delete-topic --topic-arn "${arns[i]}" # and with it its subscriptions
    elif [[ -n ${topic_tags[i]} && $queue_tag == "$made_by" ]]; then
      find_subscriptions "${arns[i]}"
      for asked in ${subscriptions[@]+"${subscriptions[@]}"}; do
        change sns unsubscribe --subscription-arn "$asked"
      done
    fi
  done
  if [[ $queue_tag == "$made_by" ]]; then change sqs delete-queue --queue-url "$queue_url"; fi
  if [[ $dlq_tag == "$made_by" ]]; then change sqs delete-queue --queue-url "$dlq_url"; fi
  if [[ -z $dry_run ]]; then printf '%s: deleted\n' "${gone[@]}"; fi
}

going() { # name, tag; adds to $gone what is ours
  if [[ $2 == "$made_by" ]]; then
    gone+=("$1")
  elif [[ -n $2 ]]; then
    printf '%s: stays, this script did not make it\n' "$1"
  else
    printf '%s: is not there\n' "$1"
  fi
}

delete_notifications() {
  local i
  if [[ -z $identity ]]; then return; fi
  for i in 0 1 2; do
    if [[ ${heard[i]} == "${arns[i]}" ]]; then
      # SES takes no topic away while feedback would then reach nobody.
      if [[ $forwards == False ]]; then
        change ses set-identity-feedback-forwarding-enabled --identity "$identity" \
          --forwarding-enabled
        forwards=True
      fi
      change ses set-identity-notification-topic --identity "$identity" \
        --notification-type "${kinds[i]}"
    fi
  done
}

write_env() { # lines
  if [[ $env_file == - ]]; then return; fi
  if [[ -f $env_file && $(<"$env_file") == "$1" ]]; then
    report "$env_file" unchanged
  else
    { printf '%s\n' "$1" >"$env_file"; } 2>/dev/null || fail "ENV_FILE cannot be written: $env_file."
    report "$env_file" written
  fi
}

find_account
queue_arn="arn:$partition:sqs:$region:$account:$queue"
dlq_arn="arn:$partition:sqs:$region:$account:$dlq"
arns=() policies=() signatures=() topic_tags=() heard=() headers=() destinations=''
for i in 0 1 2; do arns[i]="arn:$partition:sns:$region:$account:${topics[i]}"; done
find_all
if [[ -n $identity ]]; then find_notifications; fi
if [[ -n $configuration_set ]]; then find_destinations; fi
if [[ -n $delete ]]; then
  delete_all
  exit 0
fi

require_ours queue "$dlq" DLQ_NAME "$dlq_tag"
require_ours queue "$queue" QUEUE_NAME "$queue_tag"
require_ours topic "${topics[0]}" BOUNCE_TOPIC_NAME "${topic_tags[0]}"
require_ours topic "${topics[1]}" COMPLAINT_TOPIC_NAME "${topic_tags[1]}"
require_ours topic "${topics[2]}" DELIVERY_TOPIC_NAME "${topic_tags[2]}"
if [[ -n $identity ]]; then
  status=$(call ses get-identity-verification-attributes --identities "$identity" \
    --query 'VerificationAttributes.* | [0].VerificationStatus')
  [[ $status == Success ]] ||
    fail "IDENTITY is not verified in SES in $region (status: ${status/None/unknown there}): verify it, or correct AWS_REGION or IDENTITY."
  for i in 0 1 2; do
    if [[ ${heard[i]} != None && ${heard[i]} != "${arns[i]}" && -z $adopt ]]; then
      fail "IDENTITY sends its ${kinds[i]} notifications to another topic, ${heard[i]}: have them sent here instead with --adopt."
    fi
  done
fi
production=$(call sesv2 get-account --query ProductionAccessEnabled)
if [[ $production == False ]]; then
  printf 'Warning: SES is in the sandbox in %s; it mails only to verified addresses.\n' "$region"
fi

set_queues
for i in 0 1 2; do
  set_topic "$i"
  set_subscription "$i"
done
if [[ -n $identity ]]; then set_notifications; fi
if [[ -n $configuration_set ]]; then
  for i in 0 1 2; do set_destination "$i"; done
fi
if [[ -n $dry_run ]]; then exit 0; fi

lines="SNS_BOUNCE_ARN=${arns[0]}
SNS_COMPLAINT_ARN=${arns[1]}
SNS_DELIVERY_ARN=${arns[2]}
SQS_QUEUE_URL=$queue_url
SQS_DLQ_URL=$dlq_url
AWS_REGION=$region"
write_env "$lines"
printf '%s\n' "$lines" >&3
