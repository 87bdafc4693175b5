"""Whom a message is for: names, roles, everybody, and nobody of that name."""

import pytest

from coord.core.msg import address
from coord.errors import Refusal

ADA = {"agent_id": "agent:ada", "roles": ["coder", "reviewer"]}
BO = {"agent_id": "agent:bo", "roles": ["reviewer"]}
KIM = {"agent_id": "human:kim"}
KNOWN = address.Directory(
    is_known=lambda name: name in ("agent:ada", "agent:bo", "human:kim", "bot:ci"),
    agents=lambda: [ADA, BO, KIM],
    acted=lambda: ["agent:ada", "bot:ci"],
)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["agent:bo"], ["agent:bo"]),
        (["bo"], ["agent:bo"]),
        (["bot:ci"], ["bot:ci"]),
        (["@reviewer"], ["agent:bo"]),
        (["@all"], ["agent:bo", "human:kim"]),
        (["@all", "bo", "@reviewer"], ["agent:bo", "human:kim"]),
        (["ada"], ["agent:ada"]),
    ],
)
def test_names_roles_and_all_mean_agents_each_once(words, found):
    """`@` never means the sender, who may still write to itself."""
    assert address.resolve(words, KNOWN, "agent:ada") == found


@pytest.mark.parametrize(
    ("word", "suggested"),
    [
        ("agent:b0", ["agent:bo"]), ("agent:kim", ["human:kim"]), ("kim", ["human:kim"]),
        ("@coders", ["@reviewer"]), ("agent:zzzzzzzz", []),
    ],
)  # fmt: skip
def test_nobody_of_that_name_is_refused_with_the_names_that_come_near(word, suggested):
    with pytest.raises(Refusal) as refused:
        address.resolve([word], KNOWN, "agent:ada")

    assert refused.value.code == "unknown_recipient"
    assert refused.value.status == 3
    assert refused.value.facts["suggestions"][: len(suggested)] == suggested


def test_an_unknown_name_may_be_allowed_and_a_role_that_nobody_has_not():
    assert address.resolve(["agent:new"], KNOWN, "agent:ada", True) == ["agent:new"]
    with pytest.raises(Refusal):
        address.resolve(["@new"], KNOWN, "agent:ada", True)


def test_what_is_no_name_at_all_is_refused():
    with pytest.raises(Refusal) as refused:
        address.resolve(["agent:"], KNOWN, "agent:ada", True)

    assert refused.value.code == "usage"


def test_all_of_nobody_else_is_refused():
    alone = KNOWN._replace(agents=lambda: [ADA])

    with pytest.raises(Refusal):
        address.resolve(["@all"], alone, "agent:ada")
