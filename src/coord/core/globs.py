"""Whether a path glob matches a path, and whether two globs share one: decided, not guessed.

A path is one or more segments, parted by `/`; a segment is one or more characters.

    *        any characters of a segment, also none    [a-z] [!a-z]   one of, none of these
    ?        one character                             \\x             x itself
    **       as a whole segment: any number of segments, also none; at the end at least one

`src/**` is all below src; `**/a.py` is a.py anywhere. A dot is a character like any
other. Two globs overlap exactly when some path matches both: each is read as a small
automaton, over segments and within a segment over characters, and the pairs of their
states are searched. `ignorecase` takes letters of either case as equal.
"""

import functools
from collections.abc import Sequence

# Ranges of code points, both ends included, in order: what one character may be.
Chars = tuple[tuple[int, int], ...]
# A segment's parts: what one character may be, or None for `*`.
Segment = tuple[Chars | None, ...]

_LAST = 0x10FFFF
_SLASH = ord("/")
_SPECIAL = frozenset("*?[\\")
# A segment that is `**`.
ANY_DEPTH = None


@functools.lru_cache(maxsize=4096)
def parsed(glob: str, ignorecase: bool = False) -> tuple[Segment | None, ...]:
    """A glob's segments; `ANY_DEPTH` for `**`."""
    found: list[Segment | None] = []
    segments = split(glob)
    for number, text in enumerate(segments, start=1):
        if text != "**":
            found.append(_segment(text, ignorecase))
            continue
        if not found or found[-1] is not ANY_DEPTH:
            found.append(ANY_DEPTH)
        if number == len(segments):
            found.append((None,))
    return tuple(found)


def split(glob: str) -> list[str]:
    """A glob's segments as texts; a class may hold no slash, as in git."""
    return [part for part in glob.split("/") if part]


def is_literal(text: str) -> bool:
    """Whether a glob, or a part of one, matches nothing but itself."""
    return _SPECIAL.isdisjoint(text)


def quoted(path: str) -> str:
    """The glob that matches this path alone."""
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in path)


@functools.lru_cache(maxsize=16384)
def folder_of(glob: str, ignorecase: bool = False) -> str:
    """The leading segments that hold no pattern: what every path matched begins with."""
    kept = []
    for text in split(glob):
        if not is_literal(text):
            break
        kept.append(text)
    return folded("/".join(kept)) if ignorecase else "/".join(kept)


def folded(text: str) -> str:
    """A text with letters of either case made equal."""
    return "".join(chr(_lower(ord(char))) for char in text)


def ancestors(folder: str) -> list[str]:
    """A folder and all above it, the top ("") first."""
    found = [""]
    for place, char in enumerate(folder):
        if char == "/":
            found.append(folder[:place])
    return [*found, folder] if folder else found


# An acquire is judged several times against everything that is held.
@functools.lru_cache(maxsize=16384)
def overlap(one: str, other: str, ignorecase: bool = False) -> bool:
    """Whether some path matches both globs."""
    if not ignorecase and one == other:
        return _has_path(parsed(one))
    if not _may_overlap(folder_of(one, ignorecase), folder_of(other, ignorecase)):
        return False
    return _share(parsed(one, ignorecase), parsed(other, ignorecase))


def matches(glob: str, path: str, ignorecase: bool = False) -> bool:
    """Whether a glob matches a path."""
    return overlap(glob, quoted(path), ignorecase)


def _has_path(segments: Sequence[Segment | None]) -> bool:
    return bool(segments) and all(part is ANY_DEPTH or _is_possible(part) for part in segments)


def _may_overlap(one: str, other: str) -> bool:
    """Whether one folder is the other or lies in it: else no path is in both."""
    short, long = (one, other) if len(one) < len(other) else (other, one)
    if not long.startswith(short):
        return False
    return not short or len(long) == len(short) or long[len(short)] == "/"


def _share(one: Sequence[Segment | None], other: Sequence[Segment | None]) -> bool:
    """Search the pairs of states (how many segments of each glob are behind)."""
    end = len(one), len(other)
    seen = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        at = waiting.pop()
        if at == end:
            # The empty path is none.
            return bool(one and other)
        for after in _next_pairs(one, other, *at):
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return False


def _next_pairs(
    one: Sequence[Segment | None], other: Sequence[Segment | None], i: int, j: int
) -> list[tuple[int, int]]:
    """Where one more segment of a path, or the end of a `**`, leads."""
    is_deep = i < len(one) and one[i] is ANY_DEPTH, j < len(other) and other[j] is ANY_DEPTH
    if is_deep[0]:
        goes_on = j < len(other) and (is_deep[1] or _is_possible(other[j] or ()))
        return [(i + 1, j), (i, j + 1)] if goes_on else [(i + 1, j)]
    if is_deep[1]:
        goes_on = i < len(one) and _is_possible(one[i] or ())
        return [(i, j + 1), (i + 1, j)] if goes_on else [(i, j + 1)]
    if i < len(one) and j < len(other) and _segments_share(one[i] or (), other[j] or ()):
        return [(i + 1, j + 1)]
    return []


