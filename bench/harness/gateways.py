"""The two gateways that are measured, behind one face: where to connect, which table feeds it, which process it is.

Each has a database of its own in the one cluster. A backend that LISTENs is woken by every notification in its own
database and by none in another, so neither gateway does work while the other is measured.
"""

import json
import os
import subprocess
from pathlib import Path

from .cluster import Failed

HERE = Path(__file__).resolve().parent.parent


class Plank:
    name = "plank"
    title = "Plank"
    database = "bench_plank"
    table = "tracked"

    def __init__(self, cluster, _build):
        self.cluster = cluster

    def prepare(self):
        self.cluster.script(self.database, HERE / "sql" / "plain.sql")
        self.cluster.script(self.database, HERE / "sql" / "tracked.sql")

    def start(self):
        if self.cluster.query(self.database, "SELECT plank.wait_until_ready('30s')") != "t":
            raise Failed("Plank did not become ready in 30 s")

    def stop(self):
        """It stops with the server."""

    def processes(self):
        return self.cluster.worker_pids()

    def load_options(self):
        return ["--port", str(self.cluster.plank_port), "--path", "/ws", "--subscribe", "public.tracked"]

    def versions(self):
        return {"plank": self.cluster.query(self.database, "SELECT extversion FROM pg_extension WHERE extname = 'plank'")}


class Node:
    name = "node"
    title = "Node gateway"
    database = "bench_node"
    table = "notified"

    def __init__(self, cluster, build):
        self.cluster = cluster
        self.directory = build / "node-gateway"
        self.process = None
        self.port = None

    def prepare(self):
        self.cluster.script(self.database, HERE / "sql" / "plain.sql")
        self.cluster.script(self.database, HERE / "sql" / "notified.sql")

    def start(self):
        environment = {**os.environ, **self.cluster.environment(self.database), "NODE_ENV": "production", "PORT": "0"}
        self.process = subprocess.Popen(["node", "gateway.mjs"], cwd=self.directory, env=environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise Failed("the Node gateway did not start")
        self.port = json.loads(line)["port"]

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def processes(self):
        return [self.process.pid]

    def load_options(self):
        return ["--port", str(self.port)]

    def versions(self):
        installed = self.directory / "node_modules"
        version = lambda name: json.loads((installed / name / "package.json").read_text())["version"]
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        return {"node": node.lstrip("v"), "pg (npm)": version("pg"), "ws (npm)": version("ws")}


GATEWAYS = {gateway.name: gateway for gateway in (Plank, Node)}
