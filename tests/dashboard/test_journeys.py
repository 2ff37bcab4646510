"""What people do with the dashboard, done by a browser on the real binary."""

import re
import unittest

from playwright.sync_api import expect

from journey import PAGES, Journey
from rig import PICTURES, Proxy, Watched, until


class Journeys(Journey):
    def test_a_submitted_task_appears_by_itself_and_leads_to_its_details(self):
        page = self.page("tasks")
        expect(page.get_by_text("There is no task yet")).to_be_visible()
        big = "12345678901234567890"
        task = self.server.submit("echo", name="first <b>task</b>", payload={"n": int(big)}, metadata={"tenant": "acme"})
        row = self.row(page, task)
        expect(row).to_contain_text("completed")
        expect(row).to_contain_text("first <b>task</b>")
        row.get_by_role("link", name="echo").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("echo: first")
        expect(page.locator(".viewer pre").first).to_contain_text(big)
        expect(page.locator(".timeline")).to_contain_text("completed on")
        expect(page).to_have_title(re.compile(task))

    def test_rows_follow_their_task_without_being_read_again(self):
        self.pause_queue()
        task = self.server.submit("noop")
        page = self.page("tasks?q=state:pending,running,completed")
        row = self.row(page, task)
        expect(row).to_contain_text("pending")
        row.evaluate("it => { it.isTheSame = true }")
        self.server.call("POST", "/api/v1/queues/default/resume")
        expect(row).to_contain_text("completed")
        self.assertTrue(row.evaluate("it => it.isTheSame"), "the row was kept")

    def test_a_queue_is_paused_and_resumed(self):
        self.server.make_queue("mail")
        page = self.page("queues")
        page.get_by_role("button", name="Pause queue mail").click()
        self.answer(page, "Pause it")
        row = page.locator('tr[data-queue="mail"]')
        expect(row).to_contain_text("paused")
        self.server.submit("noop", queue="mail")
        expect(row.locator("td").nth(1)).to_have_text("1")
        page.get_by_role("button", name="Resume queue mail").click()
        expect(row).to_contain_text("served")
        expect(row.locator("td").nth(1)).to_have_text("0")
        row.get_by_label("Placement of queue mail").select_option("round_robin")
        until("the strategy is set", lambda: self.server.call("GET", "/api/v1/queues/mail")["strategy"] == "round_robin")

    def test_a_waiting_task_says_why_and_is_cancelled(self):
        self.pause_queue()
        task = self.server.submit("noop")
        page = self.page(f"tasks/{task}")
        expect(page.locator(".reasons")).to_contain_text("queue is paused")
        expect(page.locator(".facts dd:empty, .facts dd > :empty")).to_have_count(0)
        page.get_by_role("button", name="Cancel…").click()
        self.answer(page, "Cancel the task")
        expect(page.locator("h1 .badge")).to_contain_text("cancelled")
        expect(page.get_by_role("button", name="Cancel…")).to_be_hidden()
        self.assertEqual(self.server.task(task)["status"], "cancelled")
        page.get_by_role("button", name="Rerun…").click()
        self.answer(page, "Rerun the task")
        expect(page.locator("h1 .badge")).to_contain_text("pending")

    def test_dead_tasks_are_rerun_by_filter_after_their_number_is_typed(self):
        number = 130
        self.server.submit_many(number, "fail", payload={"times": 1}, max_retries=0, queue="mail")
        page = self.page("dead")
        expect(page).to_have_title(re.compile(r"^\(130 failed\)"))
        # They would fail again at once.
        self.pause_queue("mail")
        page.get_by_role("button", name="Rerun all of mail…").click()
        go = page.get_by_role("dialog").get_by_role("button", name="Rerun them")
        expect(go).to_be_disabled()
        self.answer(page, "Rerun them", typed=str(number))
        expect(page.get_by_role("dialog").get_by_role("status")).to_have_text(re.compile("Done. 130 tasks started again, 0 left"))
        page.get_by_role("dialog").get_by_role("button", name="Close").click()
        expect(page.get_by_text("No task waits for a person")).to_be_visible()
        expect(page).to_have_title(re.compile("^Dead tasks"))

    def test_selected_tasks_are_cancelled(self):
        self.pause_queue()
        tasks = [self.server.submit("noop") for _ in range(3)]
        page = self.page("tasks?q=state:pending")
        for task in tasks[:2]:
            self.row(page, task).get_by_role("checkbox").check()
        page.get_by_role("button", name="Cancel 2 selected…").click()
        self.answer(page, "Cancel them")
        expect(page.get_by_role("dialog").get_by_role("status")).to_have_text(re.compile("Done. 2 tasks cancelled"))
        self.assertEqual([self.server.task(it)["status"] for it in tasks], ["cancelled", "cancelled", "pending"])

    def test_a_faulty_filter_is_explained(self):
        page = self.page("tasks?q=colour:red")
        expect(page.locator("[role=alert]").filter(has_text="colour")).to_be_visible()
        self.expected_faults = "400"

    def test_a_worker_is_drained(self):
        page = self.page("nodes")
        page.get_by_role("button", name=re.compile("^Drain ")).click()
        self.answer(page, "Drain it")
        expect(page.locator("tr[data-node]")).to_contain_text("draining")

    def test_ten_tabs_share_one_stream(self):
        pages = [self.page("tasks") for _ in range(10)]
        self.assertEqual(self.seen.streams(), 1, "one stream")
        task = self.server.submit("noop")
        for page in pages:
            page.bring_to_front()
            expect(self.row(page, task)).to_contain_text("completed")
        # Whoever has the stream goes: another takes it over.
        pages[0].close()
        until("another tab has the stream", lambda: pages[1].wait_for_timeout(20) or self.seen.streams() == 1)
        task = self.server.submit("noop")
        expect(self.row(pages[-1], task)).to_contain_text("completed")

    def test_a_restarted_server_is_found_again(self):
        self.expected_faults = "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|503"
        page = self.page("tasks")
        self.server.stop()
        expect(page.locator(".live")).to_have_text("✕ offline")
        self.server.start(self.server.address)
        expect(page.locator(".live")).to_have_text("● live")
        expect(self.row(page, self.server.submit("noop"))).to_contain_text("completed")

    def test_a_paused_tab_asks_for_nothing(self):
        other = self.page("tasks")
        page = self.page("tasks")
        page.get_by_role("button", name="Pause", exact=True).click()
        expect(page.locator(".live")).to_have_text("❚❚ paused")
        mine = []
        page.on("request", lambda it: mine.append(it.url))
        task = self.server.submit("noop")
        other.bring_to_front()
        expect(self.row(other, task)).to_contain_text("completed")
        self.assertEqual(mine, [])
        page.bring_to_front()
        expect(self.row(page, task)).to_have_count(0)
        page.get_by_role("button", name="Resume", exact=True).click()
        expect(self.row(page, task)).to_contain_text("completed")

    def test_everything_is_reached_with_the_keyboard(self):
        tasks = [self.server.submit("noop") for _ in range(3)]
        self.server.ended(tasks[-1])
        page = self.page("overview")
        keys = page.keyboard
        keys.press("g")
        keys.press("t")
        expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")
        keys.press("/")
        expect(page.get_by_label("Filter")).to_be_focused()
        keys.type("sta")
        keys.press("ArrowDown")
        keys.press("Enter")
        keys.type("comp")
        keys.press("ArrowDown")
        keys.press("Enter")
        expect(page.get_by_label("Filter")).to_have_value("state:completed ")
        keys.press("Escape")
        keys.press("Enter")
        expect(page).to_have_url(re.compile("q=state%3Acompleted"))
        expect(self.row(page, tasks[0])).to_be_visible()
        keys.press("j")
        keys.press("j")
        keys.press("k")
        focused = page.evaluate("() => document.activeElement.closest('tr').dataset.id")
        keys.press("Enter")
        expect(page).to_have_url(re.compile(focused))
        keys.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("Keyboard")
        keys.press("Escape")
        keys.press("g")
        keys.press("o")
        chart = page.get_by_role("slider", name="Tasks a second, over time")
        chart.focus()
        keys.press("ArrowLeft")
        expect(chart).to_have_attribute("aria-valuetext", re.compile("accepted"))

    def test_it_works_below_a_path_and_without_a_secure_context(self):
        proxy = Proxy(self.server.address)
        self.addCleanup(proxy.server_close)
        self.addCleanup(proxy.shutdown)
        page = self.seen.open(f"http://plain.test:{proxy.server_port}/base/#/tasks")
        self.assertFalse(page.evaluate("() => isSecureContext"))
        expect(page.locator(".live")).to_have_text("● live")
        task = self.server.submit("echo", payload=1)
        self.row(page, task).get_by_role("link", name="echo").click()
        page.get_by_role("button", name="Copy id").click()
        expect(page.locator(".toast")).to_contain_text("Copied the id")

    def test_markup_in_what_people_send_stays_text(self):
        evil = "<img src=x onerror=alert(1)>"
        task = self.server.submit("fail", name=evil, payload={"times": 9, evil: evil}, max_retries=0, metadata={"note": evil})
        page = self.page(f"tasks/{task}")
        expect(page.locator("h1")).to_contain_text(evil)
        expect(page.get_by_text(evil).first).to_be_visible()
        self.assertEqual(page.locator("img").count(), 0)

    def test_both_themes_are_drawn(self):
        self.server.submit_many(20, "sleep", payload={"ms": 100})
        self.server.submit_many(3, "fail", payload={"times": 9}, max_retries=0)
        failed = self.server.ended(self.server.submit("fail", payload={"times": 9}, max_retries=1, retry={"kind": "fixed", "delay": "100ms"}))
        PICTURES.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            seen = Watched(self.browser, color_scheme=scheme)
            for route in [*PAGES, f"tasks/{failed['id']}"]:
                page = seen.open(f"{self.server.url}/#/{route}")
                expect(page.locator(".live")).to_have_text("● live")
                page.wait_for_load_state()
                expect(page.get_by_role("heading", level=1)).to_be_visible()
                page.screenshot(path=PICTURES / f"{route.split('/')[0] if route in PAGES else 'task'}-{scheme}.png")
            ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
            self.assertEqual(ground == "rgb(255, 255, 255)", scheme == "light")
            self.assertEqual(seen.faults, [])
            seen.context.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
