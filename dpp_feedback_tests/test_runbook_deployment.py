"""docs/runbook.md, all but the section "Dead-letter queue", block by block.

As another team, on the stand-ins for AWS, with kubectl_stand_in.py for the cluster. Everything is
wired once; the cases then go on in the order of the page, and the last one takes everything away.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import closing
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import dagster as dg
import psycopg
import pytest
import yaml
from dotenv import dotenv_values
from psycopg.conninfo import make_conninfo

from dpp_feedback.definitions import defs
from dpp_feedback.drain_config import LARGEST, MAX_MESSAGES
from dpp_feedback.ingest import process_feedback
from dpp_feedback.local import ports
from dpp_feedback.messages import MOST_IN_FLIGHT
from dpp_feedback.resources import FeedbackQueue
from dpp_feedback_tests.another_team import ACCOUNT, PRODUCTION, Operator
from dpp_feedback_tests.aws_front import front
from dpp_feedback_tests.k8s.rendering import containers, instance_files, of_kind, overlay
from dpp_feedback_tests.runbook import BIN, ROOT, Block, blocks, without

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dpp_feedback.local.stack import Stack

PAGE = without("Dead-letter queue")
BLOCKS = blocks(PAGE)
QUERY = "SELECT id, notification_type, source, primary_recipient"


def the(piece: str) -> Block:
    """The one block that is this text, or else holds it."""
    found = [block for block in BLOCKS if block.text == piece]
    found = found or [block for block in BLOCKS if piece in block.text]
    assert len(found) == 1, f"{len(found)} blocks hold {piece!r}"
    return found[0]


# Pasted by the fixture, in this order.
NAMES = the("export EXPECTED_ACCOUNT=")
TEAM = the("export NAMESPACE=<team>")
WIRE = the("scripts/phase3_ses_feedback_infra.sh")
LOAD = the("set -a && .")
ROLE = the("scripts/phase3_irsa.sh --create-provider")
MIGRATE = the("dpp-feedback migrate")
PODS_LOGIN = the("create role dpp_feedback_pods")
DAGSTER_DATABASE = the("create database dagster")
OVERLAY = the("sed -i.bak")
LITERALS = the("SES_FEEDBACK_TIME_ZONE=")
SECRET = the("kubectl create secret")
APPLY = the("kubectl apply -k")
FIRST = [
    *(NAMES, TEAM, WIRE, LOAD, ROLE, MIGRATE, PODS_LOGIN, DAGSTER_DATABASE),
    *(OVERLAY, LITERALS, SECRET, APPLY),
]

CREATE = the("aws ecr create-repository")
# What cannot be pasted here, and why. Lines of kubectl in them are checked all the same.
NOT_HERE = {
    CREATE: "the stand-in has no ECR; the CLI checks the call",
    the("docker build"): "needs a daemon and a registry; the tests of the image build and run it",
    the("for i in $(seq 20)"): "no pod to kill; test_acceptance.py kills a run's process",
    the("read -rsp 'Address: ' ADDRESS"): "asks for an address; removal/test_erase.py types one",
    the("select * from public.ses_feedback_events"): "as removal/test_erase.py runs it",
    the("recipient_domain = '<domain>'"): "as removal/test_erase.py runs it",
    the("freshness:"): "a part of dagster.yaml; test_instance.py loads the whole",
}


class World:
    """What the operator has, and what stands behind it."""

    def __init__(self, operator: Operator, home: Path) -> None:
        self.operator = operator
        self.home = home
        self.pods_database_url = make_conninfo(os.environ["DATABASE_URL"], user="dpp_feedback_pods")
        self.printed: dict[Block, str] = {}

    def client(self, service: str) -> Any:
        region = os.environ["AWS_REGION"]
        return boto3.client(service, region_name=region)  # type: ignore[call-overload]

    def drain(self) -> None:
        """What sensor, daemon and run pod would do, with the pods' login."""
        with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATABASE_URL", self.pods_database_url)
            job = defs.resolve_job_def(process_feedback.name)
            assert job.execute_in_process(instance=instance).success

    def rows(self) -> list[list[str]]:
        """What the page's query shows, the newest first, without ids."""
        said = self.operator.type(the(QUERY))
        table = [line.split("|") for line in said.splitlines() if "|" in line]
        return [[cell.strip() for cell in row[1:]] for row in table[1:]]


