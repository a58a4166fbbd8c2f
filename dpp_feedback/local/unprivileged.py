"""Under which user PostgreSQL's programs run when this program is root, for they refuse root.

An ordinary user runs them as they are. Root uses a user namespace that shows root as "nobody"
(no account is added, files stay root's), or where that is not allowed, the real "nobody", to
whom the folder is then given. Nothing else about PostgreSQL belongs here.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dpp_feedback.local.errors import StackError

_NOBODY = 65534
_NAMESPACE = ("unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}")


@dataclass(frozen=True)
class Account:
    """How to run a program, and who must own the files it works on."""

    owner: int
    prefix: tuple[str, ...] = ()
    switch_user: bool = False

    def run(
        self, argv: Sequence[str], *, cwd: Path, log: Path, env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end; what it prints goes to the end of a file.

        A file and not a pipe: a server left running by the program would keep a pipe open.
        """
        user = self.owner if self.switch_user else None
        with log.open("ab") as output:
            return subprocess.run(
                [*self.prefix, *argv],
                check=False,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )


def choose_account(program: Path, folder: Path, *, log: Path, env: Mapping[str, str]) -> Account:
    """Find a user who can run the program and write into the folder, and give the folder to it.

    Call it only while nothing works in the folder.

    Raises:
        StackError: There is none.
    """
    for account in _candidates():
        _give(folder, log, account.owner)
        # The real thing is tried: namespaces are forbidden in places, and neither root in a
        # namespace nor nobody can read another user's closed folders.
        trial = ["/bin/sh", "-c", '"$0" --version && test -w "$1"', str(program), str(folder)]
        try:
            if account.run(trial, cwd=folder, log=log, env=env).returncode == 0:
                return account
        except (OSError, subprocess.SubprocessError):  # no `unshare` here, or no right to switch
            continue
    if os.geteuid() == 0:
        raise StackError(
            f"PostgreSQL does not run as root, and user {_NOBODY} can not read {program.parent} "
            f"or write to {folder}. Run this as an ordinary user, or from a folder open to others."
        )
    raise StackError(f"{program} does not run here or {folder} is not writable; see {log}.")


def _candidates() -> list[Account]:
    if os.geteuid() != 0:
        return [Account(os.geteuid())]
    return [Account(0, prefix=_NAMESPACE), Account(_NOBODY, switch_user=True)]


def _give(folder: Path, log: Path, owner: int) -> None:
    if os.geteuid() != 0:
        return
    log.touch()
    os.chown(log, owner, -1)
    if folder.stat().st_uid != owner:
        # The folder last: it says that the rest is done.
        for path in [*folder.rglob("*"), folder]:
            os.chown(path, owner, -1, follow_symlinks=False)
