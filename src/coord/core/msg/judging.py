"""The rules for messages that only hold where and when one writes."""

from collections.abc import Mapping

from coord.core import settings
from coord.core.event import Event
from coord.core.judging import Here, Rule
from coord.core.msg import mail
from coord.core.problem import Problem, State

MINUTE_MS = 60_000


def _message(written: Event, _state: State, here: Here) -> Problem | None:
    """The brakes on loops; reminders have their own, for each rule sends only so many."""
    if written.agent_id == mail.REMINDER:
        return None
    parent = here.state(f"msg/{written.refs.get('reply_to')}")
    hops = parent.get("hops", 0)
    if written.body.get("auto") is True and hops >= mail.MAX_HOPS:
        text = f"{hops} automatic replies in a row led to {parent['message_id']}: the chain stops"
        return Problem(written.event_id, "hops", text)
    if written.body.get("auto") is True and written.body.get("hops") != hops + 1:
        text = f"hops is not {hops + 1}, one above that of what it answers"
        return Problem(written.event_id, "bad_data", text)
    cap = settings.in_force(here, "msg.rate_per_minute", written.event_id)
    if here.sent_since(written.agent_id, written.time_ms - MINUTE_MS) >= cap:
        text = f"{written.agent_id} has sent {cap} messages within a minute, which is its cap"
        return Problem(written.event_id, "rate", text)
    return None


RULES: Mapping[str, Rule] = {"msg.sent": _message}
