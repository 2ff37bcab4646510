"""Every page passes axe's rules of WCAG 2.2 A and AA, in both themes, and fits a small screen."""

import unittest

from axe_core_python.sync_playwright import Axe
from playwright.sync_api import expect

from journey import PAGES, Journey
from rig import Watched

RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}


class Accessible(Journey):
    def check(self, seen, route):
        page = seen.open(f"{self.server.url}/#/{route}")
        expect(page.locator(".live")).to_have_text("● live")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("table.rows:visible, .facts:visible, .tiles").first).to_be_visible()
        found = Axe().run(page, options=RULES)["violations"]
        told = [f"{route}: {it['id']}: {node['html'][:160]}: {node['failureSummary']}" for it in found for node in it["nodes"]]
        page.close()
        return told

    def test_axe_finds_nothing(self):
        self.server.submit_many(5, "noop")
        self.server.submit_many(2, "fail", payload={"times": 9}, max_retries=0)
        task = self.server.ended(self.server.submit("fail", payload={"times": 9}, max_retries=0, metadata={"tenant": "acme"}))
        self.server.call("POST", "/api/v1/queues/default/pause")
        told = []
        for scheme in ("light", "dark"):
            # The rules are a script of their own, which the policy of the pages rightly forbids.
            seen = Watched(self.browser, color_scheme=scheme, bypass_csp=True)
            for route in [*PAGES, f"tasks/{task['id']}"]:
                told += [f"{scheme}: {it}" for it in self.check(seen, route)]
            seen.context.close()
        self.assertEqual(told, [])

    def test_no_page_is_wider_than_a_small_screen(self):
        self.server.ended(self.server.submit("noop"))
        page = self.seen.context.new_page()
        page.set_viewport_size({"width": 360, "height": 740})
        for route in PAGES:
            page.goto(f"{self.server.url}/#/{route}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
            self.assertLessEqual(wide, 0, route)


if __name__ == "__main__":
    unittest.main(verbosity=2)
