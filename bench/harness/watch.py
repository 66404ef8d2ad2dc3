"""plank-watch as a context, and what /proc tells of a process: CPU time and the peak of its own memory."""

import json
import selectors
import subprocess
import tempfile
import threading
import time

from .cluster import PATIENCE
from .measures import Inexact


class Watch:
    """Subscriptions that last as long as the context. `ready` is what it printed when all were confirmed."""

    def __init__(self, program, port, table, **options):
        self.command = [str(program), "--port", str(port), "--table", f"public.{table}"]
        for name, value in options.items():
            self.command += [f"--{name}"] + ([] if value is True else [str(value)])

    def __enter__(self):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        self.rest = b""
        try:
            self.ready = self._answer(2 * PATIENCE)  # 100,000 subscriptions may take their time
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind, *_):
        code = self._end()
        if kind is None and code != 0:
            raise Inexact(f"plank-watch ended with {code}: {self.said}")

    def expect(self, marks):
        """Waits for so many changes; their count, sum of numbers and times in seconds of time.monotonic()."""
        answer = self._ask(f"expect {marks}")
        return {"sum": answer["sum"], "bytes": answer["bytes"], "first": answer["first_ns"] / 1e9, "last": answer["last_ns"] / 1e9}

    def replay(self, rows):
        return self._ask(f"replay {rows}")

    def _ask(self, line):
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; what it said is told below
        return self._answer()

    def _answer(self, patience=PATIENCE):
        deadline = time.monotonic() + patience
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.rest:
                if not selector.select(max(0, deadline - time.monotonic())):
                    raise Inexact(f"plank-watch said nothing for {patience} s")
                piece = self.process.stdout.read1(65536)
                if not piece:
                    self._end()
                    raise Inexact(self.said or "plank-watch ended")
                self.rest += piece
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def _end(self):
        if not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process.stdout.close()
        if not self.errors.closed:
            self.errors.seek(0)
            self.said = self.errors.read().strip()
            self.errors.close()
        return code


def cpu_seconds(pid):
    """Of a process of one thread, to the nanosecond where the kernel keeps it, else to the clock's tick."""
    try:
        with open(f"/proc/{pid}/schedstat") as file:
            return int(file.read().split()[0]) / 1e9
    except OSError:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100


class MemoryPeak:
    """The largest growth of each process's anonymous memory while the context lasts, read every 10 ms; in MB."""

    def __init__(self, *pids):
        self.first = {pid: _anonymous_kb(pid) for pid in pids}
        self.most = dict(self.first)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def megabytes(self, pid):
        return (self.most[pid] - self.first[pid]) / 1024

    def _watch(self):
        while not self.over.wait(0.01):
            for pid, most in self.most.items():
                self.most[pid] = max(most, _anonymous_kb(pid))


def _anonymous_kb(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("RssAnon")), 0)
    except OSError:
        return 0
