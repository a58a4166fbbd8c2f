"""What changed between two analyses, in sentences. Nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpp_feedback.feedback.analysis import MONTH, WEEK
from dpp_feedback.feedback.rates import level
from dpp_feedback.report.sentences import incident_sentence, side_of
from dpp_feedback.report.words import KINDS, LINES, counted, number, percent, shown

if TYPE_CHECKING:
    from dpp_feedback.feedback.analysis import Analysis
    from dpp_feedback.feedback.incidents import Incident
    from dpp_feedback.feedback.rates import Rate
    from dpp_feedback.report.words import Kind

_RISERS = 3  # sources named


def changes(now: Analysis, before: Analysis) -> list[str]:
    """Say what changed: levels, rates, incidents, and the sources whose rates rose most."""
    said = [_side(kind, now, before) for kind in KINDS]
    mails, then = now.week.mails, before.week.mails
    said.append(f"{counted(mails, 'mail')} in {WEEK} days, {number(then)} before.")
    said += [
        f"New incident. {incident_sentence(incident)}"
        for incident in now.incidents
        if not any(_same(incident, other) for other in before.incidents)
    ]
    said += [
        f"Over. {incident_sentence(incident)}"
        for incident in now.incidents
        if not incident.ongoing
        and any(_same(incident, other) and other.ongoing for other in before.incidents)
    ]
    return said + _risers(now, before)


def _side(kind: Kind, now: Analysis, before: Analysis) -> str:
    new, old = side_of(now, kind), side_of(before, kind)
    said = "still " if new.level is old.level else f"from {old.level} to "
    said = f"{kind.capitalize()}s: {said}{new.level}; {_rates(new.week, old.week)} over {WEEK} days"
    own = [level(side.week, LINES[kind], now.min_volume) for side in (new, old)]
    if new.level is not old.level and own[0] is own[1]:
        said += f"; AWS's figure, estimated, {_rates(new.estimate, old.estimate)}"
    return f"{said}."


def _rates(new: Rate, old: Rate) -> str:
    if percent(new.value) == percent(old.value):
        return f"{percent(new.value)} as before"
    return f"{percent(new.value)}, before {percent(old.value)}"


def _same(one: Incident, other: Incident) -> bool:
    return (
        (one.kind, one.dimension, one.name) == (other.kind, other.dimension, other.name)
        and one.first <= other.last
        and other.first <= one.last
    )


def _risers(now: Analysis, before: Analysis) -> list[str]:
    """Name the sources whose bounce rate rose most: with enough mails, and visibly."""
    old = {group.name: group.bounce.value for group in before.sources}
    rose = []
    for group in now.sources:
        new, then = group.bounce.value, old.get(group.name)
        if new is None or then is None or group.bounce.mails < now.min_volume:
            continue
        if new > then and percent(new) != percent(then):
            rose.append((new - then, group.name, new, then))
    rose.sort(reverse=True)
    return [
        f"Bounces from {shown(name)} over {MONTH} days rose from {percent(then)} to {percent(new)}."
        for _, name, new, then in rose[:_RISERS]
    ]
