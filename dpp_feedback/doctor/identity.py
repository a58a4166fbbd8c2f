"""Who this process is to AWS: a role, and no key that stays valid until somebody deletes it.

How credentials are found is botocore's business: its own resolver tells. No key is ever shown.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dpp_feedback.aws_errors import AwsRefused, explaining
from dpp_feedback.doctor.finding import Examination, Finding, failed, passed, warned
from dpp_feedback.doctor.queue import QUEUE
from dpp_feedback.errors import FeedbackError
from dpp_feedback.masking import masked
from dpp_feedback.resources import FeedbackQueue, aws_region, names_set

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.session import Session

    from dpp_feedback.doctor.aws import Aws
    from dpp_feedback.doctor.surroundings import Surroundings

# botocore's names for how it found credentials.
_POD_ROLE = {
    "assume-role-with-web-identity": "IRSA",
    "container-role": "EKS Pod Identity, or ECS",
}
_STATIC = {"env", "shared-credentials-file", "config-file", "boto-config", "ec2-credentials-file"}
_IRSA = (
    "Give the pod's service account its role (eks.amazonaws.com/role-arn): "
    "scripts/phase3_irsa.sh makes it."
)
_UNSET = "Remove them, and delete the keys in IAM; a pod gets its role by scripts/phase3_irsa.sh."
_SIGN_ONLY = "Leave it so here, where keys only sign; in production a role takes their place."


def examinations(aws: Aws, where: Surroundings) -> list[Examination]:
    """Look at the login, at places where keys lie about, and at the region."""
    area = "identity"
    return [
        Examination(area, "credentials", partial(_credentials, where)),
        Examination(area, "static keys", partial(_static_keys, where)),
        Examination(area, "caller", partial(_caller, aws, where)),
        Examination(area, "AWS_REGION", _region),
        Examination(area, "AWS_ENDPOINT_URL", partial(_endpoint, where)),
    ]


def _session() -> Session:
    from botocore.session import Session

    return Session()


def _credentials(where: Surroundings) -> Iterator[Finding]:
    check = "credentials"
    with explaining("GetCallerIdentity", service="STS"):
        credentials = _session().get_credentials()
    if credentials is None:
        yield failed(
            check,
            "boto3 finds none.",
            _IRSA if where.pod else "Log in, or start the local stack with `dpp-feedback up`.",
        )
        return
    method = str(credentials.method)
    found = f"botocore found them by {method}"
    if method in _POD_ROLE:
        yield passed(check, f"{found} ({_POD_ROLE[method]}).")
    elif method in _STATIC:
        yield _of_keys(check, f"{found}: keys, no role.", where, temporary=bool(credentials.token))
    elif where.pod:
        yield warned(check, f"{found}: that is not the pod's own role.", _IRSA)
    else:
        yield passed(check, f"{found}; they expire by themselves.")


def _static_keys(where: Surroundings) -> Iterator[Finding]:
    check, clean = "static keys", True
    if where.keys:
        clean = False
        yield _of_keys(
            check,
            f"In the environment (or .env): {', '.join(where.keys)}.",
            where,
            temporary="AWS_SESSION_TOKEN" in where.keys,
        )
    for variable in ("credentials_file", "config_file"):
        for path, profile, temporary in _keys_in(variable):
            clean = False
            yield _of_keys(
                check, f"In {path}, profile {masked(profile)}.", where, temporary=temporary
            )
    if clean:
        yield passed(check, "None in the environment, in the credentials file and in the config.")


def _keys_in(variable: str) -> Iterator[tuple[str, str, bool]]:
    """Find the profiles with keys in one of botocore's files, without looking at the keys."""
    from botocore.configloader import raw_config_parse

    path = str(_session().get_config_variable(variable))
    if not Path(path).expanduser().is_file():
        return
    with explaining("GetCallerIdentity", service="STS"):
        profiles = raw_config_parse(path)
    for profile, said in profiles.items():
        if isinstance(said, dict) and {"aws_access_key_id", "aws_secret_access_key"} & said.keys():
            yield path, profile, "aws_session_token" in said


def _of_keys(check: str, found: str, where: Surroundings, *, temporary: bool) -> Finding:
    if where.stand_in:
        return warned(check, found, _SIGN_ONLY)
    if temporary:
        return warned(
            check,
            f"{found} They are temporary: they expire, and nobody renews them.",
            _IRSA if where.pod else "Fine for a look; what runs for longer needs a role.",
        )
    return failed(check, found, _UNSET)


def _caller(aws: Aws, where: Surroundings) -> Iterator[Finding]:
    check = "caller"
    said = aws.call("sts", "GetCallerIdentity")
    arn = str(said.get("Arn", ""))
    # "arn:aws:sts::123456789012:assumed-role/Role/session": both may be named after a person, and
    # a local part may hold a slash and a colon, so masking the whole would hide too much.
    shown = "/".join(masked(part) for part in arn.split("/"))
    if ":assumed-role/" in arn:
        yield passed(check, shown)
    elif where.stand_in:
        yield warned(check, f"{shown} is no role.", _SIGN_ONLY)
    else:
        yield failed(
            check,
            f"{shown} is no role: its keys stay valid until somebody deletes them.",
            _IRSA if where.pod else "Take a role: aws sso login, or a profile with role_arn.",
        )
    try:
        owner = FeedbackQueue().connect().url.split("/")[3]
    except FeedbackError:  # told elsewhere
        return
    account = str(said.get("Account", ""))
    if account != owner:
        yield warned(
            "account",
            f"The caller belongs to {account}, the queue of {QUEUE} to {owner}.",
            "Correct one of them, unless another account's queue is meant.",
        )
    else:
        yield passed("account", f"{account}, which the queue belongs to.")


def _region() -> Iterator[Finding]:
    region = aws_region()
    told = "" if "AWS_REGION" in names_set() else ", the default: the setting is not set"
    yield passed("AWS_REGION", f"{region}{told}.")


def _endpoint(where: Surroundings) -> Iterator[Finding]:
    check = "AWS_ENDPOINT_URL"
    if where.endpoint is None:
        yield passed(check, "It is not set: calls go to AWS.")
    elif not where.host:
        raise AwsRefused("AWS_ENDPOINT_URL is no URL: correct it, or unset it to call AWS.")
    elif where.pod or not where.stand_in:
        yield warned(
            check,
            f"Every call goes to {where.host}.",
            "Unset it: in production boto3 knows each service's address. For one service there is "
            "AWS_ENDPOINT_URL_SQS and the like.",
        )
    else:
        yield passed(check, f"A stand-in for AWS answers, at {where.host}.")
