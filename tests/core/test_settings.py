"""The settings: what fits, and how shared ones fold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import event, settings
from coord.core.fold import fold
from coord.core.problem import Problem
from coord.errors import Refusal

KEY = "claim.ttl_ms"


def config_set(value, at, key=KEY):
    """A config.set of agent:ada at this millisecond."""
    return event.from_raw(
        {
            "event_id": event.encode_id(at, 0),
            "type": "config.set",
            "actor": {"agent_id": "agent:ada"},
            "body": {"key": key, "value": value},
            "writer": "agent-ada.k3f7qa",
            "seq": at,
        }
    )


def folded(*events):
    """The state of the setting after these events, and the codes of the problems."""
    found = fold(events, now_ms=1_000_000)
    return found.states, [problem.code for problem in found.problems]


class Nothing:
    """A world without any other entity."""

    def state(self, entity):
        return {}

    def keyed(self, event):
        return ()


@pytest.mark.parametrize(
    ("text", "value"),
    [("30m", 1_800_000), ("1d", 86_400_000), ("60000", 60_000), (" 2h ", 7_200_000)],
)
def test_a_span_setting_takes_units_and_plain_milliseconds(text, value):
    """A plain number is milliseconds, as the name says, not seconds."""
    assert settings.parse(KEY, text) == value


@pytest.mark.parametrize("text", ["", "soon", "999", "0", "-5", "1e3", "9" * 5000, "400d", "1.5h"])
def test_a_value_that_does_not_fit_is_refused_with_what_would(text):
    with pytest.raises(Refusal) as refused:
        settings.parse(KEY, text)

    assert refused.value.code == "bad_data"
    assert refused.value.facts["expected"] == "a span from 1s to 365d, in milliseconds"


def test_an_unknown_setting_is_refused_with_the_nearest_name():
    with pytest.raises(Refusal) as refused:
        settings.parse("claim.tll_ms", "30m")

    assert refused.value.code == "unknown_setting"
    assert refused.value.hint.startswith("did you mean claim.ttl_ms")


def test_an_unknown_setting_like_no_other_is_refused_with_the_names_there_are():
    with pytest.raises(Refusal) as refused:
        settings.parse("zzz", "1")

    assert refused.value.hint == f"there are {', '.join(sorted(settings.SETTINGS))}"


def test_every_default_fits_its_own_setting():
    unfit = [key for key, s in settings.SETTINGS.items() if not settings.fits(s, s.default)]

    assert unfit == []


def test_a_setting_is_shared_or_local_never_both():
    assert not set(settings.SHARED) & set(settings.LOCAL)


def test_the_newest_value_counts_and_all_are_remembered():
    states, problems = folded(config_set(60_000, 20), config_set(30_000, 10))

    first, second = event.encode_id(10, 0), event.encode_id(20, 0)
    assert states[f"config/{KEY}"] == {
        "key": KEY,
        "value": 60_000,
        "event_id": second,
        "by": "agent:ada",
        "history": [[first, 30_000], [second, 60_000]],
        "last": second,
    }
    assert problems == []


@pytest.mark.parametrize("value", [999, "30m", True, 60_000.0, None, [], {}])
def test_a_value_that_does_not_fit_changes_nothing(value):
    states, problems = folded(config_set(60_000, 10), config_set(value, 20))

    assert states[f"config/{KEY}"]["value"] == 60_000
    assert problems == ["bad_data"]


def test_a_setting_of_a_later_version_is_kept():
    states, problems = folded(config_set({"any": 1}, 10, key="mail.cap"))

    assert states["config/mail.cap"]["value"] == {"any": 1}
    assert problems == []


def test_what_is_in_force_at_an_event_was_set_before_it():
    """An event that sets the value is not yet judged by it."""
    states, _ = folded(config_set(30_000, 10), config_set(60_000, 20))
    state = states[f"config/{KEY}"]

    at = [settings.value_at(state, event.encode_id(ms, 0)) for ms in (9, 10, 11, 20, 21)]
    assert at == [None, None, 30_000, 30_000, 60_000]
    assert settings.in_force(Nothing(), KEY, event.encode_id(9, 0)) == 1_800_000


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none())


@given(st.dictionaries(st.sampled_from(["key", "value", "why"]), JSON | st.just(KEY)))
def test_a_step_never_raises_because_of_data(body):
    given_event = event.from_raw({**config_set(1, 1).raw, "body": body})

    answer = settings.STEPS["config.set"]({}, given_event, Nothing())

    assert isinstance(answer, Problem | dict)
