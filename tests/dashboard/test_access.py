"""Who is let in, and what each sees."""

import json
import pathlib
import re
import subprocess
import tempfile
import unittest

from playwright.sync_api import expect

from journey import Journey
from rig import BINARY, Server, Watched, until


class Access(Journey):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "tokens"
        self.tokens = {role: self.token(role) for role in ("read", "operate", "admin")}
        self.server = Server(*self.options, "--tokens", str(self.file), token=self.tokens["admin"])
        self.addCleanup(self.server.close)
        self.seen = Watched(self.browser)
        self.addCleanup(self.seen.context.close)
        # A browser notes each refusal in its console.
        self.expected_faults = "401"

    def token(self, role):
        command = [BINARY, "-o", "json", "token", "new", f"of-{role}", "--role", role, "--file", str(self.file)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["token"]

    def sign_in(self, page, token):
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Sign in").click()

    def signed_in(self, role, route):
        page = self.seen.open(f"{self.server.url}/#/{route}")
        self.sign_in(page, self.tokens[role])
        expect(page.locator(".live")).to_have_text("● live")
        return page

    def test_a_token_is_asked_for_before_anything_is_shown(self):
        page = self.seen.open(f"{self.server.url}/#/tasks")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        expect(page.get_by_label("Token")).to_be_focused()
        asked = [it for it in self.seen.requests if "/api/" in it and not it.endswith("/session")]
        self.assertEqual(asked, [], "nothing else was asked for")
        self.sign_in(page, "wdl_wrong")
        expect(page.get_by_role("alert").filter(has_text=re.compile("token", re.I))).to_be_visible()
        self.sign_in(page, self.tokens["operate"])
        expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")
        self.assertEqual(page.evaluate("() => document.cookie"), "", "no script sees the cookie")

    def test_a_reader_sees_everything_and_changes_nothing(self):
        task = self.server.submit("fail", payload={"times": 9}, max_retries=0)
        self.server.ended(task)
        page = self.signed_in("read", "queues")
        expect(page.locator('tr[data-queue="default"]')).to_be_visible()
        for route in ("queues", "nodes", "tasks?q=state:failed", "dead", f"tasks/{task}"):
            page.goto(f"{self.server.url}/#/{route}")
            expect(page.locator("table.rows:visible, .facts:visible").first).to_be_visible()
            acts = page.get_by_role("main").get_by_role("button", name=re.compile("^(Cancel|Rerun|Pause|Resume|Drain)"))
            expect(acts).to_have_count(0)
        expect(page.get_by_role("link", name="Audit")).to_be_hidden()

    def test_an_administrator_reads_who_did_what(self):
        self.server.make_queue("mail")
        page = self.signed_in("admin", "queues")
        page.get_by_role("button", name="Pause queue mail").click()
        page.get_by_label("Reason").fill("too much of it")
        page.get_by_role("dialog").get_by_role("button", name="Pause it").click()
        expect(page.locator('tr[data-queue="mail"]')).to_contain_text("paused")
        page.get_by_role("link", name="Audit").click()
        row = page.locator("tbody tr").first
        expect(row).to_contain_text("pause (queues)")
        expect(row).to_contain_text("of-admin")
        expect(row).to_contain_text("too much of it")

    def test_who_signs_out_or_loses_the_token_is_asked_again(self):
        page = self.signed_in("operate", "settings")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        self.sign_in(page, self.tokens["read"])
        expect(page.locator(".live")).to_have_text("● live")
        lines = [line for line in self.file.read_text().splitlines() if not line.startswith("of-read ")]
        self.file.write_text("\n".join(lines) + "\n")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        until("its stream has ended", lambda: page.wait_for_timeout(20) or self.seen.streams() == 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