@pytest.fixture(scope="module")
def code_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A code server on loopback; yields what stands for /opt/dagster/home."""
    home, port = tmp_path_factory.mktemp("home"), ports.free_port()
    shutil.copy(ROOT / "dagster.yaml", home)
    server = {"host": "127.0.0.1", "port": port, "location_name": "dpp_feedback"}
    (home / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
    command = [str(BIN / "dagster"), "api", "grpc", "-m", "dpp_feedback.definitions"]
    with subprocess.Popen(
        [*command, "-h", "127.0.0.1", "-p", str(port)],
        env=os.environ | {"DAGSTER_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        end = monotonic() + 90
        while ports.is_free(port):
            assert running.poll() is None
            assert monotonic() < end
            sleep(0.1)
        yield home
        # Where SIGINT is ignored, as in a shell's background jobs, Dagster ignores SIGTERM too.
        running.kill()


@pytest.fixture(scope="module")
def world(
    stack: Stack, code_server: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Steps 1 to 6, as another team."""
    name = f"runbook_{uuid4().hex}"
    stack.postgres.create_database(name)
    url, settings = stack.postgres.url(name), stack.settings()
    with (
        front(settings["AWS_ENDPOINT_URL"]) as aws,
        pytest.MonkeyPatch.context() as patch,
        closing(psycopg.connect(url, autocommit=True)) as database,
    ):
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            patch.setenv(variable, settings[variable])
        patch.setenv("AWS_ENDPOINT_URL", aws.url)
        patch.setenv("DATABASE_URL", url)
        operator = Operator(tmp_path_factory.mktemp("clone"), stack, code_server, url)
        aws.clusters[operator.team] = f"https://oidc.example.com/id/{operator.team}"
        world = World(operator, code_server)
        world.client("ses").verify_domain_identity(Domain=operator.identity)
        try:
            for block in FIRST:
                if block is LITERALS:
                    _with_literals(operator)
                elif block in (NAMES, TEAM, LOAD):
                    operator.type(block, last=True)
                else:
                    answers = [world.pods_database_url] if block is SECRET else []
                    world.printed[block] = operator.type(block, *answers, "a password")
                if block is LOAD:
                    env_file = operator.folder / PRODUCTION / "ses-feedback.env"
                    for variable, value in dotenv_values(env_file).items():
                        patch.setenv(variable, value or "")
            yield world
        finally:
            database.execute("DROP DATABASE IF EXISTS dagster")
            database.execute("DROP ROLE IF EXISTS dagster, dpp_feedback_pods")
    with closing(psycopg.connect(stack.postgres.url("postgres"), autocommit=True)) as server:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _with_literals(operator: Operator) -> None:
    """Write what the page's YAML has and the overlay has not."""
    path = operator.folder / PRODUCTION / "kustomization.yaml"
    (shown,) = yaml.safe_load(LITERALS.text)["configMapGenerator"]
    literals = shown.pop("literals")
    kustomization = yaml.safe_load(path.read_text())
    (ours,) = [g for g in kustomization["configMapGenerator"] if shown.items() <= g.items()]
    ours["literals"] = literals
    path.write_text(yaml.safe_dump(kustomization))


CASES: dict[Block, Callable[[World, Block], None]] = {}
"""What is to be so before a block is pasted, and after; in the order of the page."""


def case(
    *pieces: str,
) -> Callable[[Callable[[World, Block], None]], Callable[[World, Block], None]]:
    def add(function: Callable[[World, Block], None]) -> Callable[[World, Block], None]:
        CASES.update({the(piece): function for piece in pieces})
        return function

    return add


@case("aws iam create-role --region")
def _who_may_push(world: World, block: Block) -> None:
    world.operator.type(block)
    iam, role, issuer = (
        world.client("iam"),
        "dpp-feedback-ecr",
        "token.actions.githubusercontent.com",
    )
    (trust,) = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"] == {
        "StringEquals": {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:sub": f"repo:{world.operator.team}/fork:environment:release",
        }
    }
    provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"
    assert trust["Principal"] == {"Federated": provider}
    known = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=provider)
    assert known["ClientIDList"] == ["sts.amazonaws.com"]
    policy = iam.get_role_policy(RoleName=role, PolicyName="push")["PolicyDocument"]
    (token, push) = policy["Statement"]
    assert (token["Action"], token["Resource"]) == ("ecr:GetAuthorizationToken", "*")
    assert push["Resource"].endswith(f":{ACCOUNT}:repository/dpp-feedback")
    assert "ecr:PutImage" in push["Action"]
    assert not [action for action in push["Action"] if "*" in action or "Delete" in action]
    iam.delete_role_policy(RoleName=role, PolicyName="push")
    iam.delete_role(RoleName=role)
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=provider)


