"""Every refusal, with its stable code and the exit status it ends a tool with.

Rules: a refusal is raised, a problem (`core.fold`) is returned, a bug is an
assertion. Programs compare `code`, never `message`. `CODES` is the one table:
the tools exit by it and the manual pages print it.
"""

from collections.abc import Mapping
from typing import Any

DONE, NO, USAGE, NOT_FOUND, REFUSED, CONFLICT, BAD_DATA, TRY_AGAIN = range(8)
BUG = 70
INTERRUPTED = 130

STATUSES: Mapping[int, str] = {
    DONE: "done, or yes",
    NO: "no: the question was answered no, or there was nothing",
    USAGE: "usage: the command line is not understood",
    NOT_FOUND: "not found",
    REFUSED: "refused by rule",
    CONFLICT: "conflict: somebody else holds it, or its state does not allow this",
    BAD_DATA: "bad data",
    TRY_AGAIN: "try again: nothing is known to be wrong with the request",
    BUG: "a bug in the tool; please report the traceback",
    INTERRUPTED: "interrupted",
}

CODES: Mapping[str, tuple[int, str]] = {
    "nothing": (NO, "nothing matches, or nothing came in time"),
    "damaged": (NO, "a journal has damage; what can be read is used"),
    "usage": (USAGE, "the command line is not understood"),
    "unknown_setting": (USAGE, "no such setting"),
    "bad_config": (USAGE, "config.yaml cannot be used as it is"),
    "unknown_work": (NOT_FOUND, "no such work item"),
    "unknown_check": (NOT_FOUND, "no such acceptance check"),
    "unknown_event": (NOT_FOUND, "no such event"),
    "unknown_agent": (NOT_FOUND, "no such agent in the registry"),
    "unknown_message": (NOT_FOUND, "no such message or thread"),
    "unknown_recipient": (NOT_FOUND, "nobody of that name is known; see the suggestions"),
    "unknown_lease": (NOT_FOUND, "no such lease, or nobody holds this resource"),
    "unknown_run": (NOT_FOUND, "no such run"),
    "ambiguous": (NOT_FOUND, "a shortened id fits more than one"),
    "no_file": (NOT_FOUND, "no such file"),
    "no_commit": (NOT_FOUND, "no such commit in this repository"),
    "no_store": (NOT_FOUND, "there is no .coord folder; ev init makes one"),
    "no_repository": (NOT_FOUND, "not inside a git repository"),
    "no_remote": (NOT_FOUND, "there is no such git remote"),
    "no_identity": (REFUSED, "it is not known who acts"),
    "unverified": (REFUSED, "it needs another agent's pass first"),
    "paused": (REFUSED, "the agent is paused"),
    "not_allowed": (REFUSED, "this actor may not do this"),
    "hops": (REFUSED, "a chain of automatic replies has become too long"),
    "rate": (REFUSED, "the sender has reached its cap of messages a minute"),
    "read_only": (REFUSED, "the store cannot be written"),
    "remote_refused": (REFUSED, "the git remote does not take our refs"),
    "held": (CONFLICT, "somebody else holds it"),
    "deadlock": (CONFLICT, "those who wait would wait for each other for ever"),
    "lost": (CONFLICT, "another clone has won what this host had promised"),
    "not_held": (CONFLICT, "the actor does not hold it, or no longer"),
    "fenced": (CONFLICT, "a newer hold was good by then"),
    "wrong_state": (CONFLICT, "the state does not allow this"),
    "not_ready": (CONFLICT, "the item waits for something"),
    "exists": (CONFLICT, "there is one already"),
    "cycle": (CONFLICT, "items would need each other in a circle"),
    "key_reused": (CONFLICT, "the idempotency key stands for something else"),
    "id_reused": (CONFLICT, "two different events have one id"),
    "bad_data": (BAD_DATA, "the data does not fit its schema"),
    "foreign_id": (BAD_DATA, "event ids are minted by the writer, not given"),
    "too_large": (BAD_DATA, "over the limit"),
    "busy": (TRY_AGAIN, "a lock was not free in time"),
    "unreachable": (
        TRY_AGAIN,
        "the remote, or a host, does not answer, or not to these credentials",
    ),
    "unconfirmed": (TRY_AGAIN, "it is not known whether the remote confirmed it"),
    "disk": (TRY_AGAIN, "the disk refused the write; nothing was acknowledged"),
    "clock": (TRY_AGAIN, "this store's own newest event lies too far in the future"),
    "git_failed": (TRY_AGAIN, "git did not answer as it should"),
    "interrupted": (INTERRUPTED, "interrupted"),
}


class Refusal(Exception):
    """A request that is not carried out.

    code: one of `CODES`, which gives the exit status.
    message: names the thing and says what is the case.
    hint: the next step, when there is one.
    facts: further JSON values for programs (`holder`, `pointer`, `line`, …).
    """

    def __init__(self, code: str, message: str, hint: str = "", **facts: Any) -> None:
        assert code in CODES, code
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.facts = facts

    @property
    def status(self) -> int:
        """The exit status of a tool that ends with this refusal."""
        return CODES[self.code][0]

    def at_line(self, number: int) -> None:
        """Name the line of a batch that is to blame."""
        if "line" not in self.facts:
            self.facts["line"] = number
            self.message = f"line {number}: {self.message}"

    def as_json(self) -> dict[str, Any]:
        """The object printed under `error` for programs."""
        known = {"code": self.code, "message": self.message, "hint": self.hint}
        return {key: value for key, value in {**known, **self.facts}.items() if value != ""}
