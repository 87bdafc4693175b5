"""What all tools share, told in plain text: the pages of `TOOL help TOPIC`.

A topic is its title and its lines. Those that are tables elsewhere in the program
(environment, files, exits, errors) are told from there.
"""

from collections.abc import Mapping

from coord.errors import CODES, STATUSES

TOPICS: Mapping[str, tuple[str, ...]] = {
    "store": (
        "where everything is kept",
        "All facts are lines of JSON in the folder .coord at the root of the main working tree;",
        "every linked worktree of a clone uses that one. Journals are appended and never changed.",
        "All else is made of them: .coord/local may be deleted at any time. The store is the one",
        "of --dir or COORD_DIR, else it is looked for upward. ev init makes one, and ev init",
        "--inline one that is a tracked folder of the branch. ev check says what is damaged.",
    ),
    "agents": (
        "who acts",
        "An agent is agent:NAME, human:NAME or bot:NAME; a bare NAME is an agent's. It comes from",
        "--as, else COORD_AGENT, else the git setting coord.agent, else git's user.name as a",
        "human. ev agent registers one, and pauses and resumes it.",
    ),
    "leases": (
        "who may touch this now, until when",
        "A lease is on a resource: path:src/** (globs meet where some path matches both),",
        "env:staging, branch:main, a place in a pool. A claim is a lease on a work item and is",
        "taken with wk claim. Both end at expires_at_ms unless renewed: the next one who asks",
        "has it. The fence grows each time a resource changes hands; a guarded write of an older",
        "hold has no effect.",
    ),
    "confirmed": (
        "who decided that it is mine",
        "host    Nobody sharing this .coord can have it too: decided under a lock.",
        "remote  Nobody in any clone who also asks for remote can: one compare-and-swap on the",
        "        git remote decided it. Ask with --confirm remote.",
        "none    Recorded; another clone may have won, and the next sync tells.",
        "A host claim is not exclusive between clones. A holder that sleeps past its time and",
        "then acts is stopped only where its fence is checked. After a take-over or break while",
        "the old holder is cut off, two believe that they have it.",
    ),
    "sync": (
        "how clones exchange their journals",
        "ev sync moves journals through refs of its own on a git remote: no branch, index,",
        "working tree, hook or stash is touched. Each writer has a ref that nobody else pushes,",
        "so nothing is merged. With nothing new it asks once and writes nothing. It may be",
        "interrupted anywhere: the next one finishes. ev sync --watch 30 goes on.",
    ),
    "ids": (
        "how things are named",
        "wk- run- lease- th- and 8 letters and digits; events and messages have 26 characters",
        "that sort by time. Imported items keep their ids. Any unique beginning of three or more",
        "characters will do.",
    ),
    "time": (
        "spans and instants",
        "Spans: 90s, 15m, 2h, 1d, 1w, 1h30m; a plain number is seconds. Instants:",
        "2026-01-31, 2026-01-31T09:00Z, now, '2h ago', 'in 2h'; without an offset in UTC.",
    ),
    "output": (
        "what is printed where",
        "Data goes to stdout: JSON Lines in a pipe or with --json, tables on a terminal; --quiet",
        "prints ids alone. Words for people go to stderr. NO_COLOR turns colours off; no meaning",
        "is in a colour alone. A TEXT may be - for stdin or @FILE for a file.",
    ),
    "retries": (
        "how to repeat a command without harm",
        "A write with --key KEY that is repeated adds nothing and prints what the first one did,",
        "marked duplicate. The scope of a key is the agent and the type of event.",
    ),
    "environment": ("the variables that the tools read",),
    "files": ("what lies where",),
    "exits": ("the exit statuses of all tools",),
    "errors": ("the codes of refusals; programs compare these, never the texts",),
}


def tables() -> Mapping[str, Mapping[str, str]]:
    """The topics that are tables, as names with their meanings."""
    from coord.cli import manual

    codes = {code: f"{meaning} (exit {status})" for code, (status, meaning) in CODES.items()}
    return {
        "environment": manual.ENVIRONMENT,
        "files": manual.FILES,
        "exits": {str(status): meaning for status, meaning in STATUSES.items()},
        "errors": codes,
    }
