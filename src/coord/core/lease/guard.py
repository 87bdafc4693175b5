"""The hooks that coding agents run before a tool of theirs: what they ask, how to deny it.

    hook_event_name   who               paths                           how to deny
    PreToolUse        Claude Code       tool_input.file_path,           hookSpecificOutput.
                                        notebook_path                   permissionDecision
                      Codex             apply_patch: the names in the   the same
                                        patch, tool_input.command
    BeforeTool        Gemini CLI        tool_input.file_path            decision, reason
    preToolUse        Cursor            tool_input.file_path, path      permission

Only tools that change files are judged: whoever reads is in nobody's way. What a shell
command would change cannot be known; nothing is said about those.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

_READERS = frozenset(
    "Read Glob Grep LS NotebookRead read_file read_many_files list_directory glob"
    " grep_search search_file_content".split()
)
_NAMES = ("file_path", "notebook_path", "path")
_PATCHED = re.compile(r"^\*\*\* (?:(?:Add|Update|Delete) File|Move to): (.+?)\s*$", re.M)


class Question(NamedTuple):
    """May these paths be changed? As they were named in a folder, "" for where we are."""

    event: str
    folder: str
    paths: tuple[str, ...]


def read(payload: Mapping[str, Any]) -> Question:
    """What a coding agent asks on stdin; no paths when nothing is to be judged."""
    event, folder = payload.get("hook_event_name"), payload.get("cwd")
    tool, given = payload.get("tool_name"), payload.get("tool_input")
    paths: list[str] = []
    if isinstance(given, Mapping) and tool not in _READERS:
        paths = [given[name] for name in _NAMES if isinstance(given.get(name), str)]
        if tool == "apply_patch":
            paths += _patched(given)
    found = tuple(path for path in dict.fromkeys(paths) if path)
    return Question(str(event), folder if isinstance(folder, str) else "", found)


def _patched(given: Mapping[str, Any]) -> list[str]:
    texts = [given[name] for name in ("command", "input", "patch") if name in given]
    parts = [part for text in texts for part in (text if isinstance(text, list) else [text])]
    return [name for part in parts if isinstance(part, str) for name in _PATCHED.findall(part)]


def denial(event: str, reason: str) -> dict[str, Any]:
    """The answer that keeps the agent from it and tells it why, in its own form."""
    if event == "BeforeTool":
        return {"decision": "deny", "reason": reason}
    if event == "preToolUse":
        return {"permission": "deny", "user_message": reason, "agent_message": reason}
    said = {"hookEventName": "PreToolUse", "permissionDecision": "deny"}
    return {"hookSpecificOutput": {**said, "permissionDecisionReason": reason}}
