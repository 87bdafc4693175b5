"""Moving journals between clones through git, and nothing else (DESIGN §9).

One round: ask the remote what it has; fetch the refs that changed and append their lines
to our copies; push what of our own journals it lacks, each ref by compare-and-swap. With
nothing to do that is one question and no write. A round that is interrupted anywhere is
finished by the next one: what was settled is remembered last (`kept`).

One clone, one round at a time: `flock` on `attic/`. The store's lock is never held while
git talks to the remote.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import sync
from coord.edge import clock, git, index, store
from coord.edge.index import Index
from coord.edge.replica import Replica
from coord.edge.store import Place
from coord.edge.sync import forks, incoming, kept, outgoing
from coord.edge.sync.target import Target, failed, is_race, refused, unreachable
from coord.errors import Refusal

LOCK_WAIT_S = 900.0
_TRIES = 6
_HELD = 1000
# After the commands of a ref: say which commit it has come to.
MARKED = b"get-mark :1\n"


class Report(NamedTuple):
    """What a round did: per writer {writer, events, before?, after?}, and what it met.

    entities: whose events came in.
    """

    brought: list[dict[str, Any]]
    sent: list[dict[str, Any]]
    retries: int
    problems: list[dict[str, Any]]
    entities: set[str]


class Syncer:
    """One clone and one remote."""

    def __init__(
        self, place: Place, repository: git.Repository, target: Target, now_ms: int
    ) -> None:
        self.place, self.repository, self.target = place, repository, target
        self._now_ms = now_ms
        self.kept: dict[str, Any] = {}
        self.listed: Mapping[str, str] = {}
        self._report = Report([], [], 0, [], set())
        self._anew: set[str] = set()

    @contextlib.contextmanager
    def locked(self, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
        """No other process of this clone syncs meanwhile."""
        with store.locked(incoming.attic_of(self.place.store), wait_s):
            self.kept = kept.load(self.place.local, self.target.key)
            try:
                yield
            except git.Failed as failure:
                raise failed(failure) from None

    def save(self) -> None:
        """Remember what is settled."""
        kept.save(self.place.local, self.target.key, self.kept)

    def note_held(self, lease_id: str, until_boot_ms: int) -> None:
        """Remember until when, on this machine's boot-time clock, a hold is confirmed."""
        held = self.kept["held"]
        held.pop(lease_id, None)
        held[lease_id] = [clock.boot_id(), until_boot_ms]
        for old in list(held)[:-_HELD]:
            del held[old]

    def listing(self) -> dict[str, str]:
        """The remote's refs by their name behind the prefix: one round trip."""
        answer, found = self.repository.remote_refs(self.target.remote, self.target.prefix)
        if answer.status:
            raise unreachable(self.target, answer)
        self.listed = found
        return found

    @property
    def journals(self) -> dict[str, str]:
        """The refs of the last listing that hold journals."""
        return {k: v for k, v in self.listed.items() if incoming.is_journal(k)}

    def round(self, *, pull: bool = True, push: bool = True, restore: bool = False) -> Report:
        """Sync once; the lock is held."""
        for tries in range(_TRIES):
            self.listing()
            if not restore and self._is_settled():
                return self._report._replace(retries=tries)
            if pull:
                self.pull(self.journals)
            else:
                self.forget(self._no_longer_there())
                self._take(self._own(self.journals))
            if not push or self.push(self.journals, restore):
                self.save()
                return self._report._replace(retries=tries)
        text = f"{self.target.remote} moved {_TRIES} times while we pushed"
        raise Refusal("busy", text, "sync again")

    def _is_settled(self) -> bool:
        """Whether both sides are as the last round left them."""
        if self.journals != self.kept["refs"] or self.kept["gone"]:
            return False
        with index.opened(self.place.store, self._now_ms) as known:
            here = known.all_tips(), known.wounds()
        return here == (self.kept["tips"], self.kept["wounds"])

    def plan(self, pull: bool, push: bool, restore: bool) -> Report:
        """What a round would do, as far as can be known without fetching; no lock is needed."""
        self.kept = kept.load(self.place.local, self.target.key)
        self.listing()
        self._no_longer_there()
        listing = self.journals
        changed = [
            {"writer": incoming.writer_of(name) or name, "after": tip}
            for name, tip in sorted(listing.items())
            if pull and self.kept["refs"].get(name) != tip
        ]
        with index.opened(self.place.store, self._now_ms) as known:
            found = self._beyond(known, known.all_tips(), restore)[0] if push else {}
        going = [
            {"writer": writer, "events": sum(map(len, lines.values()))}
            for writer, lines in sorted(found.items())
        ]
        return Report(changed, going, 0, [], set())

    def pull(self, listing: Mapping[str, str]) -> None:
        """Bring our copies up to what the remote has."""
        self.forget(self._no_longer_there())
        self.kept["wounds"] = self._take(listing)

    def _take(self, listing: Mapping[str, str]) -> dict[str, int]:
        """Take what is new of these refs; answer the damage that there is then."""
        with index.opened(self.place.store, self._now_ms) as known:
            wounds, tips = known.wounds(), known.all_tips()
        refs, hurt = self.kept["refs"], self._hurt(wounds, tips)
        again = {name for name in listing if hurt and incoming.may_have(name, hurt)}
        changed = sorted({name for name, tip in listing.items() if refs.get(name) != tip} | again)
        if not changed:
            return wounds
        self._fetch(changed, again)
        return self._wounds()

    def _no_longer_there(self) -> list[str]:
        """The refs that the remote has lost: what they held is settled no more."""
        listing, refs = self.journals, self.kept["refs"]
        ended = [name for name in refs if name not in listing]
        for name in ended:
            del refs[name]
            self.kept["reached"].pop(name, None)
        return ended

    def _own(self, listing: Mapping[str, str]) -> dict[str, str]:
        """The refs of this clone's own writers."""
        with index.opened(self.place.store, self._now_ms) as known:
            replica = Replica(self.place, known.newest_known())
        return {k: v for k, v in listing.items() if replica.owns(incoming.writer_of(k))}

    def _hurt(self, wounds: Mapping[str, int], tips: Mapping[str, list[Any]]) -> set[str]:
        """The writers whose journals have new damage here, or end earlier than they did."""
        hurt = [name for name in wounds if wounds[name] != self.kept["wounds"].get(name)]
        for name, settled in self.kept["tips"].items():
            if name not in tips or tips[name][0] < settled[0]:
                hurt.append(name)
        return {name.partition("/")[2] for name in hurt}

    def forget(self, names: Sequence[str]) -> None:
        """Delete refs of our own that follow nothing any more."""
        commands = "".join(f"delete {self.target.tracking}{name}\n" for name in names)
        if names:
            self.repository("update-ref", "--stdin", stdin=commands.encode())

    def _wounds(self) -> dict[str, int]:
        """The journals that are damaged here, and in how many places."""
        with index.opened(self.place.store, self._now_ms) as known:
            return known.wounds()

    def fetch(self, names: Sequence[str]) -> None:
        """Let our own refs follow these of the remote; refuses with `unreachable`."""
        tracking, prefix = self.target.tracking, self.target.prefix
        specs = [f"+{prefix}{name}:{tracking}{name}" for name in names]
        self.repository.clear_locks(tracking)
        answer = self.repository.fetch(self.target.remote, specs)
        if answer.status:
            raise unreachable(self.target, answer)

    def made(self, commands: Sequence[bytes]) -> list[str]:
        """The commits that these commands make, one for each `MARKED`.

        Refuses with `git_failed`, where one of their bases is not there for one.
        """
        self.repository.clear_locks(self.target.tracking)
        try:
            return self.repository.write_commits(commands)
        except git.Failed as failure:
            raise failed(failure) from None

    def _fetch(self, names: Sequence[str], again: set[str]) -> None:
        tracking = self.target.tracking
        self.fetch(names)
        there = self.repository.refs(tracking)
        before = {n: self.kept["refs"][n] for n in names if n in self.kept["refs"]}
        known = self._ancestors({n: c for n, c in before.items() if n not in again}, there)
        for name in names:
            if name not in known:
                self.kept["reached"].pop(name, None)
        taken = incoming.Incoming(self.place, self.repository, tracking, self._wounds())
        # A writer that has come back goes on where the archive ends.
        for group in ([incoming.ARCHIVE], [n for n in names if n != incoming.ARCHIVE]):
            if group and group[0] in names:
                bases = [known[name] for name in group if name in known]
                taken.take(group, bases, self.kept["reached"])
        self.kept["refs"].update({name: there[name] for name in names})
        self._expect(names, taken)
        self._note(taken, before, there)
        left = forks.leave_names(self.place, taken.writers, self._now_ms) if taken.writers else ""
        if left:
            text = f"somebody else has written as {left}; this clone goes on under a new name"
            self._report.problems.append({"code": "forked", "message": text, "writer": left})

    def _expect(self, names: Sequence[str], taken: incoming.Incoming) -> None:
        """Remember how far copies go that have grown: one that ends earlier has lost lines."""
        forked = {problem.get("journal") for problem in taken.problems} | {*self.kept["forked"]}
        tips = self.kept["tips"]
        for name in names:
            for journal, reach in self.kept["reached"].get(name, {}).items():
                grew = reach[0] > tips.get(journal, [0])[0]
                if grew and journal.partition("/")[2] in taken.events and journal not in forked:
                    tips[journal] = reach

    def _ancestors(self, known: Mapping[str, str], there: Mapping[str, str]) -> dict[str, str]:
        """The commits known before that their refs still go on from."""
        if not known:
            return {}
        lines = [*known.values(), *(f"^{there[name]}" for name in known)]
        answer = self.repository("rev-list", "--stdin", stdin="\n".join(lines).encode() + b"\n")
        if not answer.status and not answer.out:
            return dict(known)
        return {
            name: base
            for name, base in known.items()
            if not self.repository("merge-base", "--is-ancestor", base, there[name]).status
        }

    def _note(
        self, taken: incoming.Incoming, before: Mapping[str, str], after: Mapping[str, str]
    ) -> None:
        for writer, count in sorted(taken.events.items()):
            row: dict[str, Any] = {"writer": writer, "events": count}
            for part, tips in (("before", before), ("after", after)):
                if f"w/{writer}" in tips:
                    row[part] = tips[f"w/{writer}"]
            self._report.brought.append(row)
        self._report.problems.extend(taken.problems)
        self._report.entities.update(taken.entities - {""})

    def push(self, listing: Mapping[str, str], restore: bool = False) -> bool:
        """Push what the remote lacks; whether nobody had moved one of the refs meanwhile."""
        bundles, tips, gone = self._unsent(listing, restore)
        seen = self.kept["refs"]
        names = [f"w/{bundle.writer}" for bundle in bundles if bundle.base]
        unseen = [name for name in names if seen.get(name) != listing[name]]
        if unseen:
            # Nothing goes on from a commit whose lines nobody here has looked at.
            self._fetch(unseen, set())
            bundles, tips, gone = self._unsent(listing, restore)
        for journal in gone:
            text = f"{journal}: the remote has lost lines that we hold; --restore puts them back"
            self._report.problems.append({"code": "gone", "message": text, "journal": journal})
        if bundles and not self._send(bundles):
            return False
        self.kept.update(tips=tips, gone=gone)
        return True

    def _send(self, bundles: Sequence[outgoing.Bundle]) -> bool:
        commits = self._commits(bundles)
        refs = [f"{self.target.prefix}w/{bundle.writer}" for bundle in bundles]
        moves = list(zip(refs, [b.base for b in bundles], commits, strict=True))
        answer, unmoved = self.repository.push(self.target.remote, moves)
        if answer.status and not unmoved:
            raise unreachable(self.target, answer)
        for bundle, ref, commit in zip(bundles, refs, commits, strict=True):
            if ref not in unmoved:
                self._settle(bundle, commit)
        for reason in unmoved.values():
            if not is_race(reason):
                self.save()
                raise refused(self.target, reason)
        return not unmoved

    def _settle(self, bundle: outgoing.Bundle, commit: str) -> None:
        name = f"w/{bundle.writer}"
        self.kept["refs"][name] = commit
        self.kept["reached"].setdefault(name, {}).update(bundle.reach())
        row = {"writer": bundle.writer, "events": bundle.events, "after": commit}
        self._report.sent.append({**row, "before": bundle.base} if bundle.base else row)

    def _commits(self, bundles: Sequence[outgoing.Bundle]) -> list[str]:
        """The commits to push; what they go on from is fetched where it is not at hand."""
        going_on = [bundle for bundle in bundles if bundle.base]
        if not self.repository.has([bundle.base for bundle in going_on]):
            self.fetch([f"w/{bundle.writer}" for bundle in going_on])
        commands: list[bytes] = []
        for bundle in bundles:
            ref = f"{self.target.tracking}w/{bundle.writer}"
            commands += outgoing.commits(self.place.store, ref, bundle)
            commands.append(MARKED)
        return self.made(commands)

    def _unsent(
        self, listing: Mapping[str, str], restore: bool
    ) -> tuple[list[outgoing.Bundle], dict[str, list[Any]], list[str]]:
        """What of every journal the remote lacks, how far each goes, and what it has lost."""
        while True:
            with index.opened(self.place.store, self._now_ms) as known:
                tips = known.all_tips()
                found, forked, gone = self._beyond(known, tips, restore)
            if forked:
                self._look_anew({writer for _, writer in forked}, listing)
            if not forked or not forks.write_again(self.place, forked, self._now_ms):
                break
        bundles = [
            outgoing.Bundle(writer, listing.get(f"w/{writer}", ""), lines)
            for writer, lines in sorted(found.items())
        ]
        return bundles, tips, gone

    def _look_anew(self, writers: set[str], listing: Mapping[str, str]) -> None:
        """Take what the remote has of these writers from its first line on, once a sync.

        Our journal may have lost lines, and gone on, since the remote was last looked at.
        """
        names = {name for name in listing if incoming.may_have(name, writers)} - self._anew
        self._anew |= names
        if names:
            self._fetch(sorted(names), names)

    def _beyond(
        self, known: Index, tips: Mapping[str, list[Any]], restore: bool
    ) -> tuple[dict[str, dict[str, list[sync.Line]]], list[tuple[str, str]], list[str]]:
        reached, settled = kept.reached(self.kept), self.kept["tips"]
        found: dict[str, dict[str, list[sync.Line]]] = {}
        forked, gone = [], []
        short = {name: tip for name, tip in tips.items() if tip != reached.get(name)}
        replica = Replica(self.place, known.newest_known()) if short else None
        for name, tip in sorted(short.items()):
            tool, writer = name.split("/")
            reach = reached.get(name, [])
            is_ours = replica is not None and replica.owns(writer)
            if not (restore or is_ours or settled.get(name) != tip):
                # It came from the remote once, which has less of it now.
                gone += [name] if not reach or reach[0] < tip[0] else []
                continue
            if self.kept["forked"].get(name) == [tip, reach] and not restore:
                continue
            lines = outgoing.beyond(self.place.store, tool, writer, reach)
            if lines is None:
                forked += [(tool, writer)] if is_ours or restore else []
                self.kept["forked"][name] = [tip, reach]
            elif lines:
                found.setdefault(writer, {})[tool] = lines
        return found, forked, gone
