"""Calls that neither ruff nor bandit knows as dangerous, looked for in every file of ours."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("dpp_feedback", "benchmarks", "supply_chain")
WORLD_MAY_WRITE = 0o002


class Call(NamedTuple):
    """A call: what stands before the parenthesis, and the arguments with a name."""

    name: str
    named: dict[str, ast.expr]
    node: ast.Call

    def says(self, argument: str, value: object) -> bool:
        found = self.named.get(argument)
        return isinstance(found, ast.Constant) and found.value is value

    def mode(self) -> int:
        """The first argument, where it is a number in the text."""
        first = self.node.args[0] if self.node.args else None
        value = first.value if isinstance(first, ast.Constant) else 0
        return value if isinstance(value, int) else 0


class Rule(NamedTuple):
    """What is looked for, and a line that it must find."""

    why: str
    example: str
    matches: Callable[[Call], bool]


def named(*names: str) -> Callable[[Call], bool]:
    return lambda call: call.name.rpartition(".")[2] in names


RULES = {
    "no timeout": Rule(
        "a server that never answers would hold the run for ever",
        "urlopen(url)",
        lambda c: named("urlopen", "create_connection")(c) and "timeout" not in c.named,
    ),
    "keys in code": Rule(
        "keys come from the environment, the role of the pod, or nowhere",
        'boto3.client("sqs", aws_secret_access_key=secret)',
        lambda c: bool({"aws_access_key_id", "aws_secret_access_key"} & c.named.keys()),
    ),
    "TLS unchecked": Rule(
        "whoever sits between could read and answer",
        "aiohttp.TCPConnector(ssl=False)",
        lambda c: (
            c.says("ssl", value=False)
            or c.says("use_ssl", value=False)
            or c.says("check_hostname", value=False)
        ),
    ),
    "pickles by another name": Rule(
        "reading them runs what they hold",
        'pd.read_pickle("file")',
        lambda c: (
            named("read_pickle", "to_pickle")(c)
            or c.says("allow_pickle", value=True)
            or c.name.startswith(("marshal.load", "shelve.open", "joblib.load"))
        ),
    ),
    "open to everybody": Rule(
        "another user of the machine could put something in its place",
        'Path("x").chmod(0o777)',
        lambda c: (
            (named("chmod", "mkdir")(c) and bool(c.mode() & WORLD_MAY_WRITE))
            or (named("umask")(c) and not c.mode() & WORLD_MAY_WRITE)
        ),
    ),
    "a traceback in a log": Rule(
        "the last line of a foreign error may hold a row, with its address",
        'log.exception("it failed")',
        lambda c: (
            (named("exception")(c) and "log" in c.name)
            or c.says("exc_info", value=True)
            or named("print_exc", "format_exc")(c)
        ),
    ),
    "text for a program": Rule(
        "a shell would run what a name or an address holds",
        'os.popen(f"ls {name}")',
        lambda c: c.name in ("os.popen", "os.system", "subprocess.getoutput"),
    ),
    "HTML as it comes": Rule(
        "a message could put a script into the report",
        "Environment(autoescape=False)",
        lambda c: c.says("autoescape", value=False) or named("Markup")(c),
    ),
}
EXCEPTIONS = {
    ("no timeout", "benchmarks/loopback_sqs/ceiling.py"): "a server of this process, on loopback",
    ("a traceback in a log", "benchmarks/loopback_sqs/service.py"): "its messages are made up",
}


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(text: str) -> list[Call]:
    return [
        Call(_name(node.func), {k.arg: k.value for k in node.keywords if k.arg}, node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
    ]


def found() -> dict[tuple[str, str], list[int]]:
    """Lines by rule and file."""
    lines: dict[tuple[str, str], list[int]] = {}
    for path in sorted(path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")):
        for call in calls(path.read_text()):
            for title, rule in RULES.items():
                if rule.matches(call):
                    key = (title, str(path.relative_to(ROOT)))
                    lines.setdefault(key, []).append(call.node.lineno)
    return lines


@pytest.mark.parametrize("title", RULES)
def test_a_rule_finds_its_example(title: str) -> None:
    assert any(RULES[title].matches(call) for call in calls(RULES[title].example))


@pytest.mark.parametrize(
    "line",
    [
        "urlopen(url, timeout=5)",
        "Path('x').chmod(0o755)",
        "os.umask(0o077)",
        "connector(ssl=context)",
        "log.error('it failed')",
        "boto3.client('sqs', region_name=region)",
        "Environment(autoescape=True)",
    ],
)
def test_no_rule_finds_what_is_right(line: str) -> None:
    assert [title for title, rule in RULES.items() for c in calls(line) if rule.matches(c)] == []


def test_there_is_nothing_of_it_but_for_the_exceptions_with_their_reasons() -> None:
    lines = found()
    assert {key: at for key, at in lines.items() if key not in EXCEPTIONS} == {}
    assert EXCEPTIONS.keys() <= lines.keys(), "an exception is not needed any more"


def test_no_template_prints_html_as_it_comes() -> None:
    templates = [
        path
        for folder in PRODUCT
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".html", ".j2", ".jinja")
    ]
    assert templates
    for path in templates:
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", path.read_text()), path.name


def without_reason(text: str) -> set[str]:
    """The security rules that a file silences without saying why at any such place."""
    silenced = re.findall(r"# (?:noqa:|nosec) ?([SB]\d+)(?: - (\S+))?", text)
    return {code for code, _ in silenced} - {code for code, reason in silenced if reason}


def test_every_file_that_silences_a_security_rule_says_why() -> None:
    """Once for each rule, by ` - ` and the reason: after `noqa: S608`, or `nosec B608`."""
    assert without_reason("x  # noqa: S608") == {"S608"}
    assert without_reason("x  # nosec B608") == {"B608"}
    assert without_reason("x  # noqa: S608 - of constants\ny  # noqa: S608") == set()
    paths = [path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")]
    files = {str(path.relative_to(ROOT)): without_reason(path.read_text()) for path in paths}
    assert {path: codes for path, codes in files.items() if codes} == {}


def test_no_file_names_a_package_index() -> None:
    """Each machine has its own; the pins have hashes instead."""
    # In pieces, so that they are not in this file either.
    hosts = ["py" + "pi.org", "python" + "hosted", "registry.npm" + "js", "deb." + "debian"]
    options = ["index" + "-url", "trusted" + "-host", "/sim" + "ple/"]
    named = re.compile("|".join(re.escape(each) for each in hosts + options))
    suffixes = {".cfg", ".json", ".md", ".py", ".sh", ".sql", ".toml", ".txt", ".yaml", ".yml", ""}
    folders = [*PRODUCT, "dpp_feedback_tests", "docs", "k8s", "migrations", "requirements"]
    folders += ["scripts", ".github", ".ci"]
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    paths += list(ROOT.glob("*"))
    files = [path for path in paths if path.is_file() and path.suffix in suffixes]
    assert len(files) > 300
    assert [str(path) for path in files if named.search(path.read_text(errors="replace"))] == []
