"""All that Dagster's web server tells of runs, events, assets, ticks, settings and logs.

The queries are made from the server's own schema, so that no field is left out because nobody
thought of it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import requests
from graphql import (
    GraphQLObjectType,
    build_client_schema,
    get_introspection_query,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    is_required_argument,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from graphql import GraphQLNamedType, GraphQLSchema

_SECONDS = 60
_HERE = '{repositoryLocationName: "dpp_feedback", repositoryName: "__repository__"}'
# What to begin with, and how many objects deep to go from there.
_ROOTS = {
    "runs": ("runsOrError(limit: 500)", 2),
    "assets": ("assetNodes(loadMaterializations: true)", 2),
    "records": ("assetRecordsOrError", 3),
    "instance": ("instance", 3),
    "locations": ("workspaceOrError", 3),
    "sensors": (f"sensorsOrError(repositorySelector: {_HERE})", 4),
    "schedules": (f"schedulesOrError(repositorySelector: {_HERE})", 3),
    "settings": (f"utilizedEnvVarsOrError(repositorySelector: {_HERE})", 3),
    "resources": (f"allTopLevelResourceDetailsOrError(repositorySelector: {_HERE})", 3),
}
_EVENTS = 4  # so deep, too
# Fields that the server cannot answer: it fails where an asset has no partitions, misses arguments
# that its schema calls optional, and has no value for some that must have one. So many may be.
_MOST_UNANSWERED = 12
# Code, the same for each run.
_IN_ITSELF = {"PythonError"}  # a cause has a cause
_LEFT_OUT = {"Repository", "PipelineSnapshot", "Solid", "SolidDefinition", "ExecutionPlan"}


class Unanswered(Exception):
    """The server fails at some fields."""

    def __init__(self, names: set[str]) -> None:
        super().__init__(", ".join(sorted(names)))
        self.names = names


class WebServer:
    """The web server of a `dagster dev`.

    Args:
        url: where it listens.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._unanswered: set[str] = set()

    def ask(self, query: str) -> dict[str, Any]:
        """Ask a query, and return its data.

        Raises:
            Unanswered: the server fails at a field.
        """
        answer = requests.post(f"{self._url}/graphql", json={"query": query}, timeout=_SECONDS)
        said: dict[str, Any] = answer.json()
        if errors := said.get("errors"):
            assert all("path" in error for error in errors), str(errors)[:2000]
            raise Unanswered({str(error["path"][-1]) for error in errors})
        data: dict[str, Any] = said["data"]
        return data

    @cached_property
    def schema(self) -> GraphQLSchema:
        """As the server describes it."""
        return build_client_schema(self.ask(get_introspection_query()))  # type: ignore[arg-type]

    def everything(self, run_ids: Sequence[str]) -> Iterator[tuple[str, Any]]:
        """Return all answers, by a name of the question."""
        for name, (field, depth) in _ROOTS.items():
            yield name, self._answer(lambda: f"{{ {field} {self._below(field, depth)} }}")  # noqa: B023
        asked = " ".join(
            f'run{i}: logsForRun(runId: "{run_id}") {{ ...All }}'
            for i, run_id in enumerate(run_ids)
        )
        events = self._answer(
            lambda: (
                f"{{ {asked} }} fragment All on EventConnectionOrError "
                f"{self._below('logsForRun', _EVENTS)}"
            )
        )
        yield "events", events
        for run_id, said in zip(run_ids, events.values(), strict=True):
            for event in said["EventConnection_events"]:
                if key := event.get("LogsCapturedEvent_fileKey"):
                    logs = f'capturedLogs(logKey: ["{run_id}", "compute_logs", "{key}"])'
                    yield "compute logs", self.ask(f"{{ {logs} {{ stdout stderr }} }}")

    def _answer(self, query: Callable[[], str]) -> dict[str, Any]:
        """Ask, without what cannot be answered."""
        while True:
            try:
                return self.ask(query())
            except Unanswered as fields:
                found = fields.names
            new = found - self._unanswered
            assert new, found
            assert len(self._unanswered | new) <= _MOST_UNANSWERED, found
            self._unanswered |= new

    def _below(self, field: str, depth: int) -> str:
        assert self.schema.query_type
        kind = self.schema.query_type.fields[field.partition("(")[0]].type
        return self._selection(get_named_type(kind), depth, frozenset())

    def _selection(self, kind: GraphQLNamedType, depth: int, above: frozenset[str]) -> str:
        if is_leaf_type(kind):
            return ""
        if is_abstract_type(kind):
            kinds = self.schema.get_possible_types(kind)  # type: ignore[arg-type]
            parts = [f"... on {one.name} {self._fields(one, depth, above)}" for one in kinds]
            return f"{{ __typename {' '.join(parts)} }}"
        assert isinstance(kind, GraphQLObjectType)
        return self._fields(kind, depth, above)

    def _fields(self, kind: GraphQLObjectType, depth: int, above: frozenset[str]) -> str:
        parts = ["__typename"]
        for name, field in kind.fields.items():
            inner = get_named_type(field.type)
            required = any(map(is_required_argument, field.args.values()))
            if required or f"{kind.name}_{name}" in self._unanswered:
                continue
            if is_leaf_type(inner):
                below = ""
            elif depth and inner.name not in above | _LEFT_OUT:
                below = self._selection(
                    inner, depth - 1, (above | {kind.name, inner.name}) - _IN_ITSELF
                )
            else:
                continue
            # By names of their own: of two kinds, fields of one name may differ in type.
            parts.append(f"{kind.name}_{name}: {name} {below}")
        return f"{{ {' '.join(parts)} }}"
