"""Owns one private PostgreSQL cluster in a temporary directory: made, started, asked and removed here.

The server never runs as root: root hands it to the user postgres. Nothing outside the directory is touched, and the
only TCP port is Plank's.
"""

import os
import pwd
import random
import resource
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{directory}'
max_connections = 60
shared_buffers = 256MB
max_wal_size = 8GB
checkpoint_timeout = 1h
fsync = {fsync}
synchronous_commit = on
log_line_prefix = '%m [%p] %b '
"""

PLANK_SETTINGS = """
shared_preload_libraries = 'plank'
plank.databases = 'bench_plank'
plank.port = {port}
plank.anonymous_role = 'bench_web'
plank.transport = '{transport}'
plank.jwt_key_file = '{directory}/jwt.key'
"""
SECRET = "the-secret-of-the-benchmarks-tokens"

# Foreign WAL for seconds must stay, or nobody could resume.
WAL_SETTINGS = "wal_keep_size = 4GB\n"

PATIENCE = 180  # seconds until a program that does not end is ended, on however busy a machine


class Failed(Exception):
    """Something the benchmark needs did not work; the text is for the person who ran it."""


def raise_descriptor_limit():
    """For this process and all it starts: 5,000 clients are 5,000 descriptors in the load client and in a gateway."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port():
    """Below those that the system gives to outgoing connections, of which a benchmark makes thousands."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Cluster:
    durable = True  # False for a smoke run, whose times say nothing

    def __init__(self, bin_directory, with_plank, transport="notify"):
        self.bin = Path(bin_directory)
        self.with_plank = with_plank
        self.transport = transport
        self.plank_port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="plank-bench-"))
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.user = {}
        self._own_directory()

    def __enter__(self):
        try:
            self._create()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-w", "-D", self.data, "-m", "fast", check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def conninfo(self, database):
        return f"host={self.directory} port=5432 dbname={database} user=postgres"

    def environment(self, database):
        """For clients that read PGHOST and its like."""
        return {"PGHOST": str(self.directory), "PGPORT": "5432", "PGDATABASE": database, "PGUSER": "postgres"}

    def query(self, database, sql):
        return self._run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(database), "-c", sql).strip()

    def script(self, database, path):
        self.run_sql(database, path.read_text())

    def run_sql(self, database, sql):
        """Each statement a transaction of its own."""
        self._run("psql", "-Xqo", "/dev/null", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(database), "-f", "-", stdin=sql)

    def restart(self):
        self._run("pg_ctl", "restart", "-w", "-D", self.data, "-l", self.log, "-m", "fast")

    def worker_pids(self):
        rows = self.query("postgres", "SELECT pid FROM pg_stat_activity "
                          "WHERE backend_type = 'plank worker' AND datname = 'bench_plank' ORDER BY pid")
        return [int(row) for row in rows.split()]

    def crashes(self):
        """Lines of the server's log that no benchmark may leave behind."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "terminated by signal" in line or "PANIC:" in line]

    def _create(self):
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
                  *([] if self.durable else ["-N"]))
        configuration = self.data / "postgresql.conf"
        with configuration.open("a") as file:
            file.write(SETTINGS.format(directory=self.directory, fsync="on" if self.durable else "off"))
        self._run("pg_ctl", "start", "-w", "-D", self.data, "-l", self.log)
        self.query("postgres", "CREATE ROLE bench_web")
        for database in ("bench_node", "bench_plank"):
            self.query("postgres", f"CREATE DATABASE {database}")
        if self.with_plank:
            (self.directory / "jwt.key").write_text(SECRET)
            with configuration.open("a") as file:
                file.write(PLANK_SETTINGS.format(port=self.plank_port, transport=self.transport, directory=self.directory))
                if self.transport == "wal":
                    file.write(WAL_SETTINGS)
            self.restart()

    def as_server(self, *command):
        """A program whose files are to be the server's."""
        done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, **self.user)
        if done.returncode != 0:
            raise Failed(f"{command[0]} failed: {done.stderr.strip()}")

    def _own_directory(self):
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.directory, owner.pw_uid, owner.pw_gid)
            self.user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

    def _run(self, program, *arguments, stdin=None, check=True):
        command = [str(self.bin / program), *map(str, arguments)]
        # pg_ctl's server inherits the output: to a file, or reading it would wait for the server's end.
        with tempfile.TemporaryFile("w+") as output:
            try:
                done = subprocess.run(command, cwd=self.directory, input=stdin, stdout=output, stderr=subprocess.STDOUT,
                                      text=True, timeout=PATIENCE, **self.user,
                                      **({} if stdin is not None else {"stdin": subprocess.DEVNULL}))
            except subprocess.TimeoutExpired as error:
                raise Failed(f"{program} did not end in {PATIENCE} s") from error
            output.seek(0)
            text = output.read()
        if check and done.returncode != 0:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log.exists() else ""
            raise Failed(f"{program} failed: {text.strip()}\n{tail}".strip())
        return text


class Standby(Cluster):
    """A hot standby of a running cluster, with a worker and a port of its own."""

    def __init__(self, primary):
        super().__init__(primary.bin, True, primary.transport)
        self.primary = primary

    def _create(self):
        self._run("pg_basebackup", "-D", self.data, "-d", self.primary.conninfo("postgres"), "-R", "-X", "stream", "-c", "fast")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"unix_socket_directories = '{self.directory}'\nplank.port = {self.plank_port}\n")
        self._run("pg_ctl", "start", "-w", "-D", self.data, "-l", self.log)
