"""From what people write behind `--to` to the agents a message is for.

    agent:bo, human:kim, bot:ci    that agent; a bare name is an agent's
    @reviewer                      every agent registered with that role
    @all                           everybody registered

`@` never means the sender, who is told nothing new. Known is who is registered or has
written anything here; others are refused with the names that come near, unless they
are allowed. What a `@` means is decided once, by the sender's registry, and written
into the message: later changes of the registry move no mail.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core.event import AGENT_ID
from coord.core.settings import suggestion
from coord.errors import Refusal

ALL = "@all"


class Directory(NamedTuple):
    """Whom one may write to.

    is_known: whether an agent is registered or has written here. agents: the registered
    ones' states. acted: the names of all who have written, for suggestions.
    """

    is_known: Callable[[str], bool]
    agents: Callable[[], Sequence[Mapping[str, Any]]]
    acted: Callable[[], Iterable[str]]


def resolve(
    words: Iterable[str], known: Directory, sender: str, allow_unknown: bool = False
) -> list[str]:
    """The agents that these words mean, each once, in order.

    Refusals: unknown_recipient, usage.
    """
    found: list[str] = []
    for word in words:
        found += (
            _group(word, known, sender) if word[:1] == "@" else [_one(word, known, allow_unknown)]
        )
    return list(dict.fromkeys(found))


def _group(word: str, known: Directory, sender: str) -> list[str]:
    others = [agent for agent in known.agents() if agent["agent_id"] != sender]
    meant = [a["agent_id"] for a in others if word == ALL or word[1:] in a.get("roles", ())]
    if meant:
        return sorted(meant)
    roles = sorted({f"@{role}" for agent in others for role in agent.get("roles", ())})
    hint = suggestion(word, [*roles, ALL]) or (
        f"roles are {', '.join(roles)}" if roles else "ev agent register --role WORD makes one"
    )
    nobody = (
        "nobody else is registered" if word == ALL else f"no other agent has the role {word[:60]}"
    )
    raise Refusal("unknown_recipient", nobody, hint, recipient=word, suggestions=roles)


def _one(word: str, known: Directory, allow_unknown: bool) -> str:
    name = word if ":" in word else f"agent:{word}"
    if not AGENT_ID.fullmatch(name):
        hint = "write agent:NAME, human:NAME, @role or @all"
        raise Refusal("usage", f"{word[:60]!r} is no agent id", hint)
    if allow_unknown or known.is_known(name):
        return name
    names = sorted({*known.acted(), *(agent["agent_id"] for agent in known.agents())})
    near = _near(name, names)
    hint = f"did you mean {' or '.join(near)}?" if near else "ev agent list lists who is known"
    text = f"nobody here is called {name}"
    raise Refusal(
        "unknown_recipient", text, f"{hint.rstrip('?')}; --allow-unknown sends it all the same",
        recipient=name, suggestions=near,
    )  # fmt: skip


def _near(name: str, names: Sequence[str]) -> list[str]:
    import difflib

    namesakes = [other for other in names if other.partition(":")[2] == name.partition(":")[2]]
    return namesakes or difflib.get_close_matches(name[:100], names, n=3)
