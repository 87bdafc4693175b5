"""The page in a real browser: it can be searched, zoomed and followed, and keeps to itself.

Pictures of every look are left in the test's folder, for eyes.
"""

import http.server
import json
import threading
from pathlib import Path

import pytest

from tests.browser import devtools
from tests.cli.test_ev_report import Served, hostile
from tests.conftest import Runner

__all__ = ["hostile"]
LOOKS = [(1280, 900, False), (1280, 900, True), (390, 844, False), (390, 844, True)]
NAMES = ["desk-light", "desk-dark", "phone-light", "phone-dark"]
SAMPLE = 400
# A page that is wider than the screen is laid out wider, or scrolls sideways.
WIDTHS = "[innerWidth, document.documentElement.scrollWidth]"
READY = "document.body.dataset.ready === 'yes'"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for all tests of this file."""
    if not devtools.program():
        pytest.skip("needs chromium")
    with devtools.Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def begun(folder: Path) -> Runner:
    """An empty store of ada's."""
    run = Runner(folder)
    run.ok("git", "init", "--quiet")
    run.ok("ev", "init", "--quiet", as_="agent:ada")
    return run


def lived(run: Runner) -> dict[str, str]:
    """A little of everything; answers the ids of what tests look at."""
    login = run.ok("wk", "create", "Fix the login", "-d", "Names crash it", as_="agent:ada").json
    manual = run.ok("wk", "create", "Write the manual", as_="agent:ada").json
    run.ok("wk", "dep", "add", manual["work_id"], "--needs", login["work_id"], as_="agent:ada")
    claim = run.ok("wk", "claim", login["work_id"], as_="agent:bo").json
    said = ("wk", "comment", login["work_id"], "Found it", "--cause", claim["event_id"])
    comment = run.ok(*said, as_="agent:bo").json
    told = ("--subject", "Look", "--body", "x", "--cause", comment["event_id"])
    mail = run.ok("msg", "send", "--to", "agent:ada", *told, as_="agent:bo").json
    run.ok("lease", "acquire", "env:staging", as_="agent:bo")
    return {
        "login": login["work_id"], "manual": manual["work_id"], "claim": claim["event_id"],
        "comment": comment["event_id"], "mail": mail["event_id"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def sample(tmp_path_factory, beads_file, request):
    """A report of a part of a real backlog, and of work on it; `--long`: of all of it."""
    run = begun(tmp_path_factory.mktemp("sample"))
    lines = beads_file.read_text(encoding="utf-8").splitlines(keepends=True)
    part = lines if request.config.getoption("--long") else lines[-SAMPLE:]
    (run.folder / "some.jsonl").write_text("".join(part), encoding="utf-8")
    run.ok("wk", "import", "some.jsonl", as_="agent:ada")
    ids = lived(run)
    run.ok("ev", "report", "--html", "report.html", as_="agent:ada")
    return run.folder / "report.html", ids


def opened(browser, file, look=LOOKS[0], scripts=True):
    """A page of a file, ready."""
    page = browser.page(*look, scripts=scripts)
    page.open(file.as_uri())
    if scripts:
        page.until(READY)
    return page


@pytest.mark.parametrize("look", LOOKS, ids=NAMES)
def test_the_page_looks_right_and_keeps_to_itself(browser, sample, look, tmp_path):
    """It fits its width, follows the reader's choice of light or dark, and asks for nothing."""
    file, ids = sample
    page = opened(browser, file, look)

    for part in ("board", "trouble", "graph", "time", "plots", "items", "events"):
        page.value(f"document.getElementById('{part}').scrollIntoView()")
        assert page.value(WIDTHS) == [look[0]] * 2, part
        page.picture(tmp_path / f"{part}.png")
    page.value(f"location.hash = 'i-{ids['login']}'")
    page.until("!document.querySelector('#panel').hidden")
    page.picture(tmp_path / "item.png")

    back = page.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert all(part < 64 for part in back) if look[2] else all(part > 192 for part in back)
    assert page.complaints() == []
    assert page.requests() == [file.as_uri()]


def test_a_search_leaves_what_holds_all_its_words(browser, sample):
    file, ids = sample
    page = opened(browser, file)
    shown = "[...document.querySelectorAll('#items tr:not(.no)')].map((row) => row.id)"

    page.type("#search", "login FIX")
    page.until("document.querySelector('#found').textContent.startsWith('1 items')")

    assert page.value(shown) == [f"i-{ids['login']}"]
    assert page.value("document.querySelectorAll('#time .hit').length") == 1
    page.type("#search", "no such word anywhere")
    page.until("document.querySelector('#found').textContent === '0 items, 0 events'")
    assert page.value(shown) == []
    assert page.complaints() == []


def test_an_item_opens_with_what_hangs_on_it(browser, sample):
    """By a click on a card of the board; Escape closes it."""
    file, ids = sample
    page = opened(browser, file)

    page.click(f"#board a[href='#i-{ids['login']}']")
    page.until("!document.querySelector('#panel').hidden")

    told = page.value("document.querySelector('#panel').innerText")
    for text in ("Fix the login", "Names crash it", "Write the manual", "work.claimed", "Found it"):
        assert text in told
    page.press("Escape")
    page.until("document.querySelector('#panel').hidden")
    assert page.complaints() == []


def test_a_cause_can_be_followed_to_what_it_began_with(browser, sample):
    """From a message over a comment to the claim, and what followed stands below it."""
    file, ids = sample
    page = opened(browser, file)
    here = "document.querySelector('#panel li.here > a').getAttribute('href')"

    page.value(f"location.hash = 'e-{ids['mail']}'")
    page.until(f"document.querySelector('#panel li.here') && {here} === '#e-{ids['mail']}'")
    page.click("#panel .causes > li > a")
    page.until(f"{here} === '#e-{ids['claim']}'")

    tree = "[...document.querySelectorAll('#panel .causes a')].map((a) => a.hash)"
    assert page.value(tree) == [f"#e-{ids[name]}" for name in ("claim", "comment", "mail")]
    page.value("history.back()")
    page.until(f"{here} === '#e-{ids['mail']}'")
    assert page.complaints() == []


def test_the_timeline_can_be_zoomed_and_panned(browser, sample):
    """What was in the middle stays there, and the axis tells what is in sight."""
    file, _ = sample
    page = opened(browser, file)
    width = "document.querySelector('#timeline').getBoundingClientRect().width"
    scroll = "document.querySelector('#time .scroll')"
    whole, window = page.value(width), page.value("document.querySelector('#window').textContent")

    for _ in range(3):
        page.click("#time [data-by='2']")

    assert page.value(width) == pytest.approx(8 * whole, rel=0.01)
    middle = f"({scroll}.scrollLeft + {scroll}.clientWidth / 2) / {width}"
    assert page.value(middle) == pytest.approx(0.5, abs=0.01)
    assert page.value("document.querySelector('#window').textContent") != window
    page.value(f"{scroll}.scrollLeft = 0")
    page.until(f"document.querySelector('#window').textContent.startsWith('{window[:16]}')")
    page.click("#time [data-by='0']")
    assert page.value(width) == pytest.approx(whole, rel=0.01)
    assert page.complaints() == []


def test_without_scripts_everything_can_be_read_and_followed(browser, sample, tmp_path):
    """And nothing stands there that would do nothing."""
    file, ids = sample
    page = opened(browser, file, scripts=False)
    page.picture(tmp_path / "no-script.png")
    # The text as it is laid out, asked from outside the page.
    nodes = page.ask("DOMSnapshot.captureSnapshot", {"computedStyles": []})
    texts = " ".join(nodes["strings"])

    for text in ("Fix the login", "Write the manual", "env:staging", ids["login"]):
        assert text in texts
    laid_out = {nodes["strings"][index] for index in nodes["documents"][0]["layout"]["text"]}
    assert "Zoom in" not in laid_out
    assert page.complaints() == []


def test_a_hostile_store_breaks_no_page_and_runs_nothing(browser, hostile, tmp_path):
    """`--long`: of 50,000 items, all of which need each other."""
    file = hostile.folder / "report.html"
    hostile.ok("ev", "report", "--html", file, as_="agent:eve")
    page = opened(browser, file, LOOKS[2])

    for name in ("e-evil", "e-long", "n-00000"):
        page.value(f"location.hash = 'i-{name}'")
        page.until(f"document.querySelector('#panel h2')?.textContent.startsWith('{name}')")
        assert page.value(WIDTHS) == [390, 390]
    page.picture(tmp_path / "hostile.png")
    page.type("#search", "<script>alert")
    page.until("/^[1-9]/.test(document.querySelector('#found').textContent)")

    assert page.value("document.scripts.length") == 1
    assert page.complaints() == []
    assert page.requests() == [file.as_uri()]


def test_an_event_is_seen_as_it_happens(browser, tmp_path):
    """First its row and its item's, then, when it is quiet, the board and the pictures."""
    run = begun(tmp_path)
    with Served(run) as server:
        page = browser.page(*LOOKS[0])
        page.open(server.row["url"])
        page.until("document.querySelector('#state').className === 'live'")

        ids = lived(run)

        page.until(f"document.getElementById('e-{ids['mail']}')")
        page.until(f"document.getElementById('i-{ids['login']}').className === 'claimed'")
        page.until(
            "document.querySelector('#board .claimed').textContent.includes('Fix the login')"
        )
        page.until("document.querySelectorAll('#timeline a.work').length === 1")
        assert page.complaints() == []
        address = server.row["url"]
        assert {*page.requests()} <= {address, f"{address}events"}


def test_a_page_comes_back_by_itself_after_its_server(browser, tmp_path):
    """What happened in between is told then."""
    run = begun(tmp_path)
    with Served(run) as server:
        port = str(server.row["port"])
        page = browser.page(*LOOKS[0])
        page.open(server.row["url"])
        page.until("document.querySelector('#state').className === 'live'")
    page.until("document.querySelector('#state').className === 'lost'")
    made = run.ok("wk", "create", "meanwhile", "--quiet", as_="agent:ada").out.strip()

    with Served(run, "--port", port):
        page.until(f"document.getElementById('i-{made}')")
        page.until("document.querySelector('#state').className === 'live'")


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Another site, whose page tries to read what is served to this machine."""

    target = ""

    def do_GET(self):
        script = f"""
            window.told = [];
            const asked = fetch("{self.target}").then((answer) => answer.text());
            asked.catch(() => "no").then((text) => told.push(text));
            const events = new EventSource("{self.target}events");
            events.onopen = () => told.push("listens");
            events.onerror = () => told.push("no");
        """
        body = f"<script>{script}</script><iframe src='{self.target}'></iframe>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing."""


def test_another_sites_page_learns_nothing(browser, tmp_path):
    run = begun(tmp_path)
    with Served(run) as server:
        Elsewhere.target = server.row["url"]
        other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
        threading.Thread(target=other.serve_forever, daemon=True).start()
        try:
            page = browser.page(*LOOKS[0])
            page.open(f"http://127.0.0.1:{other.server_address[1]}/")
            page.until("window.told.length >= 2")

            assert set(json.loads(page.value("JSON.stringify(window.told)"))) == {"no"}
        finally:
            other.shutdown()
            other.server_close()
