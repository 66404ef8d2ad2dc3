"""What is measured of clients with tokens: row security by claims and by role, the tokens themselves, and TLS.

As in promises.py each measure gives one sample, a dict of numbers. The tables are those of sql/secured.sql.
"""

import base64
import hashlib
import hmac
import json
import re
import socket
import ssl
import subprocess
import time
from statistics import median

from .cluster import PATIENCE, SECRET, Failed, free_port
from .gateways import HERE
from .promises import all_of
from .watch import Watch, cpu_seconds

ROOT = HERE.parent


class Identities:
    def __init__(self, promises):
        self.promises = promises
        self.bench, self.plank = promises.bench, promises.plank
        self.cluster, self.sizes = promises.cluster, promises.sizes

    def prepare(self):
        self.cluster.script(self.plank.database, HERE / "sql" / "secured.sql")

    def plan(self):
        yield "claims", self.claims
        yield "decisions", self.decisions
        yield "subqueries", self.subqueries
        yield "shared", self.shared
        yield "tokens", self.tokens
        yield "handshakes", self.handshakes

    def claims(self):
        """Each client sees the rows whose owner it is; every row is a transaction of its own and has one owner."""
        people, changes = self.sizes.people, self.sizes.owned_changes
        worker = self.plank.processes()[0]
        with self._watch("owned", [{"sub": f"person-{i}"} for i in range(people)]) as watch:
            self._write_owned(watch, people, max(changes // 10, people))
            before = cpu_seconds(worker)
            seconds = self._write_owned(watch, people, changes)
            cpu = cpu_seconds(worker) - before
        return {"per_second": changes / seconds, "worker_us": cpu / changes * 1e6}

    def decisions(self):
        """No index can answer these policies: each change is held against everybody's. Each is in one of them."""
        return self._decisions("graded", self.sizes.people, self.sizes.graded_changes)

    def subqueries(self):
        """The same with policies that look into another table."""
        return self._decisions("rooms", self.sizes.members, self.sizes.room_changes)

    def _decisions(self, table, people, changes):
        if table == "rooms":
            self.cluster.query(self.plank.database, "TRUNCATE members; INSERT INTO members SELECT 'person-' || i, i FROM "
                               f"generate_series(0, {people - 1}) AS i; ANALYZE members")
        worker = self.plank.processes()[0]
        with self._watch(table, [{"sub": f"person-{i}", "grade": i} for i in range(people)]) as watch:
            write = lambda count: self.promises.write_watched(watch, table, {"grade": f"(t * 100 + i) * 7 % {people}"}, count)
            write(100)
            before = cpu_seconds(worker)
            seconds = write(changes)
            cpu = cpu_seconds(worker) - before
        return {"per_second": changes * people / seconds, "worker_us": cpu / changes / people * 1e6}

    def shared(self):
        """Clients of one role and one claim, all of whom see every change: with row security and without, in turns."""
        token = _token({"sub": "everybody"})
        rates = {"secured": [], "open": []}
        for i in range(self.sizes.pairs):
            for table in ("secured", "open") if i % 2 == 0 else ("open", "secured"):
                sample = self.bench.load(self.plank, "--path", f"/ws?access_token={token}", "--subscribe", f"public.shared_{table}",
                                         "--clients", self.sizes.people, "--writers", 8, "--inserts", self.sizes.shared_changes,
                                         "--warmup", 40, table=f"shared_{table}")
                rates[table].append(sample["deliveries"] / sample["seconds"])
        return {"share": median(secured / open for secured, open in zip(rates["secured"], rates["open"])),
                **{f"{table}_per_second": median(rates[table]) for table in rates}}

    def tokens(self):
        """Without a server: micro/tokens.cpp."""
        done = subprocess.run(["make", "-s", "-f", "scripts/native-tests.mk", "bench-tokens"], cwd=ROOT, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=4 * PATIENCE)
        found = re.findall(r"before: (\d+) a CPU second", done.stdout)
        if done.returncode != 0 or len(found) != 2:
            raise Failed(f"bench-tokens: {done.stdout}{done.stderr}")
        return {"new_per_second": float(found[0]), "known_per_second": float(found[1])}

    def handshakes(self):
        """Full TLS 1.3 handshakes by one client, one after the other: the worker's CPU time and openssl s_server's."""
        certificate, key = self.cluster.directory / "tls.crt", self.cluster.directory / "tls.key"
        self.cluster.as_server("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
                               "-subj", "/CN=localhost", "-keyout", key, "-out", certificate)
        port = free_port()
        server = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificate, "-key", key, "-www",
                                   "-quiet", "-no_cache", "-num_tickets", "1"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, **self.cluster.user)
        self._speak_tls(certificate, key)
        try:
            _wait_for_tls(port)
            _wait_for_tls(self.cluster.plank_port)
            costs = {"plank": [], "openssl": []}
            for i in range(min(self.sizes.pairs, 3)):
                both = [("plank", self.cluster.plank_port, self.plank.processes()[0]), ("openssl", port, server.pid)]
                for name, at, pid in both if i % 2 == 0 else both[::-1]:
                    before = cpu_seconds(pid)
                    count = _connect_for_a_second(at)
                    costs[name].append((cpu_seconds(pid) - before) / count)
        finally:
            server.terminate()
            server.wait()
            self._speak_tls("", "")
        plank, alone = (median(costs[name]) for name in ("plank", "openssl"))
        return {"per_second": 1 / plank, "openssl_per_second": 1 / alone, "plank_us": plank * 1e6, "openssl_us": alone * 1e6,
                "added": median(mine / its for mine, its in zip(costs["plank"], costs["openssl"])) - 1}

    def _speak_tls(self, certificate, key):
        for name, value in (("cert", certificate), ("key", key)):
            self.cluster.query("postgres", f"ALTER SYSTEM SET plank.ssl_{name}_file = '{value}'")
        self.cluster.query("postgres", "SELECT pg_reload_conf()")
        if not certificate:
            _wait_for(lambda: _health(self.cluster.plank_port), "the worker did not go back to plain text")

    def _watch(self, table, identities):
        path = self.cluster.directory / "tokens"
        path.write_text("".join(_token(claims) + "\n" for claims in identities))
        return Watch(self.promises.program, self.cluster.plank_port, table, clients=len(identities), tokens=path)

    def _write_owned(self, watch, people, changes):
        first = int(self.cluster.query(self.plank.database, "SELECT coalesce(max(id), 0) FROM owned"))
        statements = ["SET synchronous_commit = off"]
        for i in range(changes):
            if i == changes - 1:
                statements.append("SET synchronous_commit = on")  # else the last waits for the WAL writer
            statements.append(f"INSERT INTO owned (mark, note, owner) VALUES ('^0:{first + i + 1}^', repeat('x', 115), "
                              f"'person-{i * 37 % people}')")
        began = time.monotonic()
        self.cluster.run_sql(self.plank.database, ";\n".join(statements) + ";")
        arrived = watch.expect(changes)
        all_of(arrived, first + 1, first + changes)
        return arrived["last"] - began


def _token(claims):
    """HS256 with the clusters' secret, for the role that all clients here have."""
    encode = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    body = {"role": "bench_web", "exp": int(time.time()) + 3600, **claims}
    text = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, body))
    return f"{text}.{encode(hmac.digest(SECRET.encode(), text.encode(), hashlib.sha256))}"


def _connect_for_a_second(port):
    done = subprocess.run(["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-time", "1", "-tls1_3"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    found = re.search(r"(\d+) connections in \d+ real seconds", done.stdout)
    if done.returncode != 0 or not found or int(found[1]) == 0:
        raise Failed(f"openssl s_time: {done.stdout}{done.stderr}")
    return int(found[1])


def _wait_for_tls(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def shakes():
        with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as secure:
            return secure.version() == "TLSv1.3"
    _wait_for(shakes, f"nobody speaks TLS on port {port}")


def _health(port):
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return plain.recv(100).startswith(b"HTTP/1.1 200")


def _wait_for(condition, otherwise):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise Failed(otherwise)
        time.sleep(0.05)
