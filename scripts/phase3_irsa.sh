#!/usr/bin/env bash
# The IAM role of the pods: for one service account of one cluster, with the rights that the product
# uses and no others (IRSA, no key anywhere).
#
# It looks before it changes anything, so running it again is harmless. AWS CLI v1 or v2.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: phase3_irsa.sh [--dry-run] [--create-provider] [--update-trust] [--delete [--yes]] [--help]

Makes the role ROLE_NAME: NAMESPACE's service account SERVICE_ACCOUNT in CLUSTER_NAME may assume it,
nobody else, and it may do with the two queues what the product does. On stdout is one line,
ROLE_ARN=...; everything that is said is on stderr.

  --dry-run          print each call that would change something; change nothing
  --create-provider  let IAM trust the cluster's OIDC issuer, if it does not; many roles may use
                     this provider, and --delete leaves it
  --update-trust     overwrite the trust of a role that trusts something else
  --delete           delete the role if this script made it, else only its policy; asks first
  --yes              do not ask

Settings, from the environment:
  AWS_REGION        ap-northeast-2
  EXPECTED_ACCOUNT  12 digits: the login must be of this account
  CLUSTER_NAME      dpp-production
  NAMESPACE         dpp-production
  SERVICE_ACCOUNT   decisionproof-ses-feedback-sa
  ROLE_NAME         DecisionproofSESFeedbackRole
  QUEUE_NAME        decisionproof-ses-feedback-queue
  DLQ_NAME          decisionproof-ses-feedback-dlq
  AWS_ENDPOINT_URL  a stand-in for AWS, for trying it out

Each of these adds a right; the first three are the product's own settings:
  SES_FEEDBACK_ALERT_TOPIC_ARN  sns:Publish on this topic
  SES_FEEDBACK_MAIL_FROM        ses:SendRawEmail from this address
  SES_FEEDBACK_REPORTS          if it is s3://bucket/prefix: s3:PutObject under it
  COMPUTE_LOGS                  s3://bucket/prefix of Dagster's compute logs: s3:PutObject under it
  UPDATE_SES=1                  ses:PutSuppressedDestination, for suppressed_recipients' update_ses
  ALLOW_REDRIVE=1               `dlq redrive` from a pod: sqs:StartMessageMoveTask and
                                CancelMessageMoveTask on the DLQ, SendMessage on the queue. A pod
                                could then forge feedback; an operator's own login needs no pod

The login needs sts:GetCallerIdentity, sqs:GetQueueUrl, eks:DescribeCluster; iam:GetOpenIDConnectProvider,
GetRole, CreateRole, TagRole, UpdateAssumeRolePolicy, GetRolePolicy, PutRolePolicy, ListRolePolicies,
ListAttachedRolePolicies, DeleteRolePolicy and DeleteRole; with --create-provider
iam:CreateOpenIDConnectProvider and AddClientIDToOpenIDConnectProvider.
TEXT
}

# shellcheck source=lib.sh
source "${BASH_SOURCE[0]%phase3_irsa.sh}./lib.sh"

dry_run='' delete='' yes='' create_provider='' update_trust=''
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=1 ;;
    --create-provider) create_provider=1 ;;
    --update-trust) update_trust=1 ;;
    --delete) delete=1 ;;
    --yes) yes=1 ;;
    --help | -h) usage && exit 0 ;;
    *) fail "$argument is no option; see --help." ;;
  esac
done
exec 3>&1 1>&2 # stdout is for ROLE_ARN

made_by='phase3_irsa.sh' # the tag of a role that this script made
inline='ses-feedback'    # the name of the policy in the role
audience='sts.amazonaws.com'
cluster=${CLUSTER_NAME:-dpp-production}
namespace=${NAMESPACE:-dpp-production}
service_account=${SERVICE_ACCOUNT:-decisionproof-ses-feedback-sa}
role=${ROLE_NAME:-DecisionproofSESFeedbackRole}
alert_topic=${SES_FEEDBACK_ALERT_TOPIC_ARN:-}
mail_from=${SES_FEEDBACK_MAIL_FROM:-}
reports=${SES_FEEDBACK_REPORTS:-}
compute_logs=${COMPUTE_LOGS:-}
name='^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$' # a `*` would let in every service account
[[ $namespace =~ $name ]] || fail "NAMESPACE is $namespace, no name of Kubernetes."
[[ $service_account =~ $name ]] || fail "SERVICE_ACCOUNT is $service_account, no name of Kubernetes."
[[ -z $alert_topic || $alert_topic =~ ^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$ ]] ||
  fail "SES_FEEDBACK_ALERT_TOPIC_ARN is no ARN of a topic."
