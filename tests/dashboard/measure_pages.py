"""What the dashboard costs a browser when there are very many tasks, and its pictures."""

import base64
import time

from playwright.sync_api import expect

from rig import Browser, Watched
from workload import Stream

LIVE_RATE = 1000
LIVE_S = 10
# What of each page is sure to change while tasks come, if anything.
FOLLOWS = {"overview": ".tile .figure", "queues": None, "all": "button.fresh", "tasks": None, "dead": None, "nodes": "tr[data-node]"}
PICTURED = ["overview", "queues", "tasks", "task", "why", "nodes", "dead"]

# Noted from the first script on: what blocked the page, how long it went without a frame, and what the policy forbade.
PROBE = """
window.probe = { longest: 0, blocked: 0, gap: 0, forbidden: [] };
new PerformanceObserver((list) => list.getEntries().forEach((it) => {
  probe.longest = Math.max(probe.longest, it.duration);
  probe.blocked += it.duration - 50;
})).observe({ type: 'longtask', buffered: true });
addEventListener('securitypolicyviolation', (it) => probe.forbidden.push(it.violatedDirective + ' ' + it.blockedURI));
let last = performance.now();
(function frame(now) { probe.gap = Math.max(probe.gap, now - last); last = now; requestAnimationFrame(frame); })(last);
"""


# What is cut off: figures that are longer than their tile, and words of a chart that begin left of it.
CUT_OFF = """() => [
  ...[...document.querySelectorAll('.tile')].filter((it) => it.scrollWidth > it.clientWidth),
  ...[...document.querySelectorAll('.grid text')].filter((it) => it.getBBox().x < 0),
].map((it) => it.textContent)"""


class Page:
    """One page in a context of its own: nothing is cached."""

    def __init__(self, browser, url, **options):
        self.seen = Watched(browser, **options)
        self.seen.context.add_init_script(PROBE)
        self.page = self.seen.context.new_page()
        self.page.set_default_timeout(60_000)
        self.cdp = self.seen.context.new_cdp_session(self.page)
        self.bytes = 0
        self.number = 0
        self.cdp.on("Network.loadingFinished", self.count)
        self.cdp.send("Network.enable")
        self.cdp.send("Performance.enable")
        self.url = url

    def count(self, event):
        self.bytes += event["encodedDataLength"]
        self.number += 1

    def open(self, route, content):
        """Milliseconds until the page shows what it is for."""
        began = time.monotonic()
        self.page.goto(f"{self.url}/#/{route}", wait_until="commit")
        self.page.locator(content).first.wait_for()
        return (time.monotonic() - began) * 1000

    def probe(self):
        return self.page.evaluate("() => probe")

    def forget(self):
        self.page.evaluate("() => Object.assign(probe, { longest: 0, blocked: 0, gap: 0 })")

    def heap_mib(self):
        self.cdp.send("HeapProfiler.collectGarbage")
        metrics = self.cdp.send("Performance.getMetrics")["metrics"]
        return next(it["value"] for it in metrics if it["name"] == "JSHeapUsedSize") / (1 << 20)

    def picture(self, path):
        # Playwright writes PNG and JPEG only; WebP has a third of the bytes.
        shot = self.cdp.send("Page.captureScreenshot", {"format": "webp", "quality": 60})
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        faults = self.seen.faults + self.probe()["forbidden"]
        self.seen.context.close()
        assert faults == [], faults


def pages(ids):
    """Each page, and what it shows when it is there."""
    return {
        "overview": ("overview", ".tile .figure:text-matches('[0-9]')"),
        "queues": ("queues", 'tr[data-queue="mail"]'),
        "tasks": ("tasks?q=state:pending+queue:mail+priority:critical", "tr[data-id]"),
        "all": ("tasks", "tr[data-id]"),
        "task": (f"tasks/{ids['retried'][-1]}", ".timeline li"),
        "why": (f"tasks/{ids['mail'][len(ids['mail']) // 2]}", ".reasons li"),
        "nodes": ("nodes", "tr[data-node]"),
        "dead": ("dead", "tr[data-id]"),
        "audit": ("audit", "h1"),
        "settings": ("settings", "h1"),
    }


def cold(browser, server, ids, table):
    table.add("page, cold", "shown after", "bytes", "answers", "heap", "longest task")
    for name, (route, content) in pages(ids).items():
        page = Page(browser, server.url)
        took = page.open(route, content)
        expect(page.page.locator(".live")).to_have_text("● live")
        page.page.wait_for_timeout(500)
        table.add(f"{name:<8} {route[:50]}", f"{took:.0f} ms", f"{page.bytes / 1024:.1f} kB", page.number,
                  f"{page.heap_mib():.1f} MiB", f"{page.probe()['longest']:.0f} ms")
        cut_off = page.page.evaluate(CUT_OFF)
        assert cut_off == [], f"{name}: {cut_off}"
        page.close()


def lively(browser, server, ids, table):
    table.add(f"page, while {LIVE_RATE:,} tasks/s come", "heap before", "heap after", "longest task", "longest frame", "blocked", "bytes/s")
    for name, follows in FOLLOWS.items():
        route, content = pages(ids)[name]
        page = Page(browser, server.url)
        page.open(route, content)
        expect(page.page.locator(".live")).to_have_text("● live")
        page.page.wait_for_timeout(1000)
        before, sent = page.heap_mib(), page.bytes
        page.forget()
        told = follows and page.page.locator(follows).first
        was = told and told.text_content()
        stream = Stream(server.address, LIVE_RATE)
        page.page.wait_for_timeout(LIVE_S * 1000)
        probe = page.probe()
        stream.close()
        if told:
            expect(told).not_to_have_text(was)
        table.add(f"{name} ({stream.sent:,} tasks came)", f"{before:.1f} MiB", f"{page.heap_mib():.1f} MiB", f"{probe['longest']:.0f} ms",
                  f"{probe['gap']:.0f} ms", f"{probe['blocked']:.0f} ms", f"{(page.bytes - sent) / 1024 / LIVE_S:.1f} kB")
        page.close()


def take_pictures(server, ids, folder, seconds=60):
    """The pages that the guide shows, in both themes, while tasks come and go."""
    folder.mkdir(parents=True, exist_ok=True)
    browser = Browser()
    stream = Stream(server.address, 150)
    try:
        # The charts begin with something to draw.
        time.sleep(seconds)
        for scheme in ("light", "dark"):
            for name in PICTURED:
                route, content = pages(ids)[name]
                page = Page(browser, server.url, color_scheme=scheme, viewport={"width": 1280, "height": 800})
                page.open(route, content)
                expect(page.page.locator(".live")).to_have_text("● live")
                page.page.wait_for_timeout(1500)
                page.picture(folder / f"{name}-{scheme}.webp")
                page.close()
    finally:
        stream.close()
        browser.close()


def measure(server, ids, table):
    browser = Browser()
    try:
        cold(browser, server, ids, table)
        lively(browser, server, ids, table)
    finally:
        browser.close()
