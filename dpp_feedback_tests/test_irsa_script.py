"""scripts/phase3_irsa.sh, with the real AWS CLI, against the stand-in.

EKS's DescribeCluster is answered by aws_front.py, as EKS's API reference documents it.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import botocore.session
import pytest
from botocore import xform_name

import dpp_feedback
from dpp_feedback_tests.aws_front import Front, front
from dpp_feedback_tests.aws_script import SCRIPTS, Script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback.local.stack import Stack

NAME = "phase3_irsa.sh"
ACCOUNT = "000000000000"
CLUSTER = "dpp-production"
SQS = f"arn:aws:sqs:ap-northeast-2:{ACCOUNT}"
TOPIC = f"arn:aws:sns:ap-northeast-2:{ACCOUNT}:alerts"
EVERY_RIGHT = {
    "SES_FEEDBACK_ALERT_TOPIC_ARN": TOPIC,
    "SES_FEEDBACK_MAIL_FROM": "Alerts <alerts@decisionproof.example>",
    "SES_FEEDBACK_REPORTS": "s3://dpp-reports/feedback/",
    "COMPUTE_LOGS": "s3://dpp-logs",
    "UPDATE_SES": "1",
    "ALLOW_REDRIVE": "1",
}


@pytest.fixture
def own() -> str:
    return uuid4().hex


@pytest.fixture
def issuer(own: str) -> str:
    return f"oidc.eks.ap-northeast-2.amazonaws.com/id/{own.upper()}"


@pytest.fixture
def aws(stack: Stack, issuer: str) -> Iterator[Front]:
    with front(stack.settings()["AWS_ENDPOINT_URL"]) as state:
        state.clusters[CLUSTER] = f"https://{issuer}"
        yield state


@pytest.fixture
def session(stack: Stack) -> boto3.Session:
    settings = stack.settings()
    return boto3.Session(
        settings["AWS_ACCESS_KEY_ID"],
        settings["AWS_SECRET_ACCESS_KEY"],
        region_name="ap-northeast-2",
    )


@pytest.fixture
def iam(stack: Stack, session: boto3.Session) -> Any:
    return session.client("iam", endpoint_url=stack.settings()["AWS_ENDPOINT_URL"])


@pytest.fixture
def script(stack: Stack, session: boto3.Session, aws: Front, own: str, tmp_path: Path) -> Script:
    settings = stack.settings()
    sqs = session.client("sqs", endpoint_url=settings["AWS_ENDPOINT_URL"])
    names = {"QUEUE_NAME": f"queue-{own}", "DLQ_NAME": f"dlq-{own}"}
    for name in names.values():
        sqs.create_queue(QueueName=name)
    names |= {"ROLE_NAME": f"role-{own}", "AWS_REGION": "ap-northeast-2"}
    login = {name: settings[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return Script(NAME, names | login | {"AWS_ENDPOINT_URL": aws.url}, tmp_path)


def _statements(iam: Any, script: Script) -> dict[str, dict[str, Any]]:
    said = iam.get_role_policy(RoleName=script.settings["ROLE_NAME"], PolicyName="ses-feedback")
    return {statement["Sid"]: statement for statement in said["PolicyDocument"]["Statement"]}


def test_it_makes_the_role_twice_changes_nothing_and_delete_leaves_nothing(
    script: Script, iam: Any, own: str, issuer: str
) -> None:
    provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"
    create = f"aws iam create-open-id-connect-provider --url https://{issuer} "
    assert create in script.complains()
    assert script.changes() == []
    rehearsed = script.works("--create-provider", "--dry-run")
    assert rehearsed.stdout == ""
    would = rehearsed.stderr.splitlines()
    assert all(line.startswith("would run: aws iam ") for line in would)
    assert script.changes() == []

    first = script.works("--create-provider")
    assert first.stdout == f"ROLE_ARN=arn:aws:iam::{ACCOUNT}:role/role-{own}\n"
    assert script.changes() == [
        "iam create-open-id-connect-provider",
        "iam create-role",
        "iam put-role-policy",
    ]
    assert len(would) == 3
    role = iam.get_role(RoleName=f"role-{own}")["Role"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust == {
        "Effect": "Allow",
        "Principal": {"Federated": provider},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {
                f"{issuer}:aud": "sts.amazonaws.com",
                f"{issuer}:sub": f"system:serviceaccount:{CLUSTER}:decisionproof-ses-feedback-sa",
            }
        },
    }
    said = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=provider)
    assert said["ClientIDList"] == ["sts.amazonaws.com"]
    assert list(_statements(iam, script)) == ["DrainBothQueues", "SeeRedrives", "ReadFigures"]

    second = script.works()
    assert second.stdout == first.stdout
    assert script.changes() == []
    assert [line.rpartition(": ")[2] for line in second.stderr.splitlines()] == ["unchanged"] * 3

    assert script.complains("--delete", answer="\n") == "Nothing deleted."
    script.works("--delete", "--yes")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName=f"role-{own}")
    assert script.works("--delete").stderr == "Nothing to delete.\n"
    assert script.changes() == []


def test_a_role_with_another_trust_is_refused_and_a_run_goes_on_after_a_refusal(
    script: Script, iam: Any, aws: Front, own: str
) -> None:
    aws.refused["PutRolePolicy"] = "AccessDenied"
    assert script.complains("--create-provider") == (
        "This login may not call iam put-role-policy: ask for the right, then run this again."
    )
    aws.refused.clear()
    script.works()
    assert script.changes() == ["iam put-role-policy"]

    other = {"NAMESPACE": "staging"}
    sentence = script.complains(**other)
    assert sentence.startswith(f"There is a role role-{own} that trusts something else")
    assert "--update-trust" in sentence
    assert script.changes() == []
    script.works("--update-trust", **other)
    assert script.changes() == ["iam update-assume-role-policy"]

    iam.attach_role_policy(
        RoleName=f"role-{own}", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess"
    )
    warned = script.works(**other).stderr
    assert f"Warning: role-{own} has more rights than these, from: ReadOnlyAccess" in warned
    assert "take them off first" in script.complains("--delete", "--yes")

    iam.untag_role(RoleName=f"role-{own}", TagKeys=["made-by"])
    ended = script.works("--delete", "--yes")
    assert script.changes() == ["iam delete-role-policy"]
    assert f"role-{own}: stays, this script did not make it" in ended.stderr


def test_the_policy_holds_what_the_product_calls_and_no_more(
    script: Script, iam: Any, own: str
) -> None:
    script.works("--create-provider", **EVERY_RIGHT)
    statements = _statements(iam, script)
    allowed = {action for statement in statements.values() for action in statement["Action"]}
    assert allowed == _actions_of_the_product()

    queue, dlq = f"{SQS}:queue-{own}", f"{SQS}:dlq-{own}"
    ses = f"arn:aws:ses:ap-northeast-2:{ACCOUNT}"
    assert {name: statement["Resource"] for name, statement in statements.items()} == {
        "DrainBothQueues": [queue, dlq],
        "SeeRedrives": [dlq],
        "ReadFigures": ["*"],
        "Alert": [TOPIC],
        "Mail": [f"{ses}:identity/*", f"{ses}:configuration-set/*"],
        "WriteReports": ["arn:aws:s3:::dpp-reports/feedback/*"],
        "WriteComputeLogs": ["arn:aws:s3:::dpp-logs/*"],
        "UpdateSes": ["*"],
        "Redrive": [dlq],
        "RedriveBack": [queue],
    }
    assert statements["Mail"]["Condition"] == {
        "StringEqualsIgnoreCase": {"ses:FromAddress": "alerts@decisionproof.example"}
    }
    assert all(statement["Effect"] == "Allow" for statement in statements.values())
    assert "*" not in json.dumps([statement["Action"] for statement in statements.values()])


# What IAM calls differently, or does not ask for: pages "Actions, resources, and condition keys"
# of each service in the Service Authorization Reference.
_NAMES_IN_IAM = {
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sts:GetCallerIdentity": None,  # everybody may
}
# `dpp-feedback erase` reads the list among the reports, with the login of whoever runs it.
_OPERATORS_ALONE = {"s3:GetObject"}
# StartMessageMoveTask sends messages in the name of whoever starts it.
_IMPLIED = {"sqs:StartMessageMoveTask": "sqs:SendMessage"}
_SERVICES = ("sqs", "sns", "ses", "sesv2", "s3", "sts", "cloudwatch")


def _actions_of_the_product() -> set[str]:
    """IAM's actions for every call of AWS that the source makes.

    Of local/, nothing runs in production; doctor looks at SNS's and SES's wiring with an
    operator's login, and in a pod says what it may not see.
    """
    names: dict[str, str] = {}
    methods: dict[str, str] = {}
    session = botocore.session.get_session()
    for service in reversed(_SERVICES):  # the first that has a name keeps it
        for operation in session.get_service_model(service).operation_names:
            action = f"{'ses' if service == 'sesv2' else service}:{operation}"
            names[operation] = methods[xform_name(operation)] = action
    called: set[str] = set()
    source = Path(dpp_feedback.__file__).parent
    for path in source.rglob("*.py"):
        if path.relative_to(source).parts[0] not in {"local", "doctor"}:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    called |= _called(node, node.func.attr, names, methods)
    called |= {_IMPLIED[action] for action in called if action in _IMPLIED}
    assert called >= _OPERATORS_ALONE
    called -= _OPERATORS_ALONE
    return {iam for action in called if (iam := _NAMES_IN_IAM.get(action, action))}


def _called(
    node: ast.Call, method: str, names: dict[str, str], methods: dict[str, str]
) -> set[str]:
    # ses.py's: service, operation. sqs_calls.py's and queue.py's: operation, request.
    if method in {"_call", "call", "_in_batches"}:
        words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        return {names[str(word)] for word in words if word in names}
    assert isinstance(node.func, ast.Attribute)
    holder = ast.unparse(node.func.value)
    return {methods[method]} if method in methods and holder.endswith("client") else set()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"EXPECTED_ACCOUNT": "123456789012"}, f"This login is of account {ACCOUNT}, and EXPECTED"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "AWS does not answer in ap-northeast-2"),
        ({"QUEUE_NAME": "nobody"}, "A queue is missing in ap-northeast-2: check QUEUE_NAME"),
        ({"CLUSTER_NAME": "nobody"}, "There is no cluster nobody in ap-northeast-2"),
        ({"NAMESPACE": "*"}, "NAMESPACE is *, no name of Kubernetes"),
        ({"SERVICE_ACCOUNT": "a b"}, "SERVICE_ACCOUNT is a b, no name of Kubernetes"),
        ({"SES_FEEDBACK_ALERT_TOPIC_ARN": "*"}, "SES_FEEDBACK_ALERT_TOPIC_ARN is no ARN"),
        ({"SES_FEEDBACK_MAIL_FROM": "*@b.example"}, "SES_FEEDBACK_MAIL_FROM is no mail address"),
        ({"SES_FEEDBACK_REPORTS": "s3://*"}, "SES_FEEDBACK_REPORTS is neither a folder nor"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_made(
    script: Script, settings: dict[str, str], said: str
) -> None:
    assert script.complains("--create-provider", **settings).startswith(said)
    assert script.changes() == []


def test_a_login_that_has_expired_is_one_sentence(script: Script, aws: Front) -> None:
    aws.refused["GetRole"] = "ExpiredToken"
    assert script.complains() == "AWS does not accept the credentials: log in again."


def test_an_unknown_option_is_refused_and_help_names_every_setting(script: Script) -> None:
    assert script.complains("--dlete") == "--dlete is no option; see --help."
    said = script.works("--help").stdout
    for name in ("EXPECTED_ACCOUNT", "CLUSTER_NAME", "NAMESPACE", "SERVICE_ACCOUNT", *EVERY_RIGHT):
        assert name in said


def test_it_can_be_run_from_its_own_folder(script: Script) -> None:

    ended = subprocess.run(
        [shutil.which("bash") or "bash", NAME, "--help"],
        cwd=SCRIPTS,
        env=script.settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
