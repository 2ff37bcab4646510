"""A Windlass worker over HTTP: the protocol of docs/guide/src/protocol.md, with nothing but the standard library.

    def greet(ctx: Context) -> object:
        return "hello " + ctx.payload["name"]
    Worker("http://127.0.0.1:7070").handler("greet", greet).run()

What a handler returns is the result; what it raises is a failure, and `RetryAfter` and `Fatal` say more. It should end
soon once the event `ctx.stop` is set, or call `ctx.check()` now and then. SIGTERM lets what runs finish, and leaves.
"""

from __future__ import annotations

import http.client, json, os, random, signal, threading, time, urllib.error, urllib.request  # noqa: E401
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Optional, Sequence, Union

CALL_MAX_S = 10.0  # how long a call may take, beats apart
PAUSE_S = 0.2  # how long to wait before a call is made again


class Stopped(Exception): """The handler was told to stop, and does."""


class RetryAfter(Exception):
    """The handler failed, and is to be tried again after so many seconds."""

    def __init__(self, seconds: float, message: str = "") -> None:
        super().__init__(message or f"try again after {seconds} s")
        self.seconds = seconds


class Fatal(Exception): """The handler failed, and trying again is useless."""


class SessionOver(Exception): """The gateways do not know this session any more."""


@dataclass
class Context:
    """One attempt of a task, as its handler sees it: `id` and `fence` name it, later ones have larger fences."""

    id: str
    fence: int
    type: str
    queue: str
    attempt: int
    payload: Any
    metadata: dict[str, str]
    timeout_s: float
    started: float
    stop: threading.Event = field(default_factory=threading.Event)
    reason: Optional[str] = None
    end: Optional[dict[str, Any]] = None
    news: Optional[tuple[Any]] = None

    def progress(self, value: Any) -> None:
        """Shows people how far it is: told with the next beat, the last value counts."""
        self.news = (json.loads(json.dumps(value)),)

    def check(self) -> None:
        """Raises `Stopped` when it is to stop."""
        if self.stop.is_set():
            raise Stopped(self.reason or "stopped")

    def key(self) -> dict[str, Any]:
        return {"id": self.id, "fence": self.fence}

    def order(self, reason: str) -> None:
        """Has it stop. The first reason counts, but for `fenced`: its claim may be another's by now."""
        self.reason = reason if self.reason is None or reason == "fenced" else self.reason
        self.stop.set()


