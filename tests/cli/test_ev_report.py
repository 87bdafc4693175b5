"""`ev report` and `ev serve`: one page that anybody can open, and the same page live."""

import base64
import hashlib
import http.client
import json
import os
import re
import signal
from html.parser import HTMLParser
from pathlib import Path

import pytest

from coord.core import event
from tests.cli.test_eyes_hostile import EVIL, foreign, said
from tests.conftest import FROZEN_MS, Runner

# Elements that HTML lets stand without an end.
OPEN = {"meta", "link", "input", "path", "rect", "circle", "td", "tr", "th", "p", "li", "html",
        "body", "tbody", "thead"}  # fmt: skip
TAGS = {
    "html", "meta", "title", "link", "style", "body", "header", "div", "h1", "h2", "h3", "p",
    "span", "time", "nav", "a", "input", "main", "section", "ul", "li", "small", "b", "i",
    "table", "thead", "tbody", "tr", "th", "td", "button", "aside", "script", "svg", "g", "rect",
    "text", "path", "circle", "defs", "marker", "figure", "figcaption", "details", "summary",
    "code",
}  # fmt: skip
EVIL_ID = "e\"onload='x'<b>"


class Page(HTMLParser):
    """A page as a browser reads it."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.texts, self.sources = [], [], [], {}
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        assert len(values) == len(attrs)
        self.tags.append((tag, values))
        self.ids += [values["id"]] if "id" in values else []
        if tag not in OPEN:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in OPEN:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] in (["script"], ["style"]):
            self.sources[self._open[-1]] = data
        else:
            self.texts.append(data)

    def all(self, tag):
        return [values for name, values in self.tags if name == tag]


def reported(run, *words):
    file = run.folder / "report.html"
    run.ok("ev", "report", "--html", file, *words)
    return Page(file.read_text(encoding="utf-8"))


@pytest.fixture
def worked(run, store):
    """A store in which something of everything has happened."""
    ids = [
        run.ok("wk", "create", title, "--quiet", *more, as_="agent:ada").out.strip()
        for title, *more in (["Fix the login", "-d", "It crashes"], ["Write the manual"], ["Sweep"])
    ]
    run.ok("wk", "dep", "add", ids[1], "--needs", ids[0], as_="agent:ada")
    claimed = run.ok("wk", "claim", ids[0], as_="agent:bo").json["event_id"]
    run.ok("wk", "comment", ids[0], "Found it", "--cause", claimed, as_="agent:bo")
    run.ok("wk", "close", ids[2], "--as", "done", as_="agent:ada")
    run.ok("lease", "acquire", "env:staging", as_="agent:bo")
    run.ok("msg", "send", "--to", "agent:ada", "--subject", "Look", "--body", "x", as_="agent:bo")
    return ids


def test_the_page_tells_everything_without_a_script(run, worked):
    page = reported(run)

    told = " ".join("".join(page.texts).split())
    for text in ("Fix the login", "It crashes", "env:staging", "Look", "Found it", "1 blocked"):
        assert text in told
    assert {f"i-{work_id}" for work_id in worked} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_every_way_within_the_page_leads_somewhere(run, worked):
    page = reported(run)

    ways = {link["href"] for link in page.all("a")}
    assert {way[0] for way in ways} == {"#"}
    assert {way[1:] for way in ways} <= set(page.ids)
    assert any(way.startswith("#e-") for way in ways)


def test_the_page_needs_nothing_else_and_may_run_nothing_else(run, worked):
    """Its policy names its own script and style by their hashes, and allows no address."""
    page = reported(run)

    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    for kind in ("script", "style"):
        digest = hashlib.sha256(page.sources[kind].encode()).digest()
        assert f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)", (run.folder / "report.html").read_text()
    )
    assert not [v for _, v in page.tags if {"src", "style", "srcset"} & v.keys()]


def test_since_leaves_out_what_was_over_before(run, store, frozen):
    day = 86_400_000
    for days, title in ((0, "Old"), (9, "New")):
        env = frozen(1_767_258_000_000 + days * day, seed=title)
        made = run.ok("wk", "create", title, "--quiet", as_="agent:ada", env=env).out.strip()
        run.ok("wk", "close", made, "--as", "done", as_="agent:ada", env=env)
    env = frozen(1_767_258_000_000 + 9 * day)

    run.ok("ev", "report", "--html", "all.html", env=env)
    run.ok("ev", "report", "--html", "week.html", "--since", "7d", env=env)

    texts = {name: (run.folder / f"{name}.html").read_text() for name in ("all", "week")}
    assert {name: ("Old" in text, "New" in text) for name, text in texts.items()} == {
        "all": (True, True), "week": (False, True),
    }  # fmt: skip


def test_an_empty_store_has_a_page_too(run, store):
    assert "There are no items yet." in "".join(reported(run).texts)


@pytest.mark.parametrize(("path", "code"), [("no/such/f.html", 3), (".", 3)])
def test_a_page_that_has_no_place_is_refused(run, store, path, code):
    answer = run("ev", "report", "--html", path)

    assert (answer.code, answer.error["code"]) == (code, "no_file")


def test_a_page_takes_the_place_of_the_last_one_whole(run, worked):
    file = run.folder / "report.html"
    file.write_text("x" * 10_000_000)

    row = run.ok("ev", "report", "--html", "report.html").json

    assert row == {"path": "report.html", "body_bytes": file.stat().st_size, "items": 3,
                   "events": row["events"]}  # fmt: skip
    assert file.read_text().startswith("<!DOCTYPE html>")
    assert run.ok("ev", "report", "--html", "-").out.startswith("<!DOCTYPE html>")
    assert sorted(os.listdir(run.folder)) == [".coord", ".git", "report.html"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, request):
    """A store full of texts and shapes that nobody wishes for; `--long`: of 50,000 items."""
    run = Runner(tmp_path_factory.mktemp("hostile"))
    run.ok("git", "init", "--quiet")
    said(run, "ev", "init", "--quiet")
    count = 50_000 if request.config.getoption("--long") else 300
    items = [
        {"work_id": "e-evil", "title": EVIL, "description": EVIL * 99, "labels": ["a<b>"]},
        *({"work_id": f"e-{name}", "title": EVIL} for name in ("one", "two", "three")),
        *({"work_id": f"n-{number:05}", "title": f"{number} {EVIL}"} for number in range(count)),
    ]
    text = "".join(json.dumps(item) + "\n" for item in items)
    said(run, "wk", "create", "-", text=text)
    folder = run.folder / ".coord" / "wk"
    foreign(folder / "agent-mal.aaaaaa.0001.jsonl")
    said(run, "wk", "comment", "e-evil", EVIL)
    said(run, "msg", "send", "--to", "agent:mal", "--subject", EVIL, "--body", EVIL)
    said(run, "run", "request", "--title", EVIL, "--", "sh", "-c", EVIL)
    strange(folder / "agent-mal.bbbbbb.0001.jsonl", [f"n-{n:05}" for n in range(count)])
    return run


def strange(journal: Path, ring: list[str]) -> None:
    """Ids, agents, times and causes that our own tools never write, and a ring of needs."""
    agent = f"agent:{EVIL_ID}"
    evil = [("work.created", EVIL_ID, {"title": EVIL, "at_ms": 1}, agent)]
    evil += [("work.created", "e-type", {"title": "x", "type": "<img src=x>"}, agent)]
    evil += [("work.linked", one, {"kind": "needs", "target": other}, "agent:mal")
             for one, other in zip(ring, [*ring[1:], ring[0]], strict=True)]  # fmt: skip
    lines, previous = [], b""
    for seq, (kind, work_id, body, agent_id) in enumerate(evil, start=1):
        event_id, next_id = (event.encode_id(FROZEN_MS + 60_000, n) for n in (seq, seq + 1))
        raw = {
            "event_id": event_id, "ts": "2026-01-01T09:00:00.000Z", "project": "</title><b>",
            "type": kind, "actor": {"agent_id": agent_id}, "refs": {"work_id": work_id},
            "body": body, "cause": event_id, "links": [next_id, "<b>", 7],
            "writer": "agent-mal.bbbbbb", "seq": seq, "v": 1,
            **({"prev": hashlib.sha256(previous).hexdigest()[:32]} if previous else {}),
        }  # fmt: skip
        previous = json.dumps(raw).encode()
        lines.append(previous + b"\n")
    journal.write_bytes(b"".join(lines))


def test_a_hostile_store_breaks_no_page(hostile):
    """Its texts are there as texts; its ids lead where they should; there is one script."""
    page = reported(hostile)

    assert {tag for tag, _ in page.tags} <= TAGS
    assert len(page.all("script")) == 1
    names = {name for _, values in page.tags for name in values}
    assert not [name for name in names if name.startswith("on") or name == "style"]
    told = "".join(page.texts)
    assert '<script>alert("1")</script>' in told
    assert [char for char in set(told) if not char.isprintable() and char != "\n"] == []
    assert f"i-{EVIL_ID}" in page.ids
    assert len(page.ids) == len(set(page.ids))
    assert (hostile.folder / "report.html").stat().st_size < 5_000_000
    assert "it needs itself, over" in told
    assert "</title><b>" in told


class Served:
    """A server of its own, and how to talk to it."""

    def __init__(self, run, *words):
        self.process = run.start("ev", "serve", *words)
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.row = json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()

    def ask(self, path="/", method="GET", host=None, **headers):
        """Status, headers and text of one answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.row["port"], timeout=60)
        connection.putrequest(method, path, skip_host=True)
        for name in [host] if isinstance(host, str) else host or [f"127.0.0.1:{self.row['port']}"]:
            connection.putheader("Host", name)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        text = "" if path == "/events" and answer.status == 200 else answer.read().decode()
        return answer.status, answer.headers, text or answer

    def listen(self):
        """The lines that are sent as something happens."""
        _, _, answer = self.ask("/events")
        return iter(answer.readline, b"")


