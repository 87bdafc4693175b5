"""Who acts, and for which project.

agent     --as, else $COORD_AGENT, else git config coord.agent,
          else human:<slug of git user.name>
session   --session, else $COORD_SESSION
project   owner/name of the origin remote, else the folder's name
"""

import os

from coord.core import event as events
from coord.core.draft import Author
from coord.edge import environment, git
from coord.edge.store import FOLDER, Place
from coord.errors import Refusal

_HOW = "name one with --as agent:NAME, COORD_AGENT=agent:NAME, or git config coord.agent agent:NAME"


def author(place: Place, as_option: str, session_option: str) -> Author:
    """Who writes here. Refuses with `no_identity`."""
    settings = git.settings(place.tree)
    named = as_option or environment.get(environment.AGENT) or settings.get("coord.agent", "")
    if not named and settings.get("user.name", "").strip():
        named = f"human:{events.slug(settings['user.name'])}"
    if not named:
        raise Refusal("no_identity", "it is not known who acts", _HOW)
    session = session_option or environment.get(environment.SESSION)
    return Author(agent_id(named), session, _project(place, settings))


def agent_id(text: str) -> str:
    """A whole agent id; a bare name is an agent's."""
    whole = text if ":" in text else f"agent:{text}"
    if not events.AGENT_ID.fullmatch(whole):
        hint = "an id is agent:NAME, human:NAME or bot:NAME, without spaces"
        raise Refusal("usage", f"{text[:60]!r} is no agent id", hint)
    return whole


def _project(place: Place, settings: dict[str, str]) -> str:
    url = settings.get("remote.origin.url", "").rstrip("/").removesuffix(".git")
    parts = [part for part in url.replace(":", "/").split("/") if part]
    if len(parts) >= 2:
        return "/".join(parts[-2:])
    name = os.path.basename(place.tree) or FOLDER
    return name.removesuffix(".git") or name
