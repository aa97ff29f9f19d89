"""A headless Chromium, driven through a pipe: no driver and no package is needed."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Chromium reads commands from file descriptor 3 and answers on 4.
START = """
import os, sys
read, write = int(sys.argv[1]), int(sys.argv[2])
read, write = os.dup(read), os.dup(write)  # neither is 3 or 4 that is replaced next
while min(read, write) < 5: read, write = os.dup(read), os.dup(write)
os.dup2(read, 3); os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
DESKTOP, PHONE = (1280, 800), (390, 844)


def executable():
    """The path of a browser: $CHROMIUM, or one on the path; None without one."""
    found = [os.environ.get("CHROMIUM"), *map(shutil.which, NAMES)]
    return next((path for path in found if path), None)


needs_chromium = pytest.mark.skipif(
    executable() is None,
    reason=f"no browser: install one of {', '.join(NAMES)}, or set CHROMIUM",
)


class Browser:
    """A browser; `page` opens a page in it."""

    def __init__(self, folder):
        command_read, self._write = os.pipe()
        self._read, answer_write = os.pipe()
        flags = [
            "--headless=new",
            "--no-sandbox",  # as root, in a container
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-pipe",
            f"--user-data-dir={folder}",
            "about:blank",
        ]
        fds = [command_read, answer_write]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, *map(str, fds), executable(), *flags],
            pass_fds=fds,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in fds:
            os.close(fd)
        self._numbers, self._buffer, self.events = itertools.count(1), b"", []

    def call(self, method, session=None, **params):
        """Sends one command and returns its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def receive(self, seconds=60):
        """Returns the next message; those that are events are kept."""
        end = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], end - time.monotonic())
            assert ready, "the browser does not answer"
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser has ended"
            self._buffer += piece
        text, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def page(self, path, size=DESKTOP, dark=False, query=""):
        return Page(self, path, size, dark, query)

    def close(self):
        self._process.terminate()
        self._process.wait(30)
        os.close(self._read)
        os.close(self._write)


class Page:
    """A page that has been loaded, at a size and in a colour scheme."""

    def __init__(self, browser, path, size, dark, query=""):
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session, self._target = attached["sessionId"], target
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=size == PHONE,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        url = Path(path).resolve().as_uri() + (f"?{query}" if query else "")
        self.call("Page.navigate", url=url)
        while not self.events("Page.loadEventFired"):
            browser.receive()

    def call(self, method, **params):
        return self._browser.call(method, self._session, **params)

    def close(self):
        self._browser.call("Target.closeTarget", targetId=self._target)

    def events(self, method):
        return [
            event["params"]
            for event in self._browser.events
            if event["method"] == method and event.get("sessionId") == self._session
        ]

    def faults(self):
        """What the page complained of, and what it asked for besides itself."""
        thrown = [e["exceptionDetails"] for e in self.events("Runtime.exceptionThrown")]
        logged = [e["entry"]["text"] for e in self.events("Log.entryAdded")]
        asked = [e["request"]["url"] for e in self.events("Network.requestWillBeSent")]
        return [*thrown, *logged, *asked[1:]]

    def js(self, expression):
        """Returns the value of an expression."""
        found = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def move(self, x, y):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector):
        """Clicks in the middle of an element."""
        self.js(f"document.querySelector({selector!r}).scrollIntoView()")
        x, y = self.js(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])"
            f"(document.querySelector({selector!r}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                clickCount=1,
            )

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)

    def screenshot(self, path, full=False):
        data = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=full
        )
        Path(path).write_bytes(base64.b64decode(data["data"]))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("chromium"))
    yield started
    started.close()
