"""Windlass under a million tasks: what the API and the dashboard cost. `make dashboard-million` runs it; it prints figures."""

import argparse
import os
import time

import measure_api
import measure_pages
from rig import ROOT, Server, until
from workload import fill, retried


def directory_mib(folder):
    return sum(os.path.getsize(os.path.join(root, it)) for root, _, files in os.walk(folder) for it in files) >> 20


def tell_memory(server, table, when):
    now, peak = measure_api.rss_mib(server.process.pid)
    table.add(f"memory of the server {when}", f"{now} MiB", f"peak {peak} MiB", f"disk {directory_mib(server.folder)} MiB")


def restart(server, table):
    began = time.monotonic()
    server.stop()
    stopped = time.monotonic()
    server.start(server.address)
    table.add("restart", f"{stopped - began:.2f} s to stop", f"{time.monotonic() - stopped:.2f} s to ready")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["api", "pages", "pictures"])
    options = parser.parse_args()
    server = Server("--workers", "3", "--slots", "8")
    table = measure_api.Table()
    try:
        tell_memory(server, table, "when empty")
        began = time.monotonic()
        ids = fill(server, options.tasks)
        took = time.monotonic() - began
        table.add(f"{options.tasks:,} tasks submitted, {options.tasks // 4:,} ended", f"{took:.1f} s", f"{options.tasks / took:,.0f}/s")
        ids["retried"] = retried(server)
        tell_memory(server, table, "when full")
        if options.only in (None, "api"):
            measure_api.measure(server, ids, table)
            tell_memory(server, table, "after the calls")
            restart(server, table)
            until("all are known again", lambda: server.call("GET", "/api/v1/stats")["tasks"]["total"] >= options.tasks)
            tell_memory(server, table, "after the restart")
        if options.only in (None, "pages"):
            measure_pages.measure(server, ids, table)
            tell_memory(server, table, "after the pages")
        if options.only == "pictures":
            measure_pages.take_pictures(server, ids, ROOT / "docs/guide/src/pictures")
    finally:
        server.close()


if __name__ == "__main__":
    main()