@pytest.fixture
def served(run, store):
    """A server of an empty store."""
    with Served(run) as server:
        yield server


def test_what_happens_is_told_as_it_happens(run, served):
    news = served.listen()
    assert [next(news) for _ in range(4)] == [
        b"retry: 1000\n",
        b"\n",
        b"event: hello\n",
        b"data: \n",
    ]

    made = run.ok("wk", "create", "<b>new</b>", as_="agent:ada").json

    told = json.loads(next(line for line in news if line.startswith(b"data: {"))[6:])
    assert f'id="e-{made["event_id"]}"' in told["events"][0]
    assert f'id="i-{made["work_id"]}"' in told["items"][0]
    assert "&lt;b&gt;new&lt;/b&gt;" in told["items"][0]
    assert "&lt;b&gt;new&lt;/b&gt;" in served.ask()[2]


def test_what_a_closed_item_blocked_is_told_anew_with_it(run, store):
    one, other = (run.ok("wk", "create", t, "--quiet", as_="agent:ada").out.strip() for t in "ab")
    run.ok("wk", "dep", "add", other, "--needs", one, as_="agent:ada")
    with Served(run) as server:
        news = server.listen()
        assert next(news)

        run.ok("wk", "close", one, "--as", "done", as_="agent:ada")

        told = json.loads(next(line for line in news if line.startswith(b"data: {"))[6:])
    assert any(f'id="i-{other}" class="ready"' in row for row in told["items"])


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:{port}", "127.0.0.1", "[::1]:{port}",
    "127.0.0.1:{port}.evil.example", "127.0.0.2:{port}", "",
])  # fmt: skip
def test_only_its_own_address_is_answered(served, host):
    """A name that somebody pointed here is not."""
    status, _, text = served.ask(host=host.format(port=served.row["port"]))

    assert status == 403
    assert "coord" not in text


