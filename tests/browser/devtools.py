"""A browser driven over the DevTools protocol, through a pipe: no library, no port.

    with Browser(tmp_path) as browser:
        page = browser.page(width=1280, height=900)
        page.open("file:///…/report.html")
        page.value("document.title")

Rules: what the browser reports meanwhile (console, errors, requests) is kept in order, and
read by tests afterwards. Every answer has a deadline.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
DEADLINE_S = 60.0
# Root may not start the sandbox, CI machines have little shared memory, and nothing that
# the browser does on its own account may reach for a network.
SWITCHES = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
    "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--disable-default-apps", "--metrics-recording-only",
    "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--proxy-server=direct://", "--lang=en-US", "--font-render-hinting=none",
)  # fmt: skip


def program() -> str:
    """The browser that is installed, "" when there is none."""
    return next((name for name in PROGRAMS if shutil.which(name)), "")


class Browser:
    """One headless browser with a profile of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._pages: dict[str, Page] = {}
        self._unread = b""

    def __enter__(self) -> "Browser":
        to_child, self._writing = os.pipe()
        self._reading, from_child = os.pipe()
        # The browser reads its orders from 3 and answers on 4.
        redirect = f'exec "$@" 3<&{to_child} 4>&{from_child}'
        words = [program(), *SWITCHES, f"--user-data-dir={self._folder}", "about:blank"]
        with open(self._folder / "browser.log", "wb") as log:
            self._child = subprocess.Popen(
                ["bash", "-c", redirect, "browser", *words],
                pass_fds=(to_child, from_child), stdout=log, stderr=log,
            )  # fmt: skip
        os.close(to_child)
        os.close(from_child)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._writing)
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        os.close(self._reading)

    def page(self, width: int, height: int, dark: bool = False, scripts: bool = True) -> "Page":
        """A new empty page of that size, which keeps what it is told."""
        target = self.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        attach = {"targetId": target, "flatten": True}
        session = self.ask("Target.attachToTarget", attach)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        page.ask("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.ask("Emulation.setEmulatedMedia", {"features": [scheme]})
        page.ask("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        return page

    def ask(self, method: str, values: dict[str, Any] | None = None, session: str = "") -> Any:
        """Give one order and wait for its answer."""
        self._number += 1
        order = {"id": self._number, "method": method, "params": values or {}}
        if session:
            order["sessionId"] = session
        os.write(self._writing, json.dumps(order).encode() + b"\0")
        number, deadline = self._number, time.monotonic() + DEADLINE_S
        while number not in self._answers:
            self.listen(deadline)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def listen(self, deadline: float) -> None:
        """Take what the browser says next; fails when it says nothing in time."""
        ready, _, _ = select.select([self._reading], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(self._reading, 1 << 20) if ready else b""
        if not data:
            log = (self._folder / "browser.log").read_text(errors="replace")
            raise AssertionError(f"the browser says nothing: {log[-2000:]}")
        *messages, self._unread = (self._unread + data).split(b"\0")
        for message in messages:
            self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
        elif message.get("sessionId") in self._pages:
            self._pages[message["sessionId"]].told.append(message)


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.told: list[dict[str, Any]] = []

    def ask(self, method: str, values: dict[str, Any] | None = None) -> Any:
        """An order to this tab."""
        return self._browser.ask(method, values, self._session)

    def open(self, url: str) -> None:
        """Load a page to its end."""
        del self.told[:]
        self.ask("Page.navigate", {"url": url})
        deadline = time.monotonic() + DEADLINE_S
        while not self._heard("Page.loadEventFired"):
            self._browser.listen(deadline)

    def _heard(self, method: str) -> list[dict[str, Any]]:
        return [message["params"] for message in self.told if message["method"] == method]

    def value(self, expression: str) -> Any:
        """What an expression is in the page; a promise is waited for."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.ask("Runtime.evaluate", asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + DEADLINE_S
        # Asked anew with every frame of the page, by the page itself.
        while not (found := self.value(_NEXT_FRAME % expression)):
            if time.monotonic() >= deadline:
                raise AssertionError(f"never true: {expression}")
        return found

    def type(self, selector: str, text: str) -> None:
        """Put a text into a field as a person does."""
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self.value(f"document.querySelector({json.dumps(selector)}).select()")
        self.ask("Input.insertText", {"text": text})

    def press(self, key: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", {"type": kind, "key": key, "code": key})

    def click(self, selector: str) -> None:
        """Click the middle of an element, where it is."""
        place = self.value(_PLACE % json.dumps(selector))
        assert place, f"nothing is {selector}"
        for kind in ("mousePressed", "mouseReleased"):
            where = {"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1}
            self.ask("Input.dispatchMouseEvent", where)

    def complaints(self) -> list[str]:
        """What the browser objected to: exceptions, errors, violations of the policy."""
        thrown = [json.dumps(one) for one in self._heard("Runtime.exceptionThrown")]
        logged = [one["entry"]["text"] for one in self._heard("Log.entryAdded")]
        called = [one for one in self._heard("Runtime.consoleAPICalled") if one["type"] != "log"]
        return thrown + logged + [json.dumps(one) for one in called]

    def requests(self) -> list[str]:
        """The addresses that were asked for."""
        return [one["request"]["url"] for one in self._heard("Network.requestWillBeSent")]

    def picture(self, path: Path, whole: bool = False) -> None:
        """Keep what is to be seen as a PNG."""
        answer = self.ask("Page.captureScreenshot", {"captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(answer["data"]))


# What is not there yet has no parts to ask for.
_NEXT_FRAME = """new Promise((say) => setTimeout(() => {
  try { say(Boolean(%s)); } catch { say(false); }
}, 15))"""
_PLACE = """(() => {
  const found = document.querySelector(%s);
  if (!found) return null;
  found.scrollIntoView({ block: "center" });
  const box = found.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})()"""
