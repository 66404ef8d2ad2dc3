"""What is measured: each measure takes a gateway and gives one sample, a dict of numbers, of one round.

A sample that is not exact, because a client missed or repeated a change, is no sample: Inexact is raised.
"""

import json
import subprocess
import time
from dataclasses import dataclass

from .cluster import PATIENCE, Failed


class Inexact(Exception):
    """A client missed a change, had one twice, or was cut off."""


@dataclass(frozen=True)
class Sizes:
    rounds: int
    latency_inserts: int
    writer_inserts: int
    rows: int
    fanout: tuple  # of (clients, changes)
    idle_clients: int
    rate_seconds: float
    # of the measures of Plank alone
    pairs: int = 5
    pair_seconds: float = 3
    wal_megabytes: int = 1024
    wal_changes: int = 100_000
    bulk_rows: int = 1_000_000
    replays: int = 200
    holders: tuple = (1000, 100)  # clients, and subscriptions of each
    equality_changes: int = 50_000
    ranges: int = 1000
    range_changes: int = 20_000
    snapshot_rows: int = 1_000_000
    snapshot_inserts: int = 800
    # of clients with tokens
    people: int = 500
    owned_changes: int = 20_000
    graded_changes: int = 10_000
    members: int = 100
    room_changes: int = 1000
    shared_changes: int = 2000


FULL = Sizes(rounds=3, latency_inserts=1000, writer_inserts=8000, rows=100_000, fanout=((1000, 2000), (5000, 800)),
             idle_clients=5000, rate_seconds=4)
QUICK = Sizes(rounds=1, latency_inserts=100, writer_inserts=800, rows=5000, fanout=((50, 400), (200, 200)),
              idle_clients=200, rate_seconds=1, pairs=1, pair_seconds=0.5, wal_megabytes=24, wal_changes=2000,
              bulk_rows=20_000, replays=20, holders=(10, 40), equality_changes=2000, ranges=50, range_changes=1000,
              snapshot_rows=20_000, snapshot_inserts=100, people=20, owned_changes=400, graded_changes=200, members=10,
              room_changes=100, shared_changes=200)

WRITERS = 8


class Bench:
    """Runs the load client against the gateways of one cluster."""

    def __init__(self, cluster, gateways, build, sizes):
        self.cluster = cluster
        self.gateways = gateways
        self.program = build / "plank-load"
        self.sizes = sizes

    def restart(self):
        """Everything anew: the server ends the gateways' connections, so they go with it."""
        for gateway in self.gateways:
            gateway.stop()
        self.cluster.restart()
        for gateway in self.gateways:
            gateway.start()

    def latency(self, gateway):
        sample = self.load(gateway, "--inserts", self.sizes.latency_inserts, "--rate", 100, "--warmup", 100)
        return {"p50_ms": sample["latency_ns"]["p50"] / 1e6, "p99_ms": sample["latency_ns"]["p99"] / 1e6,
                "commit_p50_ms": sample["commit_ns"]["p50"] / 1e6, "commit_p99_ms": sample["commit_ns"]["p99"] / 1e6}

    def writers(self, gateway):
        sample = self.load(gateway, "--writers", WRITERS, "--inserts", self.sizes.writer_inserts, "--warmup", 400)
        return {"per_second": sample["changes"] / sample["seconds"],
                "commit_p50_ms": sample["commit_ns"]["p50"] / 1e6, **_cpu(sample)}

    def rows(self, gateway):
        sample = self.load(gateway, "--rows", self.sizes.rows, "--warmup", 100)
        return {"seconds": sample["seconds"], "per_second": sample["changes"] / sample["seconds"],
                "seconds_after_commit": sample["seconds_after_commit"], **_cpu(sample)}

    def fanout(self, gateway, clients, changes):
        sample = self.load(gateway, "--clients", clients, "--writers", WRITERS, "--inserts", changes, "--warmup", 40)
        return {"per_second": sample["deliveries"] / sample["seconds"], "seconds": sample["seconds"],
                "bytes_per_delivery": sample["bytes"] / sample["deliveries"],
                "deliveries_per_read": sample["deliveries"] / sample["reads"], **_cpu(sample)}

    def memory(self, gateway):
        """Of a fresh process that has had a few clients, so that what is loaded once does not count."""
        self.restart()
        with self.held(gateway, 20):
            pass
        before = settled_memory(gateway)
        with self.held(gateway, self.sizes.idle_clients):
            after = settled_memory(gateway)
        return {f"{kind}_kb_each": (after[kind] - before[kind]) / self.sizes.idle_clients for kind in after}

    def rate(self, gateway, table):
        """Writers' own rate, with the gateway running and nobody connected to it."""
        sample = self.load(gateway, "--clients", 0, "--writers", WRITERS, "--seconds", self.sizes.rate_seconds, table=table)
        return {"per_second": sample["changes"] / sample["write_seconds"], "commit_p50_ms": sample["commit_ns"]["p50"] / 1e6}

    def load(self, gateway, *options, table=None):
        self.cluster.query("postgres", "CHECKPOINT")
        command = [self.program, *gateway.load_options(), "--conninfo", self.cluster.conninfo(gateway.database),
                   "--table", table or gateway.table, "--cpu-of", gateway.processes()[0], *options]
        try:
            done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise Inexact(f"{gateway.title}: not done in {PATIENCE} s") from error
        if done.returncode == 2:
            raise Failed(done.stderr)
        if done.returncode != 0:
            raise Inexact(f"{gateway.title}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def held(self, gateway, clients):
        return _Held([self.program, "--hold", "--clients", clients, *gateway.load_options()], gateway)


class _Held:
    """Idle clients, connected while the context lasts."""

    def __init__(self, command, gateway):
        self.command = [str(part) for part in command]
        self.gateway = gateway

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.process.stdout.readline():
            self.process.wait()
            raise Inexact(f"{self.gateway.title}: the idle clients could not connect")

    def __exit__(self, *_):
        self.process.stdin.close()
        code = self.process.wait()
        self.process.stdout.close()
        if code != 0:
            raise Inexact(f"{self.gateway.title}: idle clients were cut off")


def _cpu(sample):
    return {"gateway_cpu": sample["gateway_cpu_seconds"] / sample["seconds"],
            "client_cpu": sample["client_cpu_seconds"] / sample["seconds"]}


def _memory(gateway):
    total = {"rss": 0, "pss": 0, "private_dirty": 0}
    for pid in gateway.processes():
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                name = line.split(":")[0].lower()
                if name in total:
                    total[name] += int(line.split()[1])
    return total


def settled_memory(gateway, within=8.0):
    """The last of three readings in a row that agree to 1 %: buffers of the handshakes are freed in a while."""
    readings = [_memory(gateway)]
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        time.sleep(0.4)
        readings.append(_memory(gateway))
        last = [reading["private_dirty"] for reading in readings[-3:]]
        if len(last) == 3 and max(last) - min(last) <= 0.01 * max(last):
            break
    return readings[-1]