place='^s3://[a-z0-9.-]+(/[A-Za-z0-9/_.=+-]*)?$'
[[ $reports != *:* || $reports =~ $place ]] ||
  fail "SES_FEEDBACK_REPORTS is neither a folder nor s3://bucket/prefix."
[[ -z $compute_logs || $compute_logs =~ $place ]] || fail "COMPUTE_LOGS is not s3://bucket/prefix."
if [[ $mail_from == *'<'*'>' ]]; then mail_from=${mail_from##*<} mail_from=${mail_from%>}; fi
[[ -z $mail_from || $mail_from =~ ^[^[:space:]@\"\\*?\$]+@[A-Za-z0-9.-]+$ ]] ||
  fail "SES_FEEDBACK_MAIL_FROM is no mail address."

# The role as it is: its trust into $trust_now, who made it into $tag; both empty if there is none.
find_role() {
  trust_now='' tag='' others=''
  if ask iam get-role --role-name "$role" --query Role.AssumeRolePolicyDocument --output json; then
    trust_now=$(compact <<<"$answer")
    tag=$(call iam get-role --role-name "$role" --query "Role.Tags[?Key=='made-by'].Value | [0]")
    others=$(call iam list-role-policies --role-name "$role" \
      --query "join(' ', PolicyNames[?@ != '$inline'])")
    others+=$(call iam list-attached-role-policies --role-name "$role" \
      --query "join(' ', AttachedPolicies[].PolicyName)")
  elif [[ $said != *NoSuchEntity* ]]; then
    explain 'iam get-role'
  fi
}

# Sets $issuer, of the cluster and without https://, and sees to it that IAM trusts it.
find_provider() {
  local clients command
  if ask eks describe-cluster --name "$cluster" --query cluster.identity.oidc.issuer; then
    issuer=${answer#https://}
  elif [[ $said == *ResourceNotFound* ]]; then
    fail "There is no cluster $cluster in $region: check CLUSTER_NAME and AWS_REGION."
  else
    explain 'eks describe-cluster'
  fi
  [[ -n $issuer && $issuer != None ]] || fail "The cluster $cluster names no OIDC issuer."
  provider="arn:$partition:iam::$account:oidc-provider/$issuer"
  if ask iam get-open-id-connect-provider --open-id-connect-provider-arn "$provider" \
    --query 'ClientIDList'; then
    clients=$answer
    command=(iam add-client-id-to-open-id-connect-provider
      --open-id-connect-provider-arn "$provider" --client-id "$audience")
    if [[ " ${clients//$'\t'/ } " == *" $audience "* ]]; then
      printf '%s: unchanged\n' "$provider"
      return
    fi
  elif [[ $said == *NoSuchEntity* ]]; then
    command=(iam create-open-id-connect-provider
      --url "https://$issuer" --client-id-list "$audience")
  else
    explain 'iam get-open-id-connect-provider'
  fi
  [[ -n $create_provider ]] ||
    fail "IAM does not trust the cluster's OIDC issuer for $audience: run this with --create-provider, or: aws ${command[*]}"
  change "${command[@]}"
  if [[ -z $dry_run ]]; then printf '%s: created or completed\n' "$provider"; fi
}

allow() { # name, actions with commas between, resources with commas between, condition or nothing
  policy+=${policy:+,}"{\"Sid\":\"$1\",\"Effect\":\"Allow\",\"Action\":[\"${2//,/\",\"}\"],"
  policy+="\"Resource\":[\"${3//,/\",\"}\"]${4:+,\"Condition\":$4}}"
}

objects() { # s3://bucket/prefix: the ARN of everything under it
  local under=${1#s3://}
  while [[ $under == */ ]]; do under=${under%/}; done
  printf 'arn:%s:s3:::%s/*' "$partition" "$under"
}

# What the calls of dpp_feedback/ need, and no more: a test compares the two.
write_policy() {
  local sqs ses drain
  sqs="arn:$partition:sqs:$region:$account"
  ses="arn:$partition:ses:$region:$account"
  drain='sqs:ChangeMessageVisibility,sqs:DeleteMessage,sqs:GetQueueAttributes,sqs:ReceiveMessage'
  policy=''
  allow DrainBothQueues "$drain" "$sqs:$queue,$sqs:$dlq"
  allow SeeRedrives sqs:ListMessageMoveTasks "$sqs:$dlq"
  # AWS has no resource to name for these.
  allow ReadFigures cloudwatch:GetMetricStatistics,ses:GetSendStatistics,ses:ListSuppressedDestinations '*'
  if [[ -n $alert_topic ]]; then allow Alert sns:Publish "$alert_topic"; fi
  if [[ -n $mail_from ]]; then
    # In the sandbox SES asks for the recipients' identities as well: the sender bounds it.
    allow Mail ses:SendRawEmail "$ses:identity/*,$ses:configuration-set/*" \
      "{\"StringEqualsIgnoreCase\":{\"ses:FromAddress\":\"$mail_from\"}}"
  fi
  if [[ $reports == s3://* ]]; then allow WriteReports s3:PutObject "$(objects "$reports")"; fi
  if [[ -n $compute_logs ]]; then
    allow WriteComputeLogs s3:PutObject "$(objects "$compute_logs")"
  fi
  if [[ ${UPDATE_SES:-} == 1 ]]; then allow UpdateSes ses:PutSuppressedDestination '*'; fi
  if [[ ${ALLOW_REDRIVE:-} == 1 ]]; then
    allow Redrive sqs:CancelMessageMoveTask,sqs:StartMessageMoveTask "$sqs:$dlq"
    allow RedriveBack sqs:SendMessage "$sqs:$queue"
  fi
  policy="{\"Version\":\"2012-10-17\",\"Statement\":[$policy]}"
}

set_role() {
  local trust now=''
  trust="{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Federated\":\"$provider\"},\"Action\":\"sts:AssumeRoleWithWebIdentity\",\"Condition\":{\"StringEquals\":{\"$issuer:aud\":\"$audience\",\"$issuer:sub\":\"system:serviceaccount:$namespace:$service_account\"}}}]}"
  if [[ -z $trust_now ]]; then
    change iam create-role --role-name "$role" --assume-role-policy-document "$trust" \
      --description 'SES feedback: the pods that drain the queue' \
      --tags "Key=made-by,Value=$made_by"
    if [[ -z $dry_run ]]; then printf '%s: created\n' "$role"; fi
  elif [[ $trust_now == "$trust" ]]; then
    printf '%s: unchanged\n' "$role"
  else
    [[ -n $update_trust ]] ||
      fail "There is a role $role that trusts something else than $service_account in $namespace of $cluster, $trust_now: choose another ROLE_NAME, or overwrite its trust with --update-trust."
    change iam update-assume-role-policy --role-name "$role" --policy-document "$trust"
    if [[ -z $dry_run ]]; then printf '%s: trust changed\n' "$role"; fi
  fi
  if [[ -n $others ]]; then
    printf 'Warning: %s has more rights than these, from: %s\n' "$role" "$others"
  fi
  if [[ -n $trust_now ]]; then now=$(policy_now); fi
  if [[ $now == "$policy" ]]; then
    printf '%s/%s: unchanged\n' "$role" "$inline"
  else
    change iam put-role-policy --role-name "$role" --policy-name "$inline" \
      --policy-document "$policy"
    if [[ -z $dry_run ]]; then printf '%s/%s: written\n' "$role" "$inline"; fi
  fi
}

policy_now() {
  if ask iam get-role-policy --role-name "$role" --policy-name "$inline" --query PolicyDocument \
    --output json; then
    compact <<<"$answer"
  elif [[ $said != *NoSuchEntity* ]]; then
    explain 'iam get-role-policy'
  fi
}

delete_all() {
  local gone=() now=''
  if [[ -n $trust_now ]]; then now=$(policy_now); fi
  if [[ -n $now ]]; then gone+=("$role/$inline"); fi
  if [[ $tag == "$made_by" ]]; then
    [[ -z $others ]] ||
      fail "$role has policies that this script did not make, $others: take them off first."
    gone+=("$role")
  elif [[ -n $trust_now ]]; then
    printf '%s: stays, this script did not make it\n' "$role"
  fi
  if [[ ${#gone[@]} -eq 0 ]]; then
    printf 'Nothing to delete.\n'
    return
  fi
  confirm "Delete ${gone[*]}?"
  if [[ ${gone[0]} == "$role/$inline" ]]; then
    change iam delete-role-policy --role-name "$role" --policy-name "$inline"
  fi
  if [[ $tag == "$made_by" ]]; then change iam delete-role --role-name "$role"; fi
  if [[ -z $dry_run ]]; then printf '%s: deleted\n' "${gone[@]}"; fi
}

find_account
find_role
if [[ -n $delete ]]; then
  delete_all
  exit 0
fi
call sqs get-queue-url --queue-name "$queue" >/dev/null
call sqs get-queue-url --queue-name "$dlq" >/dev/null
write_policy
find_provider
set_role
if [[ -z $dry_run ]]; then
  printf 'ROLE_ARN=arn:%s:iam::%s:role/%s\n' "$partition" "$account" "$role" >&3
fi
