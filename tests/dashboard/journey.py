"""What all journeys share: a server and a browser of their own, and a console that must stay silent."""

import re
import unittest

from playwright.sync_api import expect

from rig import PATIENCE_S, Browser, Server, Watched

PAGES = ["overview", "tasks", "queues", "nodes", "dead", "audit", "settings"]
expect.set_options(timeout=PATIENCE_S * 1000)


class Journey(unittest.TestCase):
    options = ["--workers", "1", "--slots", "4"]

    @classmethod
    def setUpClass(cls):
        cls.browser = Browser("--host-resolver-rules=MAP plain.test 127.0.0.1")

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def setUp(self):
        self.server = Server(*self.options)
        self.addCleanup(self.server.close)
        self.seen = Watched(self.browser)
        self.addCleanup(self.seen.context.close)
        self.expected_faults = r"(?!)"

    def tearDown(self):
        faults = [it for it in self.seen.faults if not re.search(self.expected_faults, it)]
        self.assertEqual(faults, [], "the console is silent")

    def page(self, route):
        page = self.seen.open(f"{self.server.url}/#/{route}")
        expect(page.locator(".live")).to_have_text("● live")
        return page

    def row(self, page, task_id):
        return page.locator(f'tr[data-id="{task_id}"]')

    def pause_queue(self, name="default"):
        self.server.call("POST", f"/api/v1/queues/{name}/pause")

    def answer(self, page, action, typed=None):
        dialog = page.get_by_role("dialog")
        if typed:
            dialog.get_by_label(re.compile("Type .* to confirm")).fill(typed)
        dialog.get_by_role("button", name=action).click()
