"""`ev export`: events for other systems, and what lasted as traces."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.ev.list import filter_of, filters
from coord.core import causes, cloudevents, ev
from coord.edge.index import Index
from coord.errors import NO

Raws = Sequence[Mapping[str, Any]]


@kit.command("export")
@click.option("--to", "form", required=True, type=click.Choice(["cloudevents", "otlp", "chrome"]),
              help="CloudEvents 1.0; OTLP traces; a Chrome trace, for Perfetto.")  # fmt: skip
@filters
@click.option("--since", metavar="WHEN", help="From an EVENT_ID or a TIME on: 2h ago.")
@click.option("--until", metavar="WHEN", help="Before an EVENT_ID or a TIME.")
def export(call: kit.Call, form: str, since: str | None, until: str | None, **options: Any) -> int:
    """Print events in another system's form, in JSON.

    `cloudevents`: one event a line, in order of their ids. Its id is the event_id, its
    source /project/writer, its data the body; `causationid` is the cause, `correlationid`
    the event it all began with; `refs` has all refs as JSON text. `ev emit - --from
    cloudevents` reads them back.

    `otlp`, `chrome`: all in one line, the claims, leases, runs, attempts and messages that
    the events are part of, each a span from its beginning to its end, or to now. What its
    cause is part of is its parent; all causes are its links, in `chrome` arrows. A trace
    is what began with the same event. `otlp` is what a collector takes at /v1/traces and
    Jaeger opens; `chrome` opens in Perfetto. `--quiet` prints the ids of what spans begin.

    \b
    Exits: 1 nothing matches; 2 a bound is not understood.
    Example: ev export --to cloudevents --type 'work.*' --since '1d ago'
    """
    bounds = {
        f"{name}_id": ev.boundary(text, call.now_ms)
        for name, text in (("since", since), ("until", until))
        if text
    }
    with call.reading() as known:
        if options["work"]:
            options["work"] = naming.work_id(known, options["work"])
        raws = known.select(filter_of({**options, **bounds}), -1)
        return _FORMS[form](call, known, raws) if raws else NO


def _cloudevents(call: kit.Call, known: Index, raws: Raws) -> int:
    roots: dict[str, str] = {}
    for raw in raws:
        root = causes.root(raw, known.event, roots)
        call.emit([cloudevents.exported(raw, root, kit.json_text)], ident="id")
    return 0


def _otlp(call: kit.Call, known: Index, raws: Raws) -> int:
    return _traces(call, known, raws, "otlp")


def _chrome(call: kit.Call, known: Index, raws: Raws) -> int:
    return _traces(call, known, raws, "chrome")


def _traces(call: kit.Call, known: Index, raws: Raws, form: str) -> int:
    from coord.core.report import traces

    found = traces.Tracer(known, call.query_now(known)).traced(raws)
    if call.quiet:
        for one in found:
            click.echo(one.span.event_id)
    elif found:
        kit.out(traces.otlp(found) if form == "otlp" else traces.chrome(found))
    return 0 if found else NO


_FORMS: Mapping[str, Callable[[kit.Call, Index, Raws], int]] = {
    "cloudevents": _cloudevents, "otlp": _otlp, "chrome": _chrome,
}  # fmt: skip
