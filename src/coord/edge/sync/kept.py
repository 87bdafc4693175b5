"""What this clone remembers of a remote, so that a sync with nothing to do writes nothing.

`local/sync.json`, by remote:

    refs      the journals' refs, by their name behind the prefix, as last settled
    reached   per ref, how far it has each journal: `tool/writer` to [seq, digest]
    tips      how far each journal here went then
    forked    journals of which the remote has other lines: [our tip, its reach]
    wounds    journals with damage, and how many places of it
    gone      journals that the remote has lost, of other clones
    holds     records of holds: [commit, boot id, first seen, in ms of the boot-time clock,
              {nonce of a hold: first seen}]
    held      leases that were confirmed here: [boot id, until when, on that clock]

A cache: without it everything is compared anew, line by line.
"""

import contextlib
import os
from typing import Any

from coord.edge import clock, journal, store

NAME = "sync.json"
Reach = list[Any]
_PARTS = ("refs", "reached", "tips", "forked", "wounds", "holds", "held")


def load(local: str, remote: str) -> dict[str, Any]:
    """What is remembered of a remote; empty parts when nothing is."""
    found = _all(local).get(remote)
    kept = found if isinstance(found, dict) else {}
    parts: dict[str, Any] = {name: kept[name] for name in _PARTS if _is_object(kept, name)}
    gone = kept.get("gone")
    return {
        **{name: {} for name in _PARTS},
        **parts,
        "gone": gone if isinstance(gone, list) else [],
    }


def _is_object(kept: dict[str, Any], name: str) -> bool:
    return isinstance(kept.get(name), dict)


def _all(local: str) -> dict[str, Any]:
    try:
        with open(os.path.join(local, NAME), "rb") as stream:
            found = journal.from_json(stream.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def save(local: str, remote: str, kept: dict[str, Any]) -> None:
    """Remember; nothing is written when nothing has changed."""
    everything = _all(local)
    if everything.get(remote) == kept:
        return
    path = os.path.join(local, NAME)
    temporary = f"{path}.{os.getpid()}"
    with store.refusing_disk_errors(path), contextlib.suppress(FileNotFoundError, FileExistsError):
        os.makedirs(local, exist_ok=True)
        with open(temporary, "wb") as stream:
            stream.write(journal.as_json({**everything, remote: kept}))
        os.replace(temporary, path)


def is_over_here(local: str, lease_id: str) -> bool:
    """Whether a hold that was confirmed for this clone is over, whatever the wall clock says."""
    until_ms = _held_until(local, lease_id)
    return until_ms is not None and clock.boot_ms() >= until_ms


def until_boot_ms(local: str, lease_id: str) -> int:
    """Until when, on this machine's boot-time clock, a hold is confirmed for this clone.

    0 for what was not confirmed here, or before this machine's last start: after a restart
    a holder holds nothing.
    """
    return _held_until(local, lease_id) or 0


def _held_until(local: str, lease_id: str) -> int | None:
    """The same, but None for what was not confirmed here."""
    for kept in _all(local).values():
        held = kept.get("held", {}).get(lease_id) if isinstance(kept, dict) else None
        if held is not None:
            return int(held[1]) if held[0] == clock.boot_id() else 0
    return None


def reached(kept: dict[str, Any]) -> dict[str, Reach]:
    """How far the remote has each journal, whichever ref holds it."""
    found: dict[str, Reach] = {}
    for journals in kept["reached"].values():
        for name, reach in journals.items():
            if name not in found or reach[0] > found[name][0]:
                found[name] = reach
    return found
