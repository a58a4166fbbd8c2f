"""Making the looks of one area, and reading what they found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpp_feedback.doctor.examine import examine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpp_feedback.doctor.finding import Examination, Finding


def found(looks: Sequence[Examination]) -> dict[str, list[Finding]]:
    """Make the looks; the findings by check."""
    checks: dict[str, list[Finding]] = {}
    for findings in examine(looks).values():
        for finding in findings:
            checks.setdefault(finding.check, []).append(finding)
    return checks


def only(looks: Sequence[Examination], check: str) -> Finding:
    """Make the looks; the one finding of a check."""
    (finding,) = found(looks)[check]
    if finding.verdict != "pass":
        # The sentence of an error says itself what to do.
        assert finding.next_step or ": " in finding.found or ". " in finding.found
    return finding