@case("deployment/ses-feedback-worker -- dpp-feedback doctor")
def _doctor(world: World, block: Block) -> None:
    said = world.operator.type(block)
    assert said.count(" 0 fail") == 2, said
    subscribed = re.findall(r"^pass +(bounce|complaint|delivery) sub", said, re.MULTILINE)
    assert len(subscribed) == 2 * 3


@case("dagster schedule list")
def _sensors(world: World, block: Block) -> None:
    said = world.operator.type(block)
    assert "STOPPED" not in said
    for named in [*(defs.sensors or []), *(defs.schedules or [])]:
        assert f"{named.name} [RUNNING]" in said


@case("scripts/phase3_alarms.sh")
def _alarms(world: World, block: Block) -> None:
    world.operator.type(block)
    said = world.client("cloudwatch").describe_alarms(AlarmNamePrefix=world.operator.team)
    assert len(said["MetricAlarms"]) == 3


@case('bounce@simulator.amazonses.com --subject "Test 1"')
def _bounce(world: World, block: Block) -> None:
    world.operator.type(block)
    world.drain()
    row = ["Bounce", f"test@{world.operator.identity}", "bounce@simulator.amazonses.com"]
    assert world.rows()[0] == [*row, '"Permanent"']
    (shown,) = re.findall(r"^ Bounce \|.*", PAGE, re.MULTILINE)
    assert shown.replace("...", world.operator.identity).split(" | ")[1:] == world.rows()[0][1:]


@case("complaint@simulator.amazonses.com")
def _complaint(world: World, block: Block) -> None:
    world.operator.type(block)
    world.drain()
    source = f"test@{world.operator.identity}"
    assert ["Complaint", source, "complaint@simulator.amazonses.com", ""] in world.rows()


@case("success@simulator.amazonses.com")
def _delivery(world: World, block: Block) -> None:
    world.operator.type(block)
    world.drain()
    source = f"test@{world.operator.identity}"
    assert world.rows()[0] == ["Delivery", source, "success@simulator.amazonses.com", ""]


@case(QUERY)
def _query(world: World, _: Block) -> None:
    assert len(world.rows()) <= 5


@case("aws sqs send-message", "dpp-feedback dlq discard")
def _poison(world: World, block: Block) -> None:
    queue = FeedbackQueue(setting="SQS_DLQ_URL").connect()
    if "send-message" in block.text:
        world.operator.type(block)
        source = FeedbackQueue().connect()
        for _ in range(6):  # five receives; the sixth finds that SQS has moved it
            source.release(source.receive(1, 5).messages)
        assert queue.depth().waiting == 2
    else:
        said = world.operator.type(block)
        assert "1 not_ses, 1 readable" in said or "1 readable, 1 not_ses" in said
        assert world.rows()[0] == ["Delivery", "test@example.com", "four@example.com", ""]
        assert queue.depth().waiting == 0


@case("count(distinct ses_message_id)")
def _each_once(world: World, block: Block) -> None:
    (numbers,) = re.findall(r"^ +(\d+) \| +(\d+)$", world.operator.type(block), re.MULTILINE)
    assert numbers == ("1", "1")


@case("! grep -rnIE")
def _no_keys(world: World, block: Block) -> None:
    assert world.operator.type(block) == ""
    planted = world.operator.folder / "scripts" / "planted.sh"
    planted.write_text("key=AKIA" + "IOSFODNN7EXAMPLE")
    assert "scripts/planted.sh" in world.operator.type(block)
    planted.unlink()


@case("set role anon")
def _anon(world: World, block: Block) -> None:
    with closing(psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)) as database:
        found = database.execute("SELECT 1 FROM pg_roles WHERE rolname = 'anon'").fetchone()
        if not found:
            database.execute("CREATE ROLE anon")
        assert "permission denied" in world.operator.type(block)
        if not found:
            database.execute("DROP ROLE anon")