def _is_possible(segment: Segment) -> bool:
    """Whether any text fits: `[z-a]` takes no character."""
    return all(chars is None or chars for chars in segment)


@functools.lru_cache(maxsize=65536)
def _segments_share(one: Segment, other: Segment) -> bool:
    """Whether some text fits both segments; the same search, over characters."""
    seen = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        i, j = waiting.pop()
        if i == len(one) and j == len(other):
            return True
        for after in _next_chars(one, other, i, j):
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return False


def _next_chars(one: Segment, other: Segment, i: int, j: int) -> list[tuple[int, int]]:
    ours = one[i] if i < len(one) else ()
    theirs = other[j] if j < len(other) else ()
    if ours is None:
        # `*` ends here, or takes what the other's next part takes.
        return [(i + 1, j), (i, j + 1)] if theirs is None or theirs else [(i + 1, j)]
    if theirs is None:
        return [(i, j + 1), (i + 1, j)] if ours else [(i, j + 1)]
    return [(i + 1, j + 1)] if _meet(ours, theirs) else []


def _meet(one: Chars, other: Chars) -> bool:
    """Whether two sets of characters have one in common."""
    return any(a <= d and c <= b for a, b in one for c, d in other)


_ANY_CHAR: Chars = ((1, _SLASH - 1), (_SLASH + 1, _LAST))


def _segment(text: str, ignorecase: bool) -> Segment:
    found: list[Chars | None] = []
    place = 0
    while place < len(text):
        part, place = _part(text, place, ignorecase)
        if part is not None or not found or found[-1] is not None:
            found.append(part)
    return tuple(found)


def _part(text: str, place: int, ignorecase: bool) -> tuple[Chars | None, int]:
    """What stands at a place of a segment, and where the next part begins."""
    char = text[place]
    if char == "*":
        return None, place + 1
    if char == "?":
        return _ANY_CHAR, place + 1
    if char == "[":
        end = _class_end(text, place)
        if end:
            return _class(text[place + 1 : end], ignorecase), end + 1
    if char == "\\" and place + 1 < len(text):
        place += 1
    return _with_cases(((ord(text[place]), ord(text[place])),), ignorecase), place + 1


def _class_end(text: str, place: int) -> int:
    """Where a class that opens here is closed; 0 when it never is and `[` is a character."""
    first = place + 1 + (text[place + 1 : place + 2] in ("!", "^"))
    at = first
    while at < len(text):
        if text[at] == "]" and at > first:
            return at
        at += 2 if text[at] == "\\" else 1
    return 0


def _class(text: str, ignorecase: bool) -> Chars:
    is_negated = text[:1] in ("!", "^")
    chars = _members(text[1:] if is_negated else text)
    ranges: list[tuple[int, int]] = []
    place = 0
    while place < len(chars):
        low = high = chars[place][0]
        if place + 2 < len(chars) and chars[place + 1] == ("-", False):
            high = chars[place + 2][0]
            place += 2
        ranges.append((ord(low), ord(high)))
        place += 1
    found = _with_cases(tuple(r for r in ranges if r[0] <= r[1]), ignorecase)
    return _without_slash(_others(found) if is_negated else found)


def _members(text: str) -> list[tuple[str, bool]]:
    """A class's characters, each with whether a backslash stood before it."""
    found = []
    place = 0
    while place < len(text):
        is_escaped = text[place] == "\\" and place + 1 < len(text)
        place += is_escaped
        found.append((text[place], is_escaped))
        place += 1
    return found


def _others(ranges: Chars) -> Chars:
    """All characters but these."""
    found = []
    low = 1
    for start, end in sorted(ranges):
        if low < start:
            found.append((low, start - 1))
        low = max(low, end + 1)
    return (*found, (low, _LAST)) if low <= _LAST else tuple(found)


def _without_slash(ranges: Chars) -> Chars:
    found: list[tuple[int, int]] = []
    for start, end in ranges:
        parts = [(start, min(end, _SLASH - 1)), (max(start, _SLASH + 1), end)]
        inside = start <= _SLASH <= end
        found += [part for part in parts if part[0] <= part[1]] if inside else [(start, end)]
    return tuple(found)


def _with_cases(ranges: Chars, ignorecase: bool) -> Chars:
    """A set of characters with their other cases.

    A letter is the same as another when both have one simple lower case; a range wider
    than any alphabet takes all that lies in it and the other cases of its ASCII letters.
    """
    if not ignorecase:
        return ranges
    found = set(ranges)
    for start, end in ranges:
        for code in range(start, min(end, start + 1000) + 1):
            found.update((other, other) for other in _cases(code))
        for code in range(max(start, 65), min(end, 122) + 1):
            found.update((other, other) for other in _cases(code))
    return tuple(sorted(found))


def _cases(code: int) -> set[int]:
    char = chr(code)
    found = {code, _lower(code)}
    for changed in (char.upper(), char.lower()):
        if len(changed) == 1 and _lower(ord(changed)) == _lower(code):
            found.add(ord(changed))
    return found


def _lower(code: int) -> int:
    changed = chr(code).lower()
    return ord(changed) if len(changed) == 1 else code
