"""`ev export --to otlp` and `--to chrome`: what lasted, for programs that draw traces."""

import functools

import pytest

from tests.cli.morning import ADA, BO, emitted
from tests.tracing import check_chrome, check_otlp, spans_in


@pytest.fixture
def morning(at, created):
    """A claim, under it a message and a run, and a lease of bo's beside it; ids by name."""
    item = created("Log in")
    claim = at(1, ADA, "wk", "claim", item, "--quiet").out.strip()
    cause = at(2, ADA, "wk", "comment", item, "I begin", "--quiet").out.strip()
    built = emitted(at, 3, "build.failed", "--cause", cause)
    at(3, ADA, "ev", "agent", "register", BO, "--mode", "listening", "--quiet")
    words = ("--to", BO, "--subject", "Look", "--body", "here", "--quiet")
    mail = at(4, ADA, "msg", "send", *words, "--cause", built).out.strip()
    run = at(5, ADA, "run", "request", "--quiet", "--cause", mail, "--", "make", "test").out.strip()
    at(6, BO, "msg", "ack", mail)
    lease = at(7, BO, "lease", "acquire", "path:src/**", "--ttl", "1h", "--quiet").out.strip()
    at(8, ADA, "wk", "close", item, "--as", "done")
    return {"item": item, "mail": mail, "run": run, "claim": claim, "lease": lease}


def named(document):
    """The spans of an OTLP request by their names."""
    return {span["name"]: span for span in spans_in(document)}


def attribute(span, key):
    [value] = [pair["value"] for pair in span["attributes"] if pair["key"] == key]
    return next(iter(value.values()))


def test_otlp_tells_what_hangs_under_what(at, morning):
    document = at(10, ADA, "ev", "export", "--to", "otlp").json

    check_otlp(document)
    spans = named(document)
    assert spans.keys() == {"claim Log in", "message Look", "run make test", "lease path:src/**"}
    claim, mail, run = (spans[n] for n in ("claim Log in", "message Look", "run make test"))
    assert mail["parentSpanId"] == claim["spanId"]
    assert run["parentSpanId"] == mail["spanId"]
    assert claim["traceId"] == mail["traceId"] == run["traceId"]
    assert mail["links"][0]["spanId"] == claim["spanId"]
    assert attribute(claim, "coord.outcome") == "closed"
    assert attribute(run, "coord.outcome") == "open"
    services = [one["resource"]["attributes"][0] for one in document["resourceSpans"]]
    assert [service["value"]["stringValue"] for service in services] == [ADA, BO]


def test_chrome_draws_an_arrow_for_each_cause(at, morning):
    document = at(10, ADA, "ev", "export", "--to", "chrome").json

    check_chrome(document)
    rows = document["traceEvents"]
    ends = [row for row in rows if row["ph"] == "f"]
    assert len(ends) == 2
    assert {row["name"] for row in rows if row["ph"] == "X"} == {
        "claim Log in", "message Look", "run make test", "lease path:src/**"
    }  # fmt: skip


def test_filters_choose_the_spans_by_their_events(at, morning):
    told = functools.partial(at, 10, ADA, "ev", "export", "--to", "otlp")

    assert named(told("--agent", BO).json).keys() == {"message Look", "lease path:src/**"}
    assert named(told("--type", "run.*").json).keys() == {"run make test"}
    assert len(told("--quiet").out.split()) == 4
    assert told("--type", "config.*").code == 1
    assert told("--type", "work.created").code == 1


def test_a_reader_who_has_enough_is_no_error(at, morning, run):
    words = "set -o pipefail; ev export --to chrome | head -c 10 >/dev/null"

    answer = run("bash", "-c", words, as_=ADA)

    assert "Traceback" not in answer.err
