"""Two globs conflict exactly when some path matches both."""

import functools
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import globs

# Every path of at most four segments, each of at most two of these characters.
ALPHABET = "ab["
SEGMENTS = ["".join(w) for size in (1, 2) for w in itertools.product(ALPHABET, repeat=size)]
PATHS = ["/".join(p) for depth in (1, 2, 3, 4) for p in itertools.product(SEGMENTS, repeat=depth)]

# Shapes whose shared path, if there is one, is no longer than those above.
PARTS = ["a", "b", "?", "*", "[ab]", "[!a]", "[a-b]", "[^-]", "[b-a]", "\\a", "[]\\ab]"]
words = st.one_of(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=2).map("".join),
    st.sampled_from(["**", "a*", "*a", "*", "a**", "[]ab]", "[a", "[!]]"]),
)
any_glob = st.lists(words, min_size=1, max_size=3).map("/".join)


def as_regex(glob: str) -> re.Pattern[str]:
    """The glob's meaning, written down a second time and in another language."""
    parts = glob.split("/")
    pattern = ""
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        if part == "**":
            pattern += "[^/]+(/[^/]+)*" if is_last else "([^/]+/)*"
        else:
            pattern += f"(?=[^/]){segment_regex(part)}" + ("" if is_last else "/")
    return re.compile(pattern, re.S)


def segment_regex(part: str) -> str:
    out, at = "", 0
    while at < len(part):
        char = part[at]
        found = re.compile(r"\[([!^]?)(\]?(?:\\.|[^\]\\])*)\]").match(part, at)
        if found and found[2]:
            inside, at = class_regex(found[2]), found.end()
            out += (f"(?!/)(?!{inside})." if found[1] else f"(?!/){inside}") if inside else "(?!)"
            if found[1] and not inside:
                out = out[:-4] + "[^/]"
            continue
        if char == "\\" and at + 1 < len(part):
            at += 1
            out += re.escape(part[at])
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char))
        at += 1
    return out


def class_regex(inside: str) -> str:
    chars = re.findall(r"\\?.", inside)
    ranges, at = [], 0
    while at < len(chars):
        low = high = chars[at][-1]
        if at + 2 < len(chars) and chars[at + 1] == "-":
            high = chars[at + 2][-1]
            at += 2
        if low <= high:
            ranges.append(f"[{re.escape(low)}-{re.escape(high)}]")
        at += 1
    return f"(?:{'|'.join(ranges)})" if ranges else ""


@functools.cache
def matched(glob: str) -> set[str]:
    regex = as_regex(glob)
    return {path for path in PATHS if regex.fullmatch(path)}


@given(any_glob)
def test_a_glob_matches_what_its_meaning_says(glob: str):
    some = PATHS[:200]

    assert {path for path in some if globs.matches(glob, path)} == matched(glob) & {*some}


@given(any_glob, any_glob)
def test_globs_overlap_exactly_when_brute_force_finds_a_path_of_both(one: str, other: str):
    """The shapes are such that a shared path, if there is one, is also among these."""
    shared = matched(one) & matched(other)

    assert globs.overlap(one, other) == bool(shared)
    assert globs.overlap(other, one) == bool(shared)


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ("lib/*.py", "lib/a*", True),
        ("lib/*.py", "lib/a*.c", False),
        ("src/**", "src", False),
        ("src/**", "src/a/b/c.py", True),
        ("src/**/x.py", "src/x.py", True),
        ("**/x.py", "src/**", True),
        ("**", "a", True),
        ("**/**", "a", True),
        ("a/*/c", "a/b", False),
        ("a/*/c", "a/**/c", True),
        ("docs/[a-m]*", "docs/[n-z]*", False),
        ("docs/[a-m]*", "docs/*.md", True),
        ("a?c", "a/c", False),
        ("x[!/]y", "x/y", False),
        ("\\*", "a", False),
        ("\\*", "*", True),
        ("\\", "\\\\", True),
        ("[a", "\\[a", True),
        ("ä*", "*ö", True),
        ("src/api/**", "src/apix", False),
        ("*ab*ab*", "*ba*ba*", True),
    ],
)
def test_examples(one: str, other: str, conflict: bool):
    assert globs.overlap(one, other) is conflict
    assert globs.overlap(other, one) is conflict


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ("README.md", "readme.MD", True),
        ("SRC/**", "src/a.py", True),
        ("[A-M]x", "cX", True),
        ("Ä", "ä", True),
        ("ß", "SS", False),
        ("a", "b", False),
    ],
)
def test_case_counts_only_where_it_is_asked_for(one: str, other: str, conflict: bool):
    assert globs.overlap(one, other, ignorecase=True) is conflict
    assert globs.overlap(one, other) is False


def test_a_class_that_leaves_a_letter_out_leaves_out_both_its_cases():
    assert globs.overlap("[!A]", "a") is True
    assert globs.overlap("[!A]", "a", ignorecase=True) is False


@given(any_glob)
def test_a_quoted_path_is_matched_by_itself_alone(text: str):
    path = "/".join(part for part in text.split("/") if part)

    found = globs.quoted(path)
    assert globs.is_literal(path) == (found == path)
    assert globs.matches(found, path)
    assert not globs.matches(found, path + "x")


def test_a_folder_is_what_every_matched_path_begins_with():
    assert globs.folder_of("src/api/*.py") == "src/api"
    assert globs.folder_of("src/a.py") == "src/a.py"
    assert globs.folder_of("**/a.py") == ""
    assert globs.folder_of("Src/A", ignorecase=True) == "src/a"
    assert globs.ancestors("a/b/c") == ["", "a", "a/b", "a/b/c"]
    assert globs.ancestors("") == [""]


def test_hostile_globs_do_not_explode():
    """What backtracking takes years for; the pairs of states are few."""
    one, other = "/".join(["**", "a"] * 20), "/".join(["**", "a"] * 20 + ["b"])

    assert globs.overlap("*a" * 40, "*a" * 40 + "b") is False
    assert globs.overlap(one, other) is False
