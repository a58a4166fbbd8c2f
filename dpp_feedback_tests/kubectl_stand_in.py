"""`kubectl` for an operator without a cluster: what is typed is checked and noted.

A real kubectl reads each command and finds that nobody listens, so that its names and flags are
right. What needs no server it does (`kustomize`, a secret as it would be created), and `exec` runs
its command here, as the pod would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from dpp_feedback_tests.k8s.rendering import kubectl

NOTES, HOME = "KUBECTL_STAND_IN_NOTES", "KUBECTL_STAND_IN_HOME"
"""Of the environment: where commands are noted, a line of JSON each; what is DAGSTER_HOME here."""
_NOBODY = "http://127.0.0.1:9"
_IN_THE_POD = "/opt/dagster/home"


def main(words: list[str]) -> int:
    """Do what can be done without a server; return kubectl's exit code."""
    if words[0] == "kustomize":
        return subprocess.call([kubectl(), *words])
    typed = sys.stdin.read() if any("/dev/stdin" in word for word in words) else ""
    made = ""
    if words[:2] == ["create", "secret"]:
        made = _ask([*words, "--dry-run=client", "-o", "json"], typed).stdout
    with Path(os.environ[NOTES]).open("a") as notes:
        notes.write(json.dumps({"words": words, "made": made}) + "\n")
    asked = _ask(["--server", _NOBODY, *words], typed)
    if "refused" not in asked.stderr:
        sys.stderr.write(asked.stderr)
        return 1
    if words[0] == "exec":
        home = os.environ[HOME]
        command = [w.replace(_IN_THE_POD, home) for w in words[words.index("--") + 1 :]]
        return subprocess.call(command, env=os.environ | {"DAGSTER_HOME": home})
    return 0


def _ask(words: list[str], typed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [kubectl(), *words],
        env=os.environ | {"KUBECONFIG": os.devnull},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
