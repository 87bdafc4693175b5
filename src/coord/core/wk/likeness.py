"""How much two work items say the same, and why one may think so.

    same name elsewhere     their `external_ref` is the same: 100
    else                    the share of words that both titles have (half of it), how far
                            the titles are alike letter by letter (three tenths), and the
                            share of words of both descriptions (two tenths), of 100

Common little words do not count, and words are compared without their endings:
`crash`, `crashes` and `crashed` are one.
"""

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from coord.core.wk.searching import words_of

LEAST = 40
_SHOWN = 8
_SHORTEST = 4
_ENDINGS = ("ing", "ed", "es", "s")
_WORDS_OF_TEXT = 400
_LITTLE = frozenset(
    "a an and are as at be but by can do does for from has have if in into is it its no not of on"
    " or so that the then there this to up use was we when where which will with".split()
)


def told(words: list[str]) -> list[str]:
    """The words that say something, without endings, each once, in order."""
    return list(dict.fromkeys(_stem(word) for word in words if word not in _LITTLE))


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST:
            return word[: -len(ending)]
    return word


def compared(
    one: Mapping[str, Any], other: Mapping[str, Any], texts: tuple[str, str] = ("", "")
) -> dict[str, Any]:
    """How alike two items are: {score: 0 to 100, reasons: [sentences]}.

    one, other: `title` and, where there is one, `external_ref`. texts: their descriptions.
    """
    mine, yours = told(words_of(one["title"])), told(words_of(other["title"]))
    shared = [word for word in mine if word in set(yours)]
    nearness = SequenceMatcher(None, " ".join(mine), " ".join(yours), autojunk=False).ratio()
    long = [set(told(words_of(text)[:_WORDS_OF_TEXT])) for text in texts]
    in_texts = _share(long[0], long[1])
    points = 50 * _share(set(mine), set(yours)) + 30 * nearness + 20 * in_texts
    reasons = []
    if mine == yours and mine:
        reasons.append("the titles say the same")
    elif shared:
        reasons.append(f"both titles have {', '.join(shared[:_SHOWN])}")
    if nearness >= 0.8 and mine != yours:
        reasons.append(f"the titles are {round(100 * nearness)} % alike")
    if in_texts >= 0.3:
        reasons.append(f"the descriptions share {round(100 * in_texts)} % of their words")
    reference = one.get("external_ref")
    if reference and reference == other.get("external_ref"):
        return {"score": 100, "reasons": [f"both are {reference} elsewhere", *reasons]}
    return {"score": round(points), "reasons": reasons}


def _share(one: set[str], other: set[str]) -> float:
    """The part of all words that both have."""
    return len(one & other) / len(one | other) if one and other else 0.0
