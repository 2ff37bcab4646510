"""What the modules compute, asked of them in the browser, and how large they are together."""

import gzip
import unittest

from journey import Journey
from rig import ROOT

ASSETS = ROOT / "shell/src/dashboard/assets"
GZIP_MAX = 60_000

CALL = """async ([file, name, args]) => {
  const main = document.querySelector('script[type=module]').src;
  const called = (await import(new URL(file, main).href))[name](...args);
  return called instanceof Map ? [...called] : called;
}"""


class Modules(Journey):
    def setUp(self):
        super().setUp()
        self.at = self.page("settings")

    def call(self, file, name, *args):
        return self.at.evaluate(CALL, [file, name, list(args)])

    def test_json_is_shown_as_it_was_sent(self):
        text = '{"b":12345678901234567890.10,"2":1,"1":[ ],"a":{},"s":"x\\"}]","s":null,"e":1E400,"u":"\\u0000"}'
        shown = self.call("json.js", "indented", text)
        self.assertEqual("".join(shown.split()), "".join(text.split()))
        self.assertIn('\n  "b": 12345678901234567890.10,\n  "2": 1,\n  "1": [],\n  "a": {},\n', shown)

    def test_nested_json_is_indented(self):
        self.assertEqual(self.call("json.js", "indented", '[1,{"a":[2,3]}]'), '[\n  1,\n  {\n    "a": [\n      2,\n      3\n    ]\n  }\n]')
        deep = "[" * 20_000 + "]" * 20_000
        self.assertEqual("".join(self.call("json.js", "indented", deep).split()), deep)

    def test_members_keep_the_text_of_their_values(self):
        text = ' { "id" : "x" , "payload":{"n":1.0,"t":"}"} ,"n":9007199254740993, "q\\"":null,"l":[1,[2]]} '
        expected = [["id", '"x"'], ["payload", '{"n":1.0,"t":"}"}'], ["n", "9007199254740993"], ['q"', "null"], ["l", "[1,[2]]"]]
        self.assertEqual(self.call("json.js", "members", text), expected)
        for text in ("", "1", "[]", "{}", '{"a"'):
            self.call("json.js", "members", text)

    def test_queries_are_taken_apart_and_put_together(self):
        q = 'state:failed error:"a \\"b\\" c" mail'
        self.assertEqual(self.call("query.js", "terms", q), ["state:failed", 'error:"a \\"b\\" c"', "mail"])
        self.assertEqual(self.call("query.js", "withTerm", q, "state", "running"), 'error:"a \\"b\\" c" mail state:running')
        self.assertEqual(self.call("query.js", "withTerm", q, "state", ""), 'error:"a \\"b\\" c" mail')
        self.assertEqual(self.call("query.js", "quoted", 'a "b"'), '"a \\"b\\""')
        self.assertEqual(self.call("query.js", "valueOf", q, "state"), "failed")

    def test_only_a_term_that_says_no_keeps_a_change_out(self):
        change = {"id": "0193-a", "status": "pending", "queue": "mail", "type": "echo"}
        for q, expected in {
            "": True, "state:pending": True, "state:running,pending": True, "state:failed": False, "queue:ma*": True,
            "queue:other": False, "type:echo queue:mail": True, "id:0193": True, "id:07": False, "error:x": True,
            "-state:pending": True, 'queue:"mail"': True, "echo": True,
        }.items():
            self.assertEqual(self.call("query.js", "mayMatch", q, change), expected, q)
        self.assertTrue(self.call("query.js", "mayMatch", "state:failed queue:mail", {"id": "1", "status": "ended", "queue": None}))

    def test_lengths_of_time_are_spelled_for_people(self):
        for ms, expected in {
            0: "0 ms", 999: "999 ms", 1000: "1.0 s", 9_990: "10.0 s", 59_900: "60 s", 60_000: "1 min", 125_000: "2 min 5 s",
            3_600_000: "1 h", 10_920_000: "3 h 2 min", 90_000_000: "1 d 1 h",
        }.items():
            self.assertEqual(self.call("format.js", "span", ms), expected)

    def test_a_timeline_has_a_step_for_each_wait_and_attempt(self):
        time = "2026-01-01T00:00:0{}Z".format
        attempt = {"attempt": 1, "worker_id": "w", "started_at": time(1), "ended_at": time(2), "end": "failed", "error": "no"}
        task = {"status": "completed", "created_at": time(0), "attempts": [attempt], "started_at": time(4), "completed_at": time(5), "worker_id": "v"}
        found = self.call("timeline.js", "steps", task, 0)
        told = [(it["kind"], (it["to"] - it["from"]) // 1000) for it in found]
        self.assertEqual(told, [("wait", 1), ("failed", 1), ("wait", 2), ("completed", 1)])
        dead = {"status": "failed", "created_at": time(0), "attempts": [attempt], "started_at": time(1), "completed_at": time(2), "worker_id": "w"}
        self.assertEqual([it["kind"] for it in self.call("timeline.js", "steps", dead, 0)], ["wait", "failed"])


class Size(unittest.TestCase):
    def test_all_files_together_are_small(self):
        sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in ASSETS.rglob("*.*")}
        self.assertLess(sum(sizes.values()), GZIP_MAX, sizes)


if __name__ == "__main__":
    unittest.main(verbosity=2)
