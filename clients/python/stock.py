#!/usr/bin/env python3
"""The stock types as a Python worker: what `windlass conformance worker` asks of every worker under test.

    windlass conformance worker -- python3 clients/python/stock.py
"""

import os
from typing import Any

from windlass_worker import Context, Worker


def echo(ctx: Context) -> Any:
    return ctx.payload


def sleep(ctx: Context) -> None:
    ctx.stop.wait((ctx.payload or {}).get("ms", 0) / 1000)
    ctx.check()


def fail(ctx: Context) -> None:
    if ctx.attempt <= (ctx.payload or {}).get("times", 1):
        raise RuntimeError(f"attempt {ctx.attempt} fails as ordered")


if __name__ == "__main__":
    worker = Worker(ttl=os.environ.get("WINDLASS_TTL", "10s"))
    worker.handler("echo", echo).handler("sleep", sleep).handler("fail", fail).run()
