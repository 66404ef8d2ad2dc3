"""What is measured of Plank alone, on a cluster with `wal` and, for the writers' rate, one with `notify` beside it.

Each measure gives one sample, a dict of numbers; Inexact is raised where a client missed a change or had one twice.
"""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from .cluster import PATIENCE, Failed, Standby
from .gateways import HERE
from .measures import Inexact, settled_memory
from .watch import MemoryPeak, Watch, cpu_seconds

WRITERS = 16
ROW = 115  # characters of filling, as everywhere


class Promises:
    def __init__(self, wal, notify, sizes):
        """Both are (Bench, Plank) of a cluster whose worker is ready."""
        self.bench, self.plank = wal
        self.notify = notify
        self.cluster = self.bench.cluster
        self.sizes = sizes
        self.program = self.bench.program.with_name("plank-watch")

    def prepare(self):
        self.cluster.script(self.plank.database, HERE / "sql" / "watched.sql")

    def restart(self):
        self.bench.restart()

    def plan(self):
        """(name, how to take the sample). The standby comes first: it is a copy of what is there by then."""
        yield "standby", self.standby
        yield "overhead", self.overhead
        yield "wal_latency", lambda: self.bench.latency(self.plank)
        yield "bulk", self.bulk
        yield "subscriptions", self.subscriptions
        yield "ranges", self.ranges
        yield "snapshot", self.snapshot
        yield "resume", self.resume

    def standby(self):
        with Standby(self.cluster) as standby:
            if standby.query(self.plank.database, "SELECT plank.wait_until_ready('180s')") != "t":
                raise Failed("Plank did not become ready on the standby in 30 s")
            with Watch(self.program, standby.plank_port, "tracked", primary=self.cluster.conninfo(self.plank.database),
                       standby=standby.conninfo(self.plank.database)) as watch:
                times = watch.replay(self.sizes.replays)
        return {"p50_ms": times["after_replay_ns"]["p50"] / 1e6, "p99_ms": times["after_replay_ns"]["p99"] / 1e6,
                "commit_p50_ms": times["after_commit_ns"]["p50"] / 1e6}

    def overhead(self):
        """The writers' rate tracked against untracked, pair by pair; a worker and one client run all the while."""
        shares = {"wal": [], "notify": []}
        rates = {"wal": [], "notify": []}
        for i in range(self.sizes.pairs):
            both = [("wal", self.bench, self.plank), ("notify", *self.notify)]
            for name, bench, plank in both if i % 2 == 0 else both[::-1]:
                order = ("plain", "tracked") if i % 2 == 0 else ("tracked", "plain")
                found = {table: self._rate(bench, plank, table) for table in order}
                shares[name].append(found["tracked"] / found["plain"])
                rates[name].append(found["tracked"])
        return {**{f"{name}_share": median(shares[name]) for name in shares},
                **{f"{name}_per_second": median(rates[name]) for name in rates}}

    def _rate(self, bench, plank, table):
        options = ("--writers", WRITERS, "--seconds", self.sizes.pair_seconds)
        if table == "tracked":
            sample = bench.load(plank, *options)
        else:
            with bench.held(plank, 1):
                sample = bench.load(plank, "--clients", 0, *options, table=table)
        return sample["changes"] / sample["write_seconds"]

    def bulk(self):
        """One transaction of a million rows: until the last arrives, and what worker and backend take for it."""
        rows = self.sizes.bulk_rows
        worker = self.plank.processes()[0]
        with self._watch("tracked") as watch, _Session(self.cluster, self.plank.database) as session:
            with MemoryPeak(worker, session.backend) as peak:
                began = time.monotonic()
                session.say(_insert("tracked", 1, rows))
                arrived = watch.expect(rows)
                all_of(arrived, 1, rows)
        seconds = arrived["last"] - began
        return {"seconds": seconds, "per_second": rows / seconds, "worker_mb": peak.megabytes(worker),
                "backend_mb": peak.megabytes(session.backend)}

    def subscriptions(self):
        """Equality filters: how fast they are made, what they take, and a change's price with few and with many."""
        clients, each = self.sizes.holders
        worker = self.plank.processes()[0]
        changes = self.sizes.equality_changes

        def price(watch, connections, count):
            # A transaction's 100 changes are for one connection and its `count` subscriptions in turns, so sending is the
            # same few writes always.
            columns = {"user_id": f"t % {connections} * {count} + i * 37 % {count}", "amount": "0"}
            costs = []
            self.write_watched(watch, "watched", columns, changes // 10)
            for _ in range(3):
                before = cpu_seconds(worker)
                self.write_watched(watch, "watched", columns, changes)
                costs.append((cpu_seconds(worker) - before) / changes * 1e6)
            return median(costs)

        with self._watch("watched", clients=clients, where="user_id = #"):
            memory = settled_memory(self.plank)["private_dirty"]
        busy = min(clients, 100)
        samples, grown = [], None
        # Pair by pair: the two must have had the same machine.
        for _ in range(min(self.sizes.pairs, 3)):
            with self._watch("watched", clients=clients, each=each, where="user_id = #") as watch:
                seconds = (watch.ready["confirmed_ns"] - watch.ready["began_ns"]) / 1e9
                if grown is None:  # later there is the history of what was written
                    grown = settled_memory(self.plank)["private_dirty"] - memory
                many = price(watch, busy, each)
            # What differs is the number of subscriptions alone: as many of one connection, and each has a change in its turn.
            with self._watch("watched", each=each, where="user_id = #") as watch:
                few = price(watch, 1, each)
            samples.append({"per_second": clients * each / seconds, "few_us": few, "many_us": many, "times": many / few})
        # As many again, but all of a transaction for one subscription.
        with self._watch("watched", clients=busy, where="user_id = #") as watch:
            spread = price(watch, busy, 1)
        return {**{name: median(sample[name] for sample in samples) for name in samples[0]}, "spread_us": spread,
                "bytes_each": grown * 1024 / (clients * (each - 1))}

    def ranges(self):
        """So many different range filters on one connection; each change is in one of them."""
        count, changes = self.sizes.ranges, self.sizes.range_changes
        worker = self.plank.processes()[0]
        with self._watch("watched", each=count, where="amount >= # * 10 and amount < # * 10 + 10") as watch:
            before = cpu_seconds(worker)
            columns = {"user_id": "0", "amount": f"(t * 100 + i) * 7 % ({count} * 10)"}
            seconds = self.write_watched(watch, "watched", columns, changes)
            cpu = cpu_seconds(worker) - before
        return {"per_second": changes / seconds, "worker_us": cpu / changes * 1e6}

    def snapshot(self):
        """Snapshots of a large table, one after the other, while another client's latency is taken."""
        rows = self.sizes.snapshot_rows
        if self.cluster.query(self.plank.database, "SELECT NOT EXISTS (SELECT FROM plank.tracked WHERE relation = 'big'::regclass)") == "t":
            self.cluster.run_sql(self.plank.database, _insert("big", 1, rows) + "; VACUUM ANALYZE big; SELECT plank.track('big');")
        rates = []
        with ThreadPoolExecutor(1) as pool:
            latency = pool.submit(self.bench.load, self.plank, "--inserts", self.sizes.snapshot_inserts, "--rate", 100, "--warmup", 20)
            time.sleep(0.3)
            while not rates or not latency.done():
                with self._watch("big", snapshot=True) as watch:
                    arrived = watch.expect(rows)
                    all_of(arrived, 1, rows)
                    rates.append(rows / (arrived["last"] - watch.ready["began_ns"] / 1e9))
            times = latency.result()["latency_ns"]
        return {"per_second": median(rates), "count": len(rates), "p50_ms": times["p50"] / 1e6, "p99_ms": times["p99"] / 1e6}

    def resume(self):
        """Foreign WAL passed over, then, after a restart that empties the worker's memory, all of it read for a resume."""
        changes = self.sizes.wal_changes
        database = self.plank.database
        with self._watch("tracked") as watch:
            position = watch.ready["position"]
        start = self._wal()
        # Half of the WAL holds nothing for Plank: this is what the worker's time for foreign WAL is taken from.
        worker = self.plank.processes()[0]
        before = cpu_seconds(worker)
        self._write_foreign(self.sizes.wal_megabytes // 2)
        self._caught_up()
        foreign = self._wal() - start
        skip_cpu = cpu_seconds(worker) - before
        parts = 10
        for part in range(parts):
            self._write_foreign(self.sizes.wal_megabytes // 2 // parts)
            first = part * changes // parts
            self.cluster.run_sql(database, ";\n".join(
                _insert("tracked", first + i + 1, min(first + i + 1000, (part + 1) * changes // parts))
                for i in range(0, changes // parts, 1000)) + ";")
        self._caught_up()
        self.restart()
        written = self._wal() - start
        with self._watch("tracked", since=position) as watch:
            arrived = watch.expect(changes)
            all_of(arrived, 1, changes)
            seconds = arrived["last"] - watch.ready["began_ns"] / 1e9
        self.cluster.query(database, "TRUNCATE foreign_rows")
        return {"skipped_mb_per_second": foreign / 1e6 / skip_cpu, "seconds": seconds, "wal_mb": written / 1e6,
                "replayed_mb": self._replayed() / 1e6}

    def _watch(self, table, **options):
        return Watch(self.program, self.cluster.plank_port, table, **options)

    def write_watched(self, watch, table, columns, changes):
        """In transactions of 100 rows, t their number and i the row's; the seconds until the last has arrived."""
        first = int(self.cluster.query(self.plank.database, f"SELECT coalesce(max(id), 0) FROM {table}"))
        statements = ["SET synchronous_commit = off"]
        for t in range(changes // 100):
            if t == changes // 100 - 1:
                statements.append("SET synchronous_commit = on")  # else the last waits for the WAL writer
            statements.append(f"INSERT INTO {table} (mark, note, {', '.join(columns)}) SELECT '^0:' || {first + t * 100 + 1} + i || '^', "
                              f"repeat('x', {ROW}), {', '.join(columns.values())} FROM generate_series(0, 99) AS i, "
                              f"(VALUES ({t})) AS of(t) ORDER BY i")
        began = time.monotonic()
        self.cluster.run_sql(self.plank.database, ";\n".join(statements) + ";")
        arrived = watch.expect(changes)
        all_of(arrived, first + 1, first + changes)
        return arrived["last"] - began

    def _write_foreign(self, megabytes):
        # A row of 500 characters takes 560 bytes of WAL, and page images after the last checkpoint are none: new pages.
        self.cluster.query(self.plank.database,
                           f"INSERT INTO foreign_rows SELECT repeat('y', 500) FROM generate_series(1, {megabytes * 1_000_000 // 560})")

    def _wal(self):
        return int(self.cluster.query("postgres", "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))

    def _replayed(self):
        """Bytes of WAL read again since the start. The counters appear some time after what they count."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            replayed, resumed = map(int, self.cluster.query(
                self.plank.database, "SELECT wal_replayed, resumed_from_log + resumed_by_replay FROM plank.stat").split("|"))
            if resumed > 0:
                return replayed
            time.sleep(0.05)
        raise Failed("the worker counted no resume")

    def _caught_up(self):
        deadline = time.monotonic() + PATIENCE
        while int(self.cluster.query(self.plank.database, "SELECT coalesce(max(lag_bytes), 0) FROM plank.stat")) > 65536:
            if time.monotonic() > deadline:
                raise Failed(f"the worker did not catch up with the WAL in {PATIENCE} s")
            time.sleep(0.05)


class _Session:
    """A psql that stays, so that its backend can be watched."""

    def __init__(self, cluster, database):
        self.command = [cluster.bin / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", cluster.conninfo(database)]

    def __enter__(self):
        self.process = subprocess.Popen([str(part) for part in self.command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.say("SELECT pg_backend_pid()")
        self.backend = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def say(self, sql):
        self.process.stdin.write(sql + ";\n")
        self.process.stdin.flush()


def _insert(table, first, last):
    return (f"INSERT INTO {table} (mark, note) SELECT '^0:' || i || '^', repeat('x', {ROW}) "
            f"FROM generate_series({first}, {last}) AS i ORDER BY i")


def all_of(arrived, first, last):
    """The right number came, and nothing twice where order was checked; with this, also the right ones."""
    if arrived["sum"] != (first + last) * (last - first + 1) // 2:
        raise Inexact(f"other changes than those from {first} to {last} came")