def test_two_hosts_are_none_and_localhost_is_one(served):
    own = f"localhost:{served.row['port']}"

    assert served.ask(host=own)[0] == 200
    assert served.ask(host=[own, own])[0] == 403


@pytest.mark.parametrize("path", ["/", "/events"])
@pytest.mark.parametrize("headers", [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
])  # fmt: skip
def test_no_other_page_is_answered(served, path, headers):
    assert served.ask(path, **headers)[0] == 403


def test_a_link_from_elsewhere_opens_the_page(served):
    assert served.ask(Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FOO"])
def test_it_can_only_be_read(served, method):
    status, headers, _ = served.ask(method=method)

    assert status == 405
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("path", ["/x", "/../etc/passwd", "/%2e%2e/x", "/?a", "/events/x"])
def test_there_is_nothing_else(served, path):
    assert served.ask(path)[0] == 404


def test_every_answer_says_what_the_page_may_do(served):
    """Also where the page is not given."""
    for path in ("/", "/x", "/events"):
        _, headers, _ = served.ask(path)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers


def test_too_many_readers_are_sent_away_and_the_page_is_still_served(served):
    listening = [served.ask("/events") for _ in range(32)]

    assert [status for status, _, _ in listening] == [200] * 32
    assert served.ask("/events")[0] == 503
    assert served.ask()[0] == 200


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_when_it_is_told_to(run, served, number, code):
    """Also while somebody listens, who is let go."""
    news = served.listen()
    assert next(news)

    served.process.send_signal(number)

    assert served.process.wait(60) == code
    assert list(news)
    assert served.process.stderr.read().strip() == b""


def test_a_port_that_is_taken_is_refused(run, served):
    answer = run("ev", "serve", "--port", str(served.row["port"]))

    assert (answer.code, answer.error["code"]) == (7, "busy")


def test_it_writes_nothing(run, worked):
    before = {path: path.stat().st_mtime_ns for path in (run.folder / ".coord").rglob("*.jsonl")}

    with Served(run) as server:
        assert server.ask()[0] == 200

    assert {p: p.stat().st_mtime_ns for p in (run.folder / ".coord").rglob("*.jsonl")} == before


def test_a_damaged_index_is_made_anew_while_it_serves(run, worked):
    with Served(run) as server:
        (run.folder / ".coord" / "local" / "index.db").write_bytes(b"no database" * 999)
        run.ok("wk", "create", "after", as_="agent:ada")

        assert "after" in server.ask()[2]
