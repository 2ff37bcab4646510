"""A running `windlass dev`, a proxy in front of it, and a browser."""

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("WINDLASS_BINARY", str(ROOT / "target/debug/windlass"))
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
PICTURES = pathlib.Path(os.environ.get("WINDLASS_PICTURES", ROOT / "target/dashboard"))
PATIENCE_S = 60


def until(what, look, patience_s=PATIENCE_S):
    """Looks until there is something, and gives up with `what`."""
    deadline = time.monotonic() + patience_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"it took too long until {what}")
        time.sleep(0.02)


class Server:
    """`windlass dev` on a folder of its own."""

    def __init__(self, *options, listen="127.0.0.1:0", token=None):
        self.folder = tempfile.mkdtemp(prefix="windlass-dashboard-")
        self.options = list(options)
        self.token = token
        self.start(listen)

    def start(self, listen):
        self.log = tempfile.TemporaryFile("w+")
        command = [BINARY, "dev", "--listen", listen, "--data-dir", self.folder, *self.options]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WINDLASS_")}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log, env=clean)
        self.address = until("it says where it listens", self.listens)
        self.url = f"http://{self.address}"
        until("it is ready", self.is_ready)

    def listens(self):
        text = os.pread(self.log.fileno(), 1 << 16, 0).decode(errors="replace")
        assert self.process.poll() is None, text
        found = re.search(r"http://([0-9.]+:\d+)", text)
        return found and found[1]

    def is_ready(self):
        try:
            self.call("GET", "/readyz")
            return True
        except (urllib.error.URLError, ConnectionError):
            return False

    def call(self, method, path, body=None):
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.loads(answer.read() or "null")

    def submit(self, kind, **fields):
        return self.call("POST", "/api/v1/tasks", {"type": kind, **fields})["id"]

    def submit_many(self, number, kind, **fields):
        for first in range(0, number, 1000):
            self.call("POST", "/api/v1/tasks", [{"type": kind, **fields}] * min(1000, number - first))

    def make_queue(self, name):
        """A queue without tasks is known once it has settings."""
        self.call("PUT", f"/api/v1/queues/{name}", {"strategy": "least_load"})

    def task(self, task_id):
        return self.call("GET", f"/api/v1/tasks/{task_id}")

    def ended(self, task_id):
        return self.call("GET", f"/api/v1/tasks/{task_id}?wait=30s")

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.log.close()

    def restart(self):
        self.stop()
        self.start(self.address)

    def close(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder)


class Proxy(http.server.ThreadingHTTPServer):
    """Serves what lies behind `upstream` below `/base/`, as a proxy of an organisation would."""

    daemon_threads = True

    def __init__(self, upstream):
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.upstream = upstream
        threading.Thread(target=self.serve_forever, daemon=True).start()


class ProxyHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        if not self.path.startswith("/base/"):
            self.send_error(404)
            return
        length = int(self.headers.get("Content-Length") or 0)
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=PATIENCE_S)
        kept = {name: self.headers[name] for name in ("Accept", "Content-Type", "Cookie") if self.headers[name]}
        upstream.request(self.command, self.path.removeprefix("/base"), self.rfile.read(length), kept)
        answer = upstream.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            while part := answer.read1(1 << 16):
                self.wfile.write(part)
                self.wfile.flush()
        upstream.close()

    do_POST = do_PUT = do_DELETE = do_GET


class Browser:
    """One Chromium for all journeys."""

    def __init__(self, *arguments):
        self.playwright = sync_playwright().start()
        self.chromium = self.playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments])

    def close(self):
        self.chromium.close()
        self.playwright.stop()


class Watched:
    """A context of the browser whose faults and streams are noted."""

    def __init__(self, browser, **options):
        self.context = browser.chromium.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
        self.faults = []
        self.requests = []
        self.begun = set()
        self.context.on("console", self.hear)
        self.context.on("weberror", lambda error: self.faults.append(str(error.error)))
        self.context.on("request", self.note)
        self.context.on("requestfinished", lambda it: self.begun.discard(it))
        self.context.on("requestfailed", lambda it: self.begun.discard(it))

    def hear(self, message):
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def note(self, request):
        self.requests.append(f"{request.method} {request.url}")
        if "/api/v1/events" in request.url:
            self.begun.add(request)

    def streams(self):
        """How many streams are open now. Of a tab that closed, no end is told."""
        return sum(not it.frame.page.is_closed() for it in self.begun)

    def open(self, url):
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.goto(url)
        return page
