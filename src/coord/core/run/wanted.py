"""What a request may say: its fields, what fits into each, and what it means.

    argv, shell      the words to execute, or one line for sh -c; exactly one of them
    cwd              the folder, from the top of the working tree; "" is the top
    env              variables that the command gets besides the worker's
    requires         labels that the worker must have
    group            {name, limit}: of one group so many run at once; the smallest counts
    priority         0 is most urgent, 2 the default
    after            [{run_id, on}]: ok | any | failed
    not_before_ms    not before this instant
    expires_at_ms    from this instant on it is not started any more
    timeouts         {queue_ms, start_ms, idle_ms, wall_ms}
    retry            {max, backoff_ms, on}
    crash_max        how many attempts may be lost
    idempotent       whether it may be executed again when nobody knows how it ended
    grace_ms         how long after TERM comes KILL
    locks            resources that are leased while it runs, in the name of who asks
    store            names the store that asks, which alone executes it unless
    anywhere         any clone's worker may execute it: the git remote decides which
    schedule         {cron, tz} or {every_ms}; catch_up; confirmed: host, for the store that
                     asks alone, or remote: each tick is fired once by whatever clone
    stdin            whether it reads what run attach --stdin forwards, instead of nothing
    dedupe           {key, policy}: while a run with this key has not ended, a request joins
                     it, replaces it, or is refused
    tick_of, tick_ms the schedule that fired this run, and when it was due
    title, retry_of  words for people; the run that this one repeats
    repo_ref         {ref, commit}: it is executed in a workspace at this commit
    inputs           files that are laid out there, [{path, sha256, body_bytes}]
    writes           globs: it is refused when it has changed a path that none of them matches
    artifacts        globs of files to be kept as blobs when it has ended
    sandbox          {by, network, reads}: what it is confined by; see core.run.sandbox
    secrets          {NAME: file}: variables with what the files hold when it starts
    log_cap          how many bytes of its log are kept, of both ends
    resume           whether the steps of the run that it repeats count as its own

A field that is left out has no bound, or its default.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coord.core import resource
from coord.core.event import is_integer
from coord.core.run import outcome, sandbox, schedule

ON = ("ok", "any", "failed")
DEFAULT_PRIORITY = 2
DEFAULT_GRACE_MS = 5000
LEAST_LOG_CAP = 64 << 10
# The label of workers that execute at another host, of one host with `:HOST` behind it.
BY_SSH = "executor:ssh"
# What only a command on this machine can have.
_NOT_BY_SSH = ("locks", "stdin", "anywhere")
# Renewed while the command lives; after a kill -9 of everything it is free as soon as that.
LOCK_TTL = "1m"
JOIN, REPLACE, REFUSE = POLICIES = ("join", "replace", "refuse")
_HEX = frozenset("0123456789abcdef")
SPANS = ("queue_ms", "start_ms", "idle_ms", "wall_ms")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_argv(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value)) and value[0] != ""


def _is_shell(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def _is_cwd(value: object) -> bool:
    if not (isinstance(value, str) and _is_text(value)):
        return False
    return not value.startswith("/") and ".." not in value.split("/")


def _is_env(value: object) -> bool:
    return isinstance(value, dict) and all(
        name and "=" not in name and "\0" not in name and _is_text(text)
        for name, text in value.items()
    )


def _are_labels(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) and text for text in value)


def _is_group(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    name = value.get("name")
    return isinstance(name, str) and bool(name) and is_integer(value.get("limit"), least=1)


def _is_priority(value: object) -> bool:
    return is_integer(value) and value <= 4


def _are_locks(value: object) -> bool:
    if not isinstance(value, list):
        return False
    found = [resource.read(text) if isinstance(text, str) else None for text in value]
    return all(one is not None and one.kind != resource.WORK for one in found)


def _are_after(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict) and isinstance(one.get("run_id"), str) and one.get("on") in ON
        for one in value
    )


def _are_timeouts(value: object) -> bool:
    return isinstance(value, dict) and all(
        is_integer(value[name], least=1) for name in SPANS if name in value
    )


def _is_retry(value: object) -> bool:
    if not (isinstance(value, dict) and is_integer(value.get("max", 0))):
        return False
    on = value.get("on", [])
    is_known = isinstance(on, list) and all(how in outcome.RETRIED for how in on)
    return is_known and is_integer(value.get("backoff_ms", 0))


def _is_repo_ref(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    commit, ref = value.get("commit"), value.get("ref", "")
    is_name = isinstance(commit, str) and len(commit) in (40, 64) and set(commit) <= _HEX
    return is_name and _is_text(ref)


def _are_globs(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_cwd, value))


def _are_inputs(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict)
        and _is_cwd(one.get("path"))
        and bool(one["path"])
        and isinstance(one.get("sha256"), str)
        and len(one["sha256"]) == 64
        and set(one["sha256"]) <= _HEX
        for one in value
    )


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_dedupe(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    key = value.get("key")
    return isinstance(key, str) and bool(key) and value.get("policy") in POLICIES


def _is_sandbox(value: object) -> bool:
    return not sandbox.fault_in(value)


def _are_secrets(value: object) -> bool:
    return _is_env(value) and isinstance(value, dict) and all(map(_is_file, value.values()))


def _is_file(path: str) -> bool:
    return path.startswith("/")


def _is_log_cap(value: object) -> bool:
    return is_integer(value, least=LEAST_LOG_CAP)


def _is_schedule(value: object) -> bool:
    return not schedule.fault_in(value)


FIELDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "argv": (_is_argv, "a list of texts, the first of them a command"),
    "shell": (_is_shell, "a line for sh"),
    "cwd": (_is_cwd, "a folder inside the tree"),
    "env": (_is_env, "an object of texts"),
    "requires": (_are_labels, "a list of labels"),
    "group": (_is_group, "an object {name, limit}"),
    "locks": (_are_locks, "a list of resources kind:name that can be leased"),
    "priority": (_is_priority, "an integer from 0 to 4"),
    "after": (_are_after, f"a list of {{run_id, on}} with on one of {', '.join(ON)}"),
    "not_before_ms": (is_integer, "an instant"),
    "expires_at_ms": (is_integer, "an instant"),
    "timeouts": (_are_timeouts, f"an object of {', '.join(SPANS)}"),
    "retry": (_is_retry, f"an object {{max, backoff_ms, on}}, on of {', '.join(outcome.RETRIED)}"),
    "crash_max": (is_integer, "an integer"),
    "idempotent": (_is_flag, "true or false"),
    "grace_ms": (is_integer, "a span"),
    "repo_ref": (_is_repo_ref, "an object {ref, commit} with a whole commit id"),
    "inputs": (_are_inputs, "a list of {path, sha256, body_bytes}"),
    "writes": (_are_globs, "a list of globs inside the tree"),
    "artifacts": (_are_globs, "a list of globs inside the tree"),
    "sandbox": (_is_sandbox, f"an object {{by, network, reads}}, by of {', '.join(sandbox.KINDS)}"),
    "secrets": (_are_secrets, "an object of absolute paths"),
    "log_cap": (_is_log_cap, f"an integer from {LEAST_LOG_CAP} on"),
    "store": (_is_text, "a text"),
    "anywhere": (_is_flag, "true or false"),
    "schedule": (_is_schedule, "an object {cron, tz} or {every_ms}, with catch_up"),
    "stdin": (_is_flag, "true or false"),
    "dedupe": (_is_dedupe, f"an object {{key, policy}}, policy one of {', '.join(POLICIES)}"),
    "tick_of": (_is_text, "a schedule"),
    "tick_ms": (is_integer, "an instant"),
    "title": (_is_text, "a text"),
    "retry_of": (_is_text, "a run"),
    "resume": (_is_flag, "true or false"),
}


def fault_in(body: Mapping[str, Any]) -> str:
    """Name what keeps a body from being a request; "" if nothing does."""
    for name, (fits, expected) in FIELDS.items():
        if name in body and not fits(body[name]):
            return f"{name} is not {expected}"
    if "locks" in body and body.get("sandbox", {}).get("by", sandbox.NONE) != sandbox.NONE:
        return "locks cannot be taken in a sandbox"
    if asks_for_ssh(body):
        asked = [name for name in _NOT_BY_SSH if body.get(name)]
        asked += ["sandbox"] if body.get("sandbox", {}).get("by", "none") != "none" else []
        if asked:
            return f"a run at another host, executor:ssh, cannot have {asked[0]}"
    return "" if ("argv" in body) != ("shell" in body) else "a request has either argv or shell"


def asks_for_ssh(spec: Mapping[str, Any]) -> bool:
    """Whether a run is to be executed at another host."""
    return any(f"{label}:".startswith(f"{BY_SSH}:") for label in spec.get("requires", ()))


def words_of(spec: Mapping[str, Any]) -> list[str]:
    """What is executed."""
    return list(spec["argv"]) if "argv" in spec else ["/bin/sh", "-c", spec["shell"]]


def locked(spec: Mapping[str, Any], lease: Sequence[str]) -> list[str]:
    """What is executed, under the leases that the request names.

    lease: the words that start that tool. The command begins once all of them are its own.
    """
    words = words_of(spec)
    if not spec.get("locks"):
        return words
    # A leading slash is the top of the tree, whatever folder the command begins in.
    named = [re.sub("^path:", "path:/", text) for text in spec["locks"]]
    return [*lease, "exec", *named, "--wait", "--ttl", LOCK_TTL, "--", *words]


def shown(spec: Mapping[str, Any]) -> str:
    """The command as a person reads it."""
    return str(spec["shell"]) if "shell" in spec else " ".join(map(_quoted, spec["argv"]))


def _quoted(word: str) -> str:
    is_plain = bool(word) and all(c.isalnum() or c in "@%+=:,./-_" for c in word)
    return word if is_plain else "'" + word.replace("'", "'\"'\"'") + "'"
