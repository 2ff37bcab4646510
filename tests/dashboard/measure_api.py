"""How long the API takes when there are very many tasks."""

import gzip
import json
import pathlib
import statistics
import time
import urllib.parse

from workload import Sender

ROUNDS = 5


class Table:
    """Lines of figures, printed as they come."""

    def __init__(self):
        self.rows = []

    def add(self, name, *cells):
        self.rows.append((name, *cells))
        print(f"  {name:<66}" + "".join(f"{it:>16}" for it in cells), flush=True)


def rss_mib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return [int(lines[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM")]


class Api:
    def __init__(self, server, table):
        self.sender = Sender(server.address)
        self.table = table

    def get(self, path, **query):
        # Without what it does not ask for.
        query = {name: value for name, value in query.items() if value is not None}
        return self.sender.call("GET", f"/api/v1/{path}?{urllib.parse.urlencode(query)}")[0]

    def time(self, name, path, **query):
        """The median and the longest of some rounds."""
        took = []
        for _ in range(ROUNDS):
            began = time.monotonic()
            text = self.get(path, **query)
            took.append((time.monotonic() - began) * 1000)
        answer = json.loads(text)
        told = next((str(it) for it in (answer.get("count"), len(answer.get("tasks", []))) if it is not None), "")
        if "exact" in answer and not answer["exact"]:
            told = f"> {told}"
        if isinstance(answer.get("tasks"), dict):
            told = ""
        self.table.add(name, f"{statistics.median(took):.1f} ms", f"{max(took):.1f} ms", f"{len(text) / 1024:.1f} kB",
                       f"{len(gzip.compress(text, 6)) / 1024:.1f} kB", told)
        return answer

    def walk(self, name, pages, **query):
        """So many pages one behind the other: what one takes, and which took longest."""
        took, cursor, found = [], None, 0
        for _ in range(pages):
            began = time.monotonic()
            page = json.loads(self.get("tasks", cursor=cursor, **query))
            took.append((time.monotonic() - began) * 1000)
            cursor, found = page["next_cursor"], found + len(page["tasks"])
            if cursor is None:
                break
        self.table.add(name, f"{statistics.median(took):.1f} ms", f"{max(took):.1f} ms", f"{len(took)} pages", "", found)


# What people ask for, and where a list has its slow places: filters that match nearly all, few, or nothing.
LISTS = [
    "", "state:pending", "state:pending queue:mail", "state:pending queue:mail priority:critical", "queue:mail", "queue:reports",
    "state:completed", "state:failed", "state:failed queue:billing meta.tenant:acme", "state:scheduled", "queue:ledger",
    "type:email.*", "type:image.thumbnail state:pending", "priority:0", "created:>-1h", "created:<-1d",
    "error:fails", "state:failed error:nothing", "state:pending name:\"welcome letter 77*\"", "state:pending meta.tenant:hooli",
    "welcome", "no-such-text", "state:pending no-such-text", "retries:>2", "state:running", "-queue:mail -queue:reports",
]
COUNTS = [
    None, "state:pending", "queue:mail", "state:completed", "state:failed", "state:pending priority:0", "state:scheduled queue:reminders",
    "type:email.*", "state:pending type:email.send", "created:>-1h", "state:pending created:>-1h", "error:fails", "state:pending welcome",
]


def measure(server, ids, table):
    api = Api(server, table)
    table.add("call", "median", "longest", "bytes", "gzip", "found")
    for q in LISTS:
        for order in ("newest", "oldest"):
            api.time(f"GET /tasks {order:<7} {q}", "tasks", q=q or None, order=order, limit=100)
    behind = {"oldest": f"o{ids['reminders'][-1].replace('-', '')}", "newest": f"n{ids['ledger'][0].replace('-', '')}"}
    middle = ids["mail"][len(ids["mail"]) // 2].replace("-", "")
    for order, cursor in behind.items():
        api.time(f"GET /tasks {order:<7} in the middle", "tasks", order=order, cursor=f"{order[0]}{middle}")
        api.time(f"GET /tasks {order:<7} the last pages", "tasks", order=order, cursor=cursor)
        api.walk(f"GET /tasks {order:<7} page after page", 50, order=order)
        api.walk(f"GET /tasks {order:<7} page after page state:pending", 50, order=order, q="state:pending")
    for q in COUNTS:
        api.time(f"GET /tasks/count {q or ''}", "tasks/count", q=q)
    for path in ("stats", "history", "queues", "nodes"):
        api.time(f"GET /{path}", path)
    for queue, at in (("mail", 0), ("mail", len(ids["mail"]) // 2), ("mail", -1), ("reports", -1), ("reminders", 0), ("ledger", 0)):
        task = ids[queue][at]
        why = api.time(f"GET /tasks/ID/why of {queue}[{at}]", f"tasks/{task}/why")
        print(f"      {json.dumps(why)[:200]}")
        api.time(f"GET /tasks/ID of {queue}[{at}]", f"tasks/{task}")
