"""What a search asks for, and where an item answers it.

    word        every word has to be there, in the title, the description or a comment
    "two words" next to each other, in this order
    begin*      a word that begins so; also the last one of a phrase

Words are runs of letters and digits; case and accents do not count. Any other sign
only separates words, so no text is a fault: at worst it has no word to search for.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# How much a word counts by where it stands; the order is that of the index's columns.
WEIGHTS: Mapping[str, float] = {"title": 10.0, "description": 3.0, "comments": 1.0}
EXCERPT_CHARS = 90
_PART = re.compile(r'"([^"]*)(?:"|$)(\*?)|(\S+)')
# Letters that may carry an accent, in one sign or as one of its own.
_ACCENTED = re.compile("[\u00c0-\u024f\u0300-\u036f\u0370-\u052f\u1e00-\u1fff]")
_WORD = re.compile(r"[^\W_]+")

# A text per name of `WEIGHTS`, "" where an item has none.
Texts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Term:
    """One thing to find: words that follow each other.

    text: as it was typed, without its quotes and star. is_prefix: the last word may go on.
    """

    text: str
    words: tuple[str, ...]
    is_prefix: bool = False


def words_of(text: str) -> list[str]:
    """The words of a text, in order, as they are compared."""
    plain = _without_accents(text) if _ACCENTED.search(text) else text
    return _WORD.findall(plain.lower())


def _without_accents(text: str) -> str:
    # Its tables take as long to load as a search does.
    import unicodedata

    apart = unicodedata.normalize("NFD", text)
    kept = "".join(char for char in apart if not unicodedata.combining(char))
    return unicodedata.normalize("NFC", kept)


def parse(text: str) -> list[Term]:
    """What a text asks for; [] when it has no word."""
    found = []
    for phrase, star, bare in _PART.findall(text):
        # SQLite's texts end at a NUL.
        said = (phrase or bare.rstrip("*")).replace("\0", " ")
        words = tuple(words_of(said))
        if words:
            found.append(Term(said, words, star == "*" or bare.endswith("*")))
    return found


def query_of(terms: Sequence[Term], word: str = " AND ") -> str:
    """The terms in the language of SQLite's FTS5, each quoted: nothing in them is syntax."""
    quoted = ('"' + term.text.replace('"', '""') + '"' for term in terms)
    stars = ("*" if term.is_prefix else "" for term in terms)
    return word.join(text + star for text, star in zip(quoted, stars, strict=True))


def places(words: Sequence[str], term: Term) -> list[int]:
    """Where a term stands among words: the number of its first word, each time."""
    size = len(term.words)
    whole, last = term.words[:-1], term.words[-1]
    return [
        start
        for start in range(len(words) - size + 1)
        if (words[start + size - 1] == last
            or (term.is_prefix and words[start + size - 1].startswith(last)))
        and tuple(words[start : start + size - 1]) == whole
    ]  # fmt: skip


def score(texts: Texts, terms: Sequence[Term]) -> float:
    """How well an item answers, 0 where a term is missing: for a scan without an index."""
    split = {name: words_of(texts[name]) for name in WEIGHTS}
    total = 0.0
    for term in terms:
        counts = {name: len(places(words, term)) for name, words in split.items()}
        if not any(counts.values()):
            return 0.0
        # A word in a short text says more than one of thousands.
        total += sum(
            WEIGHTS[name] * count / (count + 1 + len(split[name]) / 100)
            for name, count in counts.items()
        )
    return total


def answer(texts: Texts, terms: Sequence[Term]) -> dict[str, object]:
    """Where an item has the terms: {found_in: [names], excerpt?}.

    excerpt: the surroundings of the first term that is not in the title alone.
    """
    found: dict[str, object] = {
        "found_in": [
            name for name in WEIGHTS if any(places(words_of(texts[name]), term) for term in terms)
        ]
    }
    for name in WEIGHTS:
        cut = _excerpt(texts[name], terms) if name != "title" else ""
        if cut:
            return {**found, "excerpt": cut}
    return found


def _excerpt(text: str, terms: Sequence[Term]) -> str:
    """The first line's part around the first term found, at most so many characters."""
    for term in terms:
        at = places(words_of(text), term)
        if at:
            return _around(text, at[0])
    return ""


def _around(text: str, number: int) -> str:
    """What stands around the word of this number.

    Taking accents off may split words otherwise; then the place is nearly right.
    """
    starts = [found.start() for found in _WORD.finditer(text)]
    if not starts:
        return ""
    middle = starts[min(number, len(starts) - 1)]
    begin = max(0, middle - EXCERPT_CHARS // 3)
    end = begin + EXCERPT_CHARS
    cut = " ".join(text[begin:end].split())
    return ("…" if begin else "") + cut + ("…" if end < len(text) else "")
