"""Processes that are measured: started, watched from outside through `/proc`, ended by their ids.

Nothing is asked of a process itself, so that every front is measured alike. No process that was
not started here is ever touched.
"""

import http.client
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from workplace import WORK

START_LIMIT = 60.0
STOP_LIMIT = 10.0

# A twentieth of one core, seen over half a second, is what an idle machine does.
QUIET_SPAN = 0.5
QUIET_SHARE = 0.05


class Measured:
    """A process and its descendants, from start to end."""

    def __init__(self, name, command, environment=None):
        # A log of its own, since what a front prints would delay it in a terminal.
        self.log = WORK / f"{name}.log"
        with open(self.log, "wb") as log:
            self.started = time.perf_counter()
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        # Known before the parent is gone, for then they would be nobody's children.
        children = self.tree()[1:]
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def tree(self):
        """The ids of the process and all its descendants."""
        children = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat_fields(stat)[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(stat.parent.name))
        tree = [self.process.pid]
        for pid in tree:
            tree.extend(children.get(pid, []))
        return tree

    def cpu(self):
        """The seconds of CPU that all of them have used."""
        ticks = 0
        for pid in self.tree():
            fields = stat_fields(Path(f"/proc/{pid}/stat"))
            # utime and stime; those of ended children, cutime and cstime, are in their parent's.
            ticks += sum(int(field) for field in fields[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self, field):
        """The sum of a field of `status` in bytes: `VmRSS` for now, `VmHWM` for the peak."""
        total = 0
        for pid in self.tree():
            for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
                if line.startswith(field + ":"):
                    total += int(line.split()[1]) * 1024
        return total

    def wait_for_answer(self, port, body):
        """Posts until it answers; returns the seconds from its start."""
        data = body.read()
        while time.perf_counter() - self.started < START_LIMIT:
            if self.process.poll() is not None:
                break
            try:
                status, _ = post(port, body.path, data)
            except (OSError, http.client.HTTPException):
                status = None
            if status == 200:
                return time.perf_counter() - self.started
            time.sleep(0.001)
        raise SystemExit(f"{self.process.args[0]} does not answer; see {self.log}")


def wait_for_port(port):
    """Waits until somebody listens."""
    end = time.perf_counter() + START_LIMIT
    while time.perf_counter() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise SystemExit(f"nobody listens on port {port}")


def stat_fields(stat):
    """The fields of a `stat` file from the state on; the name before it may hold anything."""
    return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def machine_cpu():
    """The seconds of CPU that all programs have used, and the neighbours of a virtual machine."""
    user, nice, system, _, _, _, _, steal = Path("/proc/stat").read_text(encoding="utf-8").split()[1:9]
    return sum(map(int, (user, nice, system, steal))) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(limit):
    """Waits until other programs leave the machine alone, but no longer than the limit."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        before = machine_cpu()
        time.sleep(QUIET_SPAN)
        if machine_cpu() - before < QUIET_SPAN * QUIET_SHARE:
            return


def free_ports(count):
    """Ports that nobody listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def post(port, path, data, content_type="application/json"):
    """Posts once, on a connection of its own; returns the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        connection.request("POST", path, data, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
