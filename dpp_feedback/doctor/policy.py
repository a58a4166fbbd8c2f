"""Reading the policy of a queue: who may send to it, and on which condition.

It reads what `scripts/` and the console write. Deny statements with conditions that depend on a
request are not judged, so SQS has the last word.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SERVICE = "sns.amazonaws.com"
_SEND = "sqs:sendmessage"
# Conditions that say whose message it is; any topic of any account comes as the service SNS.
_SOURCES = {
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourceowner",
    "aws:sourceorgid",
    "aws:principalorgid",
    "aws:principalaccount",
    "aws:principalarn",
}


def statements(policy: str) -> list[Mapping[str, Any]]:
    """Read the statements of a policy; none from what is no policy."""
    try:
        said = json.loads(policy or "{}")
    except ValueError:
        return []
    found = said.get("Statement") if isinstance(said, dict) else None
    return [each for each in _listed(found) if isinstance(each, dict)]


def topic_may_send(policy: str, topic_arn: str) -> bool:
    """Whether some statement lets SNS send what is published to this topic."""
    return any(
        _is_for_sns(statement) and _covers(statement, topic_arn) for statement in _allowing(policy)
    )


def anybody_may_send(policy: str) -> bool:
    """Whether some statement lets everybody, or everybody's topics, send: none names a source."""
    return any(
        _is_for_sns(statement) and not any(key in _SOURCES for _, key, _ in _conditions(statement))
        for statement in _allowing(policy)
    )


def requires_tls(policy: str) -> bool:
    """Whether a statement denies what comes without TLS."""
    return any(
        statement.get("Effect") == "Deny"
        and "*" in _principals(statement)
        and any(fnmatchcase(_SEND, str(a).lower()) for a in _listed(statement.get("Action")))
        and str(value).lower() == "false"
        for statement in statements(policy)
        for _, key, value in _conditions(statement)
        if key == "aws:securetransport"
    )


def _allowing(policy: str) -> Iterator[Mapping[str, Any]]:
    for statement in statements(policy):
        actions = [str(action).lower() for action in _listed(statement.get("Action"))]
        if statement.get("Effect") == "Allow" and any(fnmatchcase(_SEND, a) for a in actions):
            yield statement


def _is_for_sns(statement: Mapping[str, Any]) -> bool:
    return bool({"*", _SERVICE} & set(_principals(statement)))


def _principals(statement: Mapping[str, Any]) -> list[str]:
    said = statement.get("Principal")
    values = said.values() if isinstance(said, dict) else [said]
    return [str(principal) for value in values for principal in _listed(value)]


def _covers(statement: Mapping[str, Any], topic_arn: str) -> bool:
    """Whether the conditions on the source let this topic through; others are left to SQS."""
    account = topic_arn.split(":")[4]
    sources: dict[str, list[str]] = {}
    for operator, key, value in _conditions(statement):
        if operator.lower().startswith(("arn", "string")) and "not" not in operator.lower():
            sources.setdefault(key, []).append(str(value))
    wanted = {"aws:sourcearn": topic_arn, "aws:sourceaccount": account}
    return all(
        any(fnmatchcase(wanted[key], pattern) for pattern in patterns)
        for key, patterns in sources.items()
        if key in wanted
    )


def _conditions(statement: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
    conditions = statement.get("Condition")
    for operator, tests in (conditions if isinstance(conditions, dict) else {}).items():
        for key, values in (tests if isinstance(tests, dict) else {}).items():
            for value in _listed(values):
                yield operator, key.lower(), value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