class Worker:
    """Runs handlers for the tasks that any of `servers` (URLs; WINDLASS_SERVER when empty) gives it."""

    def __init__(
        self, servers: Union[str, Sequence[str]] = "", *, slots: int = 4, queues: Sequence[str] = (),
        ttl: str = "10s", access_token: Optional[str] = None, drain_s: float = 20.0,
    ) -> None:
        servers = servers or os.environ.get("WINDLASS_SERVER", "http://127.0.0.1:7070")
        self.servers = servers.split(",") if isinstance(servers, str) else list(servers)
        self.access = access_token or os.environ.get("WINDLASS_TOKEN")
        self.slots, self.queues, self.ttl, self.drain_s = slots, list(queues), ttl, drain_s
        self.handlers: dict[str, Callable[[Context], Any]] = {}
        self.server = random.randrange(len(self.servers))
        self.lock = threading.RLock()
        self.leaving, self.wake, self.ends = threading.Event(), threading.Event(), threading.Event()
        self.forget()

    def forget(self) -> None:
        self.id = self.token = ""
        self.held: dict[tuple[str, int], Context] = {}
        self.until = self.margin = self.beat_every = 0.0
        self.draining = self.withdrawn = False

    def handler(self, kind: str, run: Callable[[Context], Any]) -> Worker:
        self.handlers[kind] = run
        return self

    def stop(self) -> None:
        """Takes no new tasks, lets what runs finish, and leaves."""
        self.leaving.set()
        self.wake.set()

    def run(self) -> None:
        """Works until SIGTERM, SIGINT or `stop`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            if threading.current_thread() is threading.main_thread():
                signal.signal(number, lambda *_: self.stop())
        with ThreadPoolExecutor(self.slots, "handler") as self.pool:
            while self.join() and not self.live():
                self.until = min(self.until, time.monotonic())
                while self.running():  # another life begins when nothing of this one runs any more
                    self.fence()
                    time.sleep(0.01)
                self.forget()

    def join(self) -> bool:
        """Takes part. Says whether it does; it was told to leave before when it does not."""
        body = {"types": sorted(self.handlers), "slots": self.slots, "queues": self.queues, "ttl": self.ttl, "version": "python/1"}
        while not self.leaving.is_set():
            sent = time.monotonic()
            try:
                joined = self.post("workers", body)
                self.id, self.token = joined["id"], joined["token"]
                self.renewed(sent, joined)
                return True
            except OSError:
                self.leaving.wait(PAUSE_S)
        return False

    def renewed(self, sent: float, session: dict[str, Any]) -> None:
        """The session lasts from when the call was *sent* that renewed it: its lease may not begin any earlier."""
        ttl, self.margin = session["ttl_ms"] / 1000, session["margin_ms"] / 1000
        self.until = max(self.until, sent + ttl - self.margin)
        self.beat_every = session["beat_every_ms"] / 1000

    def is_open(self) -> bool: return time.monotonic() < self.until

    def live(self) -> bool:
        """One session. Says whether it ended because it was to leave."""
        over, since = threading.Event(), 0.0
        for work in (self.fetch, self.beat, self.report):
            threading.Thread(target=self.keep, args=(work, over), daemon=True).start()
        while not over.is_set():
            self.wake.wait(self.fence())
            self.wake.clear()
            if self.leaving.is_set():
                since = since or time.monotonic()
                late = time.monotonic() - since - self.drain_s
                if late > 0:
                    self.stop_all("shutdown")
                if late > self.drain_s or (self.withdrawn and not self.held):
                    leave = partial(self.call, "leave", {}, 2 * self.beat_every)
                    any(self.attempt(leave, over) for _ in self.servers)
                    over.set()
                    return True
        return False

    def keep(self, work: Callable[[], None], over: threading.Event) -> None:
        while not over.is_set():
            self.attempt(work, over)
            self.wake.set()

    def attempt(self, work: Callable[[], Any], over: threading.Event) -> bool:
        """Does something once. Another gateway may answer when this one did not."""
        try:
            work()
            return True
        except SessionOver:
            over.set()
        except OSError:
            time.sleep(PAUSE_S)
        return False

    def fetch(self) -> None:
        """Asks for attempts that it does not have, and waits for them."""
        if self.leaving.is_set() or not self.is_open():
            return time.sleep(PAUSE_S)
        held = self.all()
        body = {"held": [ctx.key() for ctx in held], "stopping": [ctx.key() for ctx in held if ctx.end or ctx.stop.is_set()]}
        wait = self.beat_every * 6  # nobody knows earlier that a gateway has fallen silent
        news = self.call("fetch", {**body, "draining": self.draining, "wait": f"{wait * 1000:.0f}ms"}, wait + CALL_MAX_S)
        self.heed(news)
        for task in news["tasks"]:
            self.take(task)

    def take(self, task: dict[str, Any]) -> None:
        """Starts an attempt, or gives it back: it is this worker's now, and nobody else does."""
        known = {name: task[name] for name in ("id", "fence", "type", "queue", "attempt", "payload", "metadata")}
        ctx = Context(**known, timeout_s=task["timeout_ms"] / 1000, started=time.monotonic())
        with self.lock:
            full = self.running() >= self.slots
            self.held[ctx.id, ctx.fence] = ctx
        if task["stop"] or full or self.draining or self.leaving.is_set() or not self.is_open():
            ctx.end = {"outcome": "handed_back"}
            self.ends.set()
        else:
            self.pool.submit(self.handlers[ctx.type], ctx).add_done_callback(lambda done: self.ended(ctx, done))

    def ended(self, ctx: Context, done: Future[Any]) -> None:
        """What a handler's end means for its task."""
        try:
            end = {"outcome": "completed", "result": done.result()}
            json.dumps(end)
        except BaseException as error:
            end = {"outcome": "failed", "error": str(error) or type(error).__name__}
            if ctx.reason in ("fenced", "shutdown", "time_out"):
                end = {"outcome": "timed_out" if ctx.reason == "time_out" else "handed_back"}
            elif isinstance(error, RetryAfter):
                end["retry_after"] = f"{max(1, int(error.seconds * 1000))}ms"
            elif isinstance(error, Fatal):
                end["fatal"] = True
        end["ran_ms"] = int((time.monotonic() - ctx.started) * 1000)
        ctx.end = end
        self.ends.set()

    def beat(self) -> None:
        """Renews the session, tells progress, and learns what must stop."""
        if self.is_open():
            time.sleep(self.beat_every) if self.withdrawn else self.leaving.wait(self.beat_every)
        leaving = self.leaving.is_set()
        held = self.all()
        news = [(ctx, ctx.news) for ctx in held if ctx.news]
        told = [{**ctx.key(), "progress": value[0]} for ctx, value in news if value]
        sent = time.monotonic()
        beat = {"held": [ctx.key() for ctx in held], "leaving": leaving, "progress": told}
        beaten = self.call("beat", beat, 2 * self.beat_every)  # a session does not wait for a silent gateway
        self.renewed(sent, beaten)
        self.heed(beaten)
        self.withdrawn = leaving
        for ctx, value in news:
            ctx.news = None if ctx.news is value else ctx.news

    def heed(self, news: dict[str, Any]) -> None:
        self.draining = news["draining"]
        reasons = {(stop["id"], stop["fence"]): stop["reason"] for stop in news["stops"]}
        for ctx in (ctx for ctx in self.all() if (ctx.id, ctx.fence) in reasons):
            ctx.order(reasons[ctx.id, ctx.fence])

    def stop_all(self, reason: str) -> None:
        for ctx in self.all():
            ctx.order(reason)

    def all(self) -> list[Context]:
        with self.lock:
            return list(self.held.values())

    def running(self) -> int:
        return sum(1 for ctx in self.all() if ctx.end is None)

    def fence(self) -> float:
        """Stops what runs too long, and all when the session is over. Says how long nothing more is due."""
        now, due = time.monotonic(), self.until
        if now >= due:
            self.stop_all("fenced")
            if self.until and now > due + self.margin and self.running():
                os._exit(70)  # others may run these tasks by now: what does not stop dies with its process
            return PAUSE_S
        for ctx in (ctx for ctx in self.all() if ctx.end is None):
            if now >= ctx.started + ctx.timeout_s:
                ctx.order("time_out")
        return min(due - now, PAUSE_S)

    def report(self) -> None:
        """Has every end recorded. What nobody can tell yet is asked again."""
        self.ends.wait(PAUSE_S)
        self.ends.clear()
        ends = [{**ctx.key(), **ctx.end} for ctx in self.all() if ctx.end][:200]
        if not ends or not self.is_open():
            return
        for end, told in zip(ends, self.call("done", {"results": ends})["results"]):
            if told["status"] in ("recorded", "stale"):
                with self.lock:
                    self.held.pop((end["id"], end["fence"]), None)
            elif told["status"] == "refused":
                error = f"the result is refused: {told['errors']}"
                self.held[end["id"], end["fence"]].end = {"outcome": "failed", "error": error, "fatal": True}

    def call(self, what: str, body: dict[str, Any], limit: float = CALL_MAX_S) -> Any:
        token = self.token
        answer = self.post(f"workers/{self.id}/{what}", {"token": token, **body}, limit)
        if token != self.token:
            raise SessionOver  # this was asked in a life before
        return answer

    def post(self, path: str, body: dict[str, Any], limit: float = CALL_MAX_S) -> Any:
        """Asks a gateway. Later calls go to another one when this one does not answer."""
        asked = self.server
        url = f"{self.servers[asked % len(self.servers)].rstrip('/')}/api/v1/{path}"
        headers = {"content-type": "application/json"}
        if self.access:
            headers["authorization"] = f"Bearer {self.access}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=limit) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 410:
                raise SessionOver from error
            detail = error.read().decode(errors="replace")
        except (OSError, ValueError, http.client.HTTPException) as error:
            detail = str(error)
        if self.server == asked:  # the gateway that is asked meanwhile may be better
            self.server = asked + 1
        raise OSError(f"{url}: {detail}")
