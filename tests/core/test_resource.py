"""Resources: `kind:name`, their domains, what cannot be one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import resource
from coord.errors import Refusal


@pytest.mark.parametrize(
    ("text", "domain", "places"),
    [
        ("path:src/**", "path", 1),
        ("path:a*3", "path", 1),
        ("env:staging", "env:staging", 1),
        ("gpu:any*4", "gpu:any", 4),
        ("gpu:any*0", "gpu:any*0", 1),
        ("branch:feature/x", "branch:feature/x", 1),
        ("own-kind:a:b", "own-kind:a:b", 1),
    ],
)
def test_a_resource_belongs_to_one_domain(text: str, domain: str, places: int):
    read = resource.parse(text)

    assert (read.domain, read.places, str(read)) == (domain, places, text)
    assert resource.domain_of(text) == domain


@pytest.mark.parametrize(
    "text", ["", "path", "path:", ":x", "Env:x", "env:a\nb", "env:" + "a" * 1000]
)
def test_what_is_no_resource_is_refused(text: str):
    with pytest.raises(Refusal) as refusal:
        resource.parse(text)

    assert refusal.value.code == "usage"
    assert "kind:name" in refusal.value.message


def test_a_work_item_is_claimed_not_leased():
    with pytest.raises(Refusal) as refusal:
        resource.parse("work:wk-7k2m")

    assert (refusal.value.code, refusal.value.hint) == ("usage", "wk claim wk-7k2m")


@given(st.text(max_size=20))
def test_any_text_has_one_domain_and_nothing_fails(text: str):
    """An event may name anything at all."""
    assert isinstance(resource.domain_of(text), str)
    read = resource.read(text)
    assert read is None or read.domain == resource.domain_of(text)
