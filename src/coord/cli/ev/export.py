"""`ev export`: events for other systems."""

from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.ev.list import filter_of, filters
from coord.core import causes, cloudevents, ev
from coord.errors import NO


@kit.command("export")
@click.option("--to", "form", required=True, type=click.Choice(["cloudevents"]),
              help="CloudEvents 1.0, in JSON.")  # fmt: skip
@filters
@click.option("--since", metavar="WHEN", help="From an EVENT_ID or a TIME on: 2h ago.")
@click.option("--until", metavar="WHEN", help="Before an EVENT_ID or a TIME.")
def export(call: kit.Call, form: str, since: str | None, until: str | None, **options: Any) -> int:
    """Print events in order of their ids, in another system's form, one a line.

    A CloudEvent's id is the event_id, its source /project/writer, its data the body;
    `causationid` is the cause, `correlationid` the event it all began with; `refs` has
    all refs as JSON text. `ev emit - --from cloudevents` reads them back.

    \b
    Exits: 1 nothing matches; 2 a bound is not understood.
    Example: ev export --to cloudevents --type 'work.*' --since '1d ago'
    """
    bounds = {
        f"{name}_id": ev.boundary(text, call.now_ms)
        for name, text in (("since", since), ("until", until))
        if text
    }
    roots: dict[str, str] = {}
    with call.reading() as known:
        if options["work"]:
            options["work"] = naming.work_id(known, options["work"])
        raws = known.select(filter_of({**options, **bounds}), -1)
        for raw in raws:
            root = causes.root(raw, known.event, roots)
            row = cloudevents.exported(raw, root, kit.json_text)
            call.emit([row], ident="id")
    return 0 if raws else NO