@case("aws iam simulate-principal-policy")
def _role_may(world: World, block: Block) -> None:
    said = dict(line.split() for line in world.operator.type(block).splitlines())
    assert said.pop("sqs:ReceiveMessage") == "allowed"
    assert len(said) == 7
    assert set(said.values()) == {"implicitDeny"}


@case("aws iam get-role")
def _who_may(world: World, block: Block) -> None:
    said = world.operator.type(block)
    team = world.operator.team
    account = f"system:serviceaccount:{team}-production:decisionproof-ses-feedback-sa"
    assert account in said
    for kind in ("bounce", "complaint", "delivery"):
        assert f"{team}-ses-{kind}" in said
    assert "aws:SecureTransport" in said


@case(
    "kubectl auth can-i --list",
    "kubectl run open",
    "kubectl port-forward",
    "kubectl get pods,jobs",
    "kubectl get serviceaccount",
    'kubectl logs -n "$NAMESPACE" deployment/ses-feedback-worker',
    "kubectl scale",
    "kubectl rollout restart",
    "kubectl rollout undo",
)
def _kubectl(world: World, block: Block) -> None:
    before = len(world.operator.kubectl())
    world.operator.type(block)
    lines = re.findall(r"^kubectl ", block.text, re.MULTILINE)
    assert len(world.operator.kubectl()) - before == len(lines)


@case("sum(count)")
def _counted(world: World, block: Block) -> None:
    assert "Complaint" in world.operator.type(block)


@case("dpp-feedback retention --dry-run")
def _retention(world: World, block: Block) -> None:
    assert "Would remove what is from before" in world.operator.type(block)


@case("dagster job launch")
def _launch(world: World, block: Block) -> None:
    with dg.DagsterInstance.from_config(str(world.home)) as instance:
        before = instance.get_runs_count()
        world.operator.type(block)
        (run, *_) = instance.get_runs(limit=1)
        assert instance.get_runs_count() == before + 1
    assert run.job_name == process_feedback.name


@case("ApproximateNumberOfMessagesNotVisible")
def _waiting(world: World, block: Block) -> None:
    assert '"ApproximateNumberOfMessages": "0"' in world.operator.type(block)


@case("dagster sensor stop")
def _pause(world: World, block: Block) -> None:
    said = world.operator.type(block)
    assert "Stopped sensor feedback_queue_sensor\nStarted sensor feedback_queue_sensor" in said


@case("dagster instance migrate")
def _dagster_migrates(world: World, block: Block) -> None:
    world.operator.type(block)


@case("phase3_irsa.sh --delete")
def _take_away(world: World, block: Block) -> None:
    team = world.operator.team
    world.operator.type(block, "yes", "yes", "yes")
    assert not world.client("cloudwatch").describe_alarms(AlarmNamePrefix=team)["MetricAlarms"]
    assert not world.client("sqs").list_queues(QueueNamePrefix=team).get("QueueUrls")
    pages = world.client("sns").get_paginator("list_topics").paginate()
    topics = [topic["TopicArn"] for page in pages for topic in page["Topics"]]
    roles = [role["RoleName"] for role in world.client("iam").list_roles()["Roles"]]
    assert not [name for name in topics + roles if team in name]


def test_every_block_is_pasted_or_listed_with_the_reason() -> None:
    assert len(set(BLOCKS)) == len(BLOCKS)
    told = [*FIRST, *CASES, *NOT_HERE]
    assert set(told) == set(BLOCKS)
    assert len(told) == len(BLOCKS)


def test_steps_1_to_6_put_the_other_team_s_names_everywhere(world: World) -> None:
    operator, manifests = world.operator, world.operator.manifests()
    rendered = yaml.safe_dump_all(manifests)
    assert "dpp-production" not in rendered
    assert "123456789012" not in rendered
    assert of_kind(manifests, "Namespace").keys() == {f"{operator.team}-production"}
    image = f"{ACCOUNT}.dkr.ecr.ap-northeast-2.amazonaws.com/dpp-feedback:0.1.0"
    pods = {name: container for name, _, container in containers(manifests)}
    assert [container["image"] for container in pods.values()] == [image] * 3
    assert {"name": "DAGSTER_CURRENT_IMAGE", "value": image} in pods["ses-feedback-worker"]["env"]
    account = of_kind(manifests, "ServiceAccount")["decisionproof-ses-feedback-sa"]
    role = f"arn:aws:iam::{ACCOUNT}:role/{operator.team}-ses-feedback"
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] == role
    settings = of_kind(manifests, "ConfigMap")["ses-feedback-config"]["data"]
    assert settings["SQS_DLQ_URL"].endswith(f"/{operator.team}-ses-feedback-dlq")
    assert settings["SES_FEEDBACK_TIME_ZONE"] == "Asia/Seoul"
    shown = world.printed[APPLY]
    assert all(word in shown for word in (image, role, f"{operator.team}-ses-feedback-queue"))


