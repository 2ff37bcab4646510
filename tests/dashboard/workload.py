"""A workload of a million tasks, or of any number, sent through the API as programs send it."""

import collections
import http.client
import itertools
import json
import random
import threading
import time

from rig import until

BATCH = 1000
SENDERS = 4

Part = collections.namedtuple("Part", "share make")
TENANTS = ["acme", "globex", "initech", "umbrella", "hooli"]
# One of these, by a clock that repeats: mostly normal, a few urgent.
PRIORITIES = [5, 5, 5, 5, 5, 7, 7, 3, 3, 0]


def letter(n):
    """Waits: no worker runs its type."""
    return {
        "type": "email.send", "queue": "mail", "name": f"welcome letter {n}", "priority": PRIORITIES[n % 10],
        "payload": {"to": f"user-{n}@example.com", "template": "welcome", "locale": "en"},
        "metadata": {"tenant": TENANTS[n % 5]},
    }


def report(n):
    """Waits: its queue is paused."""
    return {
        "type": "report.render", "queue": "reports", "priority": PRIORITIES[n % 10],
        "payload": {"month": f"2026-{n % 12 + 1:02}", "account": n, "format": "pdf"},
        "metadata": {"tenant": TENANTS[n % 5]},
    }


def thumbnail(n):
    return {"type": "image.thumbnail", "queue": "images", "payload": {"object": f"uploads/{n:07}.jpg", "width": 320, "height": 200}}


def reminder(n):
    """Is due in an hour, or within a month."""
    return {"type": "echo", "queue": "reminders", "delay": f"{3600 + n * 26}s", "payload": {"remind": f"user-{n}@example.com"}}


def charge(n):
    """Fails, for good."""
    return {
        "type": "fail", "queue": "billing", "name": f"charge invoice {n}", "max_retries": 0,
        "payload": {"times": 9}, "metadata": {"tenant": TENANTS[n % 5], "cents": str(100 + n % 9900)},
    }


def entry(n):
    """Completes."""
    return {"type": "echo", "queue": "ledger", "priority": PRIORITIES[n % 10], "payload": {"entry": n, "cents": n * 7 % 10_000}}


# Of a hundred tasks. What completes and fails goes first, so that all pages of history hold something.
PARTS = [Part(20, entry), Part(5, charge), Part(35, letter), Part(20, report), Part(10, thumbnail), Part(10, reminder)]


class Sender:
    """A connection that is kept, as a client library keeps it."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=120)

    def call(self, method, path, body=None, headers=None):
        data = None if body is None else json.dumps(body)
        self.connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status < 300, f"{method} {path}: {answer.status} {text[:500]}"
        return text, answer

    def submit(self, tasks):
        while True:
            data = json.dumps(tasks)
            self.connection.request("POST", "/api/v1/tasks", data, {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            text = answer.read()
            if answer.status != 429:
                break
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        assert answer.status == 201, text[:500]
        return [it["id"] for it in json.loads(text)["tasks"]]


def send_all(address, number, make):
    """Sends so many tasks by some connections at once. Gives the first id of every batch, in no order."""
    batches = iter(range(0, number, BATCH))
    lock = threading.Lock()
    firsts, faults = [], []

    def send():
        sender = Sender(address)
        while not faults:
            with lock:
                first = next(batches, None)
            if first is None:
                return
            try:
                firsts.append(sender.submit([make(n) for n in range(first, min(first + BATCH, number))])[0])
            except Exception as fault:
                faults.append(fault)

    threads = [threading.Thread(target=send) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return firsts


def fill(server, number):
    """Sends `number` tasks in all, and waits until those that can end have ended. Gives ids to look at, by queue."""
    server.call("PUT", "/api/v1/queues/reports", {"strategy": "round_robin"})
    server.call("POST", "/api/v1/queues/reports/pause")
    server.make_queue("live")
    ids = {}
    for part in PARTS:
        queue = part.make(0)["queue"]
        ids[queue] = sorted(send_all(server.address, number * part.share // 100, part.make))
    until("what can run has ended", lambda: ended(server) >= number * 25 // 100, patience_s=600)
    return ids


def ended(server):
    tasks = server.call("GET", "/api/v1/stats")["tasks"]
    return tasks["completed"] + tasks["failed"]


def retried(server, number=12):
    """Tasks that fail several times, at last for good: their details tell of each attempt."""
    retry = {"kind": "fixed", "delay": "100ms"}
    ids = [
        server.submit("fail", queue="billing", name=f"refund order {n}", payload={"times": 9}, max_retries=3,
                      retry=retry, metadata={"tenant": TENANTS[n % 5]})
        for n in range(number)
    ]
    return [server.ended(it)["id"] for it in ids]


class Stream:
    """Submits so many tasks a second until it is told to stop."""

    def __init__(self, address, rate, queue="live"):
        self.stopped = threading.Event()
        self.sent = 0
        self.thread = threading.Thread(target=self.run, args=(Sender(address), rate, queue))
        self.thread.start()

    def run(self, sender, rate, queue):
        size = max(1, rate // 20)
        began = time.monotonic()
        for turn in itertools.count(1):
            wait = began + turn * size / rate - time.monotonic()
            if self.stopped.wait(max(0, wait)):
                return
            kind = random.choice(["echo", "noop", "sleep"])
            task = {"type": kind, "queue": queue, "payload": {"ms": 40}, "name": f"{kind} of the stream"}
            sender.submit([task] * size)
            self.sent += size

    def close(self):
        self.stopped.set()
        self.thread.join()
