"""Who lost what this host had promised: told by `sync` and by `watch`, written by nobody."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from coord.cli import kit
from coord.core import arbiter, judging
from coord.core import event as events
from coord.edge import writing
from coord.edge.index import Index
from coord.edge.replica import Replica

Row = dict[str, Any]
_TOLD = ("agent_id", "session_id", "lease_id", "resource", "fence")


def losses(call: kit.Call, known: Index, entities: Iterable[str]) -> Iterator[Row]:
    """The holds acquired here, still running, that others' events have ended.

    Each: {agent_id, session_id?, lease_id, resource, fence, work_id?, holder?}.
    """
    replica = Replica(call.place, known.newest_known())
    for entity in sorted(entities):
        state = known.state(entity)
        for hold in state.get("refused", ()):
            ours = any(map(replica.owns, known.writers_of(hold["event_id"])))
            if ours and arbiter.runs(hold, call.now_ms):
                row = {name: hold[name] for name in _TOLD if hold.get(name)}
                if "work_id" in state:
                    row["work_id"] = state["work_id"]
                winner = state.get("claim") or next(iter(state.get("holds", ())), None)
                yield {**row, "holder": winner["agent_id"]} if winner else row


def teller(call: kit.Call, kind: str) -> Callable[[Iterable[Mapping[str, Any]]], Iterator[Row]]:
    """What a `watch` derives from the events of a batch: each loss once, as a `kind`.lost."""
    return _Teller(call, kind)


class _Teller:
    def __init__(self, call: kit.Call, kind: str) -> None:
        self._call, self._kind = call, kind
        self._told: set[str] = set()

    def __call__(self, raws: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
        touched = {events.entity_of(raw) for raw in raws if raw["type"] in judging.EXCLUSIVE}
        if not touched:
            return
        with self._call.reading() as known:
            rows = list(losses(self._call, known, touched))
        for row in rows:
            if row["lease_id"] not in self._told:
                self._told.add(row["lease_id"])
                yield self._derived(row)

    def _derived(self, row: Row) -> Row:
        refs = {name: row[name] for name in ("work_id", "lease_id", "resource") if name in row}
        body = {name: row[name] for name in ("fence", "holder") if name in row}
        actor = {name: row[name] for name in ("agent_id", "session_id") if name in row}
        ts = writing.stamp(self._call.now_ms)
        told = {"ts": ts, "type": f"{self._kind}.lost", "actor": actor, "refs": refs, "body": body}
        return {**told, "derived": True}
