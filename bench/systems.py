"""The servers that are compared: each started in a directory of its own on a free port of the loopback, ended at
exit whatever happens. Nothing but the standard library."""

import atexit
import glob
import os
import shutil
import signal
import socket
import subprocess
import time

BIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build", "release")
TICKS = os.sysconf("SC_CLK_TCK")
POSTGRES_BIN = "/usr/lib/postgresql/15/bin"
EMULATOR_JARS = [
    os.environ.get("SKERRY_EMULATOR_JAR", ""),
    "/usr/lib/google-cloud-sdk/platform/cloud-firestore-emulator/cloud-firestore-emulator.jar",
]
started = []


class Missing(Exception):
    """A system that this machine does not have: it is left out, with the reason."""


def end_all():
    for process in started:
        if process.poll() is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


atexit.register(end_all)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def launch(command, log, **options):
    """A process in a group of its own, so that it can be ended with all its children."""
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                   **options)
    started.append(process)
    return process


def wait_for_port(port, process, seconds, log):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.001)
    with open(log, errors="replace") as f:
        raise RuntimeError(f"nothing listens on port {port} after {seconds} s; the end of its log:\n{f.read()[-2000:]}")


def children_of(pid):
    found = [pid]
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(task) as f:
                for child in f.read().split():
                    found += children_of(int(child))
        except OSError:
            pass
    return found


def proc_field(pid, file, name):
    try:
        with open(f"/proc/{pid}/{file}") as f:
            for line in f:
                if line.startswith(name + ":"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


class System:
    """What is measured of any of them. `pid` is the first of its processes."""

    name = ""
    authorization = None
    target = None
    process = None

    def cpu_seconds(self):
        """Of all its processes, ended children included."""
        total = 0
        for pid in children_of(self.process.pid):
            try:
                with open(f"/proc/{pid}/stat") as f:
                    fields = f.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += sum(int(ticks) for ticks in fields[11:15 if pid == self.process.pid else 13])
        return total / TICKS

    def resident_bytes(self):
        pids = children_of(self.process.pid)
        if len(pids) == 1:
            return proc_field(pids[0], "status", "VmRSS") * 1024
        return sum(proc_field(pid, "smaps_rollup", "Pss") for pid in pids) * 1024  # shared pages once

    def reset_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as f:
            f.write("5")

    def peak_bytes(self):
        """Resident at the most since reset_peak."""
        return proc_field(self.process.pid, "status", "VmHWM") * 1024

    def written_bytes(self):
        return proc_field(self.process.pid, "io", "write_bytes")

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Asks it to end, and insists after 30 seconds. The exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode


class Echo(System):
    name, program = "echo", "bare_echo"

    def __init__(self, directory):
        self.log = os.path.join(directory, "echo.log")
        port = free_port()
        program = os.path.join(BIN, "bench", self.program)
        self.process = launch([program, "127.0.0.1", str(port), str(os.cpu_count())], self.log)
        wait_for_port(port, self.process, 10, self.log)
        self.target = f"127.0.0.1:{port}"


class Broadcast(Echo):
    name, program = "broadcast", "bare_broadcast"


class Skerry(System):
    name = "skerry"

    def __init__(self, directory, arguments=()):
        self.program = os.path.join(BIN, "skerry")
        if not os.path.exists(self.program):
            raise Missing("build/release/skerry is not built")
        self.data = os.path.join(directory, "data")
        self.log = os.path.join(directory, "skerry.log")
        self.arguments = list(arguments)
        if "--profile" not in self.arguments:  # the same on every machine
            self.arguments += ["--profile", "medium"]
            if "--memory-limit" not in self.arguments:
                self.arguments += ["--memory-limit", "256M"]
        self.port = free_port()
        self.target = f"127.0.0.1:{self.port}"
        self.start()

    def start(self):
        """Seconds until it listens."""
        begin = time.monotonic()
        self.process = launch([self.program, "serve", "--dev", "--listen", self.target, "--data", self.data,
                               *self.arguments], self.log)
        wait_for_port(self.port, self.process, 60, self.log)
        return time.monotonic() - begin

    def log_bytes(self):
        """Of the engine's write-ahead log."""
        return sum(os.path.getsize(f) for f in glob.glob(os.path.join(self.data, "**", "*.log"), recursive=True)
                   if os.path.exists(f))

    def disk_bytes(self):
        return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(self.data) for f in files)


class Emulator(System):
    name = "emulator"
    authorization = "Bearer owner"

    def __init__(self, directory):
        jar = next((jar for jar in EMULATOR_JARS if jar and os.path.exists(jar)), None)
        java = shutil.which("java")
        if not jar or not java:
            raise Missing("the official emulator (google-cloud-cli-firestore-emulator) or java is not installed")
        self.log = os.path.join(directory, "emulator.log")
        port = free_port()
        self.process = launch([java, "-cp", jar, "com.google.cloud.datastore.emulator.firestore.CloudFirestore",
                               "start", "--host=127.0.0.1", f"--port={port}"], self.log)
        wait_for_port(port, self.process, 60, self.log)
        self.target = f"127.0.0.1:{port}"


class Postgres(System):
    name = "postgres"

    def __init__(self, directory, documents, size):
        if not os.path.exists(f"{POSTGRES_BIN}/initdb") or not shutil.which("pgbench"):
            raise Missing("PostgreSQL 15 (postgresql-15) is not installed")
        self.directory = os.path.join(directory, "postgres")
        self.log = os.path.join(directory, "postgres.log")
        os.mkdir(self.directory)
        self.prefix = []
        if os.getuid() == 0:  # it refuses to run as root
            shutil.chown(self.directory, "postgres", "postgres")
            self.prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data = os.path.join(self.directory, "data")
        self.run([f"{POSTGRES_BIN}/initdb", "--auth=trust", "--username=bench", "--pgdata", data])
        self.port = free_port()
        self.process = launch([*self.prefix, f"{POSTGRES_BIN}/postgres", "-D", data, "-p", str(self.port), "-c",
                               "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.directory}",
                               "-c", "synchronous_commit=on"], self.log, cwd=self.directory)
        wait_for_port(self.port, self.process, 30, self.log)
        self.query("CREATE TABLE documents (id bigint PRIMARY KEY, body text NOT NULL);"
                   f"INSERT INTO documents SELECT n, repeat('x', {size}) FROM generate_series(1, {documents}) n;"
                   "ANALYZE documents; CHECKPOINT;")
        self.read_script = self.script("read.sql", f"\\set id random(1, {documents})\n"
                                       "SELECT body FROM documents WHERE id = :id;\n")
        self.write_script = self.script("write.sql", f"\\set id random(1, {documents})\n"
                                        f"INSERT INTO documents VALUES (:id, '{'y' * size}') "
                                        "ON CONFLICT (id) DO UPDATE SET body = excluded.body;\n")

    def script(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    def run(self, command):
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True, timeout=60, cwd=self.directory)
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    def connection(self):
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "bench"]

    def query(self, sql):
        limit = time.monotonic() + 20
        while True:  # it listens before it answers
            try:
                return self.run(["psql", *self.connection(), "-v", "ON_ERROR_STOP=1", "-qc", sql, "postgres"])
            except RuntimeError as error:
                if "starting up" not in str(error) or time.monotonic() > limit:
                    raise
                time.sleep(0.1)
