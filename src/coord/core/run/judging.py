"""The rules for writes about runs that only hold where and when one writes."""

from collections.abc import Mapping

from coord.core import judging
from coord.core.event import Event
from coord.core.judging import Here, Rule
from coord.core.problem import Problem, State
from coord.core.run import life, ready
from coord.core.run.around import Around


def _run_renewal(written: Event, state: State, here: Here) -> Problem | None:
    if state["status"] == life.SCHEDULED:
        return None
    return judging.renewal_problem(written, life.domain_in(state), here)


def _request(written: Event, _state: State, here: Here) -> Problem | None:
    for one in written.body.get("after", ()):
        if not here.state(f"run/{one['run_id']}"):
            return Problem(written.event_id, "unknown_run", f"no run {one['run_id']} is known")
    return None


def _run(written: Event, state: State, here: Here) -> Problem | None:
    """A run is executed in the store that asked for it: only there the kernel says who lives.

    Where it may be executed anywhere, in the store that won its claim at the remote.
    """
    run_id = state["run_id"]
    if life.is_anywhere(state) != (written.body.get("confirmed") == "remote"):
        text = f"{run_id} is claimed by way of the git remote if any clone may execute it, else not"
        return Problem(written.event_id, "not_allowed", text)
    if not life.is_anywhere(state) and state["spec"].get("store") != here.home:
        text = f"{run_id} was requested in another store, which executes it"
        return Problem(written.event_id, "not_allowed", text)
    attempt = life.open_attempt(state)
    if attempt is not None:
        text = f"attempt {attempt['attempt']} of {run_id} has not ended"
        return Problem(written.event_id, "held", text)
    verdict = ready.judge(state, written.time_ms, Around(here))
    if verdict.what != ready.START:
        text = f"{run_id} cannot start: {verdict.reasons[0].text}"
        return Problem(written.event_id, "not_ready", text)
    return judging.fence_problem(written, life.domain_in(state), here)


RULES: Mapping[str, Rule] = {
    "run.requested": _request,
    "run.claimed": _run,
    "run.renewed": _run_renewal,
}
