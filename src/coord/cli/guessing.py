"""Which verb was meant: the word that other programs have for it, else one spelt alike."""

from collections.abc import Sequence

from coord.core import settings

# What people try first, and the verbs it stands for, in whatever tool has one of them.
_MEANT = {
    "create": "add new make post request acquire send emit",
    "send": "mail write tell post new add create",
    "emit": "add new create log write",
    "request": "add new create submit start queue schedule",
    "acquire": "lock take get claim new add create",
    "claim": "take start begin pick grab assign work lock",
    "close": "done finish complete resolve end fix",
    "release": "unlock free drop give return unclaim",
    "update": "edit set modify change rename label",
    "show": "info view get cat describe status",
    "list": "ls all get status find",
    "inbox": "ls list mail all",
    "cancel": "kill stop abort delete rm remove",
    "logs": "log output cat tail",
    "poll": "work worker start serve",
    "exec": "do now",
    "search": "find grep",
    "comment": "note say",
    "dep": "needs block link depend",
    "log": "history",
    "watch": "follow tail wait",
    "init": "create new setup start",
    "sync": "push pull fetch",
    "check": "verify fsck doctor test status",
}  # fmt: skip


def hint(name: str, verbs: Sequence[str], otherwise: str) -> str:
    """`did you mean …?` for a word that is no verb; `otherwise` where nothing comes near."""
    meant = [verb for verb in verbs if name.casefold() in _MEANT.get(verb, "").split()]
    if meant:
        return f"did you mean {' or '.join(meant[:3])}?"
    return settings.suggestion(name, verbs) or otherwise
