#!/usr/bin/env bash
# What the AWS scripts of this folder share: calls of the AWS CLI, and its errors as one sentence.
#
# A script sources it after `set -euo pipefail`, and has $dry_run empty or not before it changes
# anything. bash 3.2 will do, macOS's own. AWS CLI v1 or v2.

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

command -v aws >/dev/null || fail "The AWS CLI is not installed: see https://aws.amazon.com/cli/."
region=${AWS_REGION:-ap-northeast-2}
queue=${QUEUE_NAME:-decisionproof-ses-feedback-queue}
dlq=${DLQ_NAME:-decisionproof-ses-feedback-dlq}
options=(--region "$region" --cli-connect-timeout 5 --cli-read-timeout 20)
# AWS CLI v1 ignores AWS_ENDPOINT_URL for some services, and would call AWS itself.
if [[ -n ${AWS_ENDPOINT_URL:-} ]]; then options+=(--endpoint-url "$AWS_ENDPOINT_URL"); fi
export AWS_PAGER='' AWS_DEFAULT_OUTPUT=text # version 2 shows answers page by page
complaints=$(mktemp)                         # what the AWS CLI writes on stderr
trap 'rm -f "$complaints"' EXIT

# Says in one sentence what the AWS CLI complained of, and ends.
explain() { # call
  case $said in
    *"Unable to locate credentials"* | *"could not be found"*profile* | *"config profile"*)
      fail "No AWS credentials: log in, or set AWS_PROFILE." ;;
    *ExpiredToken* | *InvalidClientTokenId* | *UnrecognizedClient* | *SSO*expired* | \
      *"SSO Token"* | *"oken has expired"*)
      fail "AWS does not accept the credentials: log in again." ;;
    *AccessDenied* | *AuthorizationError* | *"not authorized"*)
      fail "This login may not call $1: ask for the right, then run this again." ;;
    *NonExistentQueue* | *QueueDoesNotExist*)
      fail "A queue is missing in $region: check QUEUE_NAME ($queue), DLQ_NAME ($dlq), AWS_REGION." ;;
    *QueueDeletedRecently*)
      fail "SQS takes a queue's name again 60 seconds after its deletion: run this again then." ;;
    *Throttling* | *"Rate exceeded"* | *TooManyRequests*)
      fail "AWS takes no more calls of $1 for the moment: run this again in a minute." ;;
    *"Could not connect"* | *"onnect timeout"* | *"ead timeout"* | *"onnection was closed"*)
      fail "AWS does not answer in $region: check the network, AWS_REGION and AWS_ENDPOINT_URL." ;;
    *) fail "$1 failed: ${said:0:300}" ;;
  esac
}

# Runs the AWS CLI. $answer is what it answers, as text; if it fails, $said is why.
ask() { # service, operation, arguments
  if answer=$(aws "$@" "${options[@]}" 2>"$complaints"); then return 0; fi
  said=$(tr '\n' ' ' <"$complaints")
  return 1
}

# As `ask`, but a failure ends the script; what AWS answers goes to stdout.
call() { # service, operation, arguments
  ask "$@" || explain "$1 $2"
  printf '%s' "$answer"
}

# As `ask`, for what changes something: a failure ends the script; with --dry-run it is only printed.
change() { # service, operation, arguments
  local word plain='^[A-Za-z0-9_./:=@-]+$'
  if [[ -n $dry_run ]]; then
    printf 'would run: aws'
    for word in "$@"; do
      if [[ $word =~ $plain ]]; then printf ' %s' "$word"; else printf " '%s'" "${word//\'/\'\\\'\'}"; fi
    done
    printf '\n'
  else
    ask "$@" || explain "$1 $2"
  fi
}

# Asks for a yes, unless --yes or --dry-run says it. $yes is empty or not.
confirm() { # question
  local typed=''
  if [[ -n $yes || -n $dry_run ]]; then return; fi
  printf '%s Type yes: ' "$1"
  read -r typed || true
  [[ $typed == yes ]] || fail "Nothing deleted."
}

# Sets $account and $partition from the login, and compares with EXPECTED_ACCOUNT.
find_account() {
  local arn
  arn=$(call sts get-caller-identity --query Arn)
  # shellcheck disable=SC2034  # for the scripts
  partition=$(cut -d: -f2 <<<"$arn")
  account=$(cut -d: -f5 <<<"$arn")
  if [[ -n ${EXPECTED_ACCOUNT:-} && $account != "$EXPECTED_ACCOUNT" ]]; then
    fail "This login is of account $account, and EXPECTED_ACCOUNT is $EXPECTED_ACCOUNT: log in to that one, or correct the setting."
  fi
}

# JSON without its white space, for comparing and for one line.
compact() {
  tr -d ' \n\t'
}