def test_an_empty_irsa_env_is_refused(world: World) -> None:
    path = world.operator.folder / PRODUCTION / "irsa.env"
    before = path.read_text()
    path.write_text("")
    with pytest.raises(subprocess.CalledProcessError):
        world.operator.manifests()
    path.write_text(before)


def test_the_secret_has_what_the_pods_read(world: World) -> None:
    (made,) = [json.loads(note["made"]) for note in world.operator.kubectl() if note["made"]]
    read = [
        entry["valueFrom"]["secretKeyRef"]
        for _, _, container in containers(world.operator.manifests())
        for entry in container["env"]
        if "secretKeyRef" in entry.get("valueFrom", {})
    ]
    assert {reference["name"] for reference in read} == {made["metadata"]["name"]}
    wanted = {reference["key"] for reference in read if not reference.get("optional")}
    assert made["data"].keys() == wanted


@pytest.mark.parametrize("block", CASES, ids=lambda block: block.name)
def test_every_block_does_what_the_page_says(block: Block, world: World) -> None:
    CASES[block](world, block)


@pytest.mark.parametrize("block", NOT_HERE, ids=lambda block: block.name)
def test_what_cannot_be_pasted_is_spelled_rightly(block: Block, world: World) -> None:
    if block.language == "yaml":
        assert yaml.safe_load(block.text).items() <= yaml.safe_load(_instance()).items()
        return
    world.operator.kubectl_of(block)
    if block is CREATE:  # a skeleton is printed only for a call that is right; nothing is called
        said = Block("bash", f"{block.text} --generate-cli-skeleton output")
        assert "repositoryUri" in world.operator.type(said)


def test_kubectl_is_only_asked_about_what_is_applied(world: World) -> None:
    namespace = f"{world.operator.team}-production"
    manifests = overlay("production")
    deployments, accounts = of_kind(manifests, "Deployment"), of_kind(manifests, "ServiceAccount")
    labels = {"app.kubernetes.io/component=run_worker", f"dagster/job={process_feedback.name}"}
    for note in world.operator.kubectl():
        words = note["words"]
        cluster = words[:2] in (["create", "namespace"], ["apply", "-k"], ["delete", "-k"])
        assert cluster or words[words.index("-n") + 1] == namespace, words
        for word, after in zip(words, [*words[1:], ""], strict=True):
            if word.startswith("deployment/"):
                assert word.partition("/")[2] in deployments
            if word.startswith("--as=") or word == "serviceaccount":
                assert (word.rpartition(":")[2] if ":" in word else after) in accounts
            if word == "-l":
                assert after in labels


def test_the_figures_of_the_page_are_those_of_the_code() -> None:
    instance = yaml.safe_load(_instance())
    runs = instance["concurrency"]["runs"]["max_concurrent_runs"]
    text = " ".join(PAGE.split())
    assert f"launches drains of {MAX_MESSAGES:,} to {LARGEST:,} messages" in text
    assert f"N x size = {MOST_IN_FLIGHT:,} messages in flight" in text
    assert f"N = {runs} at most (max_concurrent_runs in dagster.yaml)" in text
    asked = [c["resources"]["requests"] for _, _, c in containers(overlay("production"))]
    cpu = sum(int(each["cpu"].removesuffix("m")) for each in asked)
    memory = sum(int(each["memory"].removesuffix("Mi")) for each in asked)
    assert f"{cpu}m CPU and {memory} MiB all the time" in text


def test_every_link_to_a_file_leads_somewhere() -> None:
    for link in re.findall(r"\]\((?!#|https?:)([^)#]+)", PAGE):
        assert (ROOT / "docs" / link).exists(), link


def _instance() -> str:
    return instance_files(overlay("production"))["dagster.yaml"]
