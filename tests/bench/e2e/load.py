"""The load: wrk with one thread, kept-alive connections, loopback only, for a bounded time."""

import json
import os
import subprocess
from dataclasses import dataclass

from workplace import HERE


@dataclass(frozen=True)
class Load:
    """What wrk saw; times in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    # Statuses other than 2xx and 3xx, broken connections, and replies that took too long.
    failed: int

    @property
    def rate(self):
        """Requests per second."""
        return self.requests / self.seconds


class Wrk:
    """A run of wrk; it ends by itself."""

    def __init__(self, port, body, clients, seconds):
        command = ["wrk", "--threads", "1", "--connections", str(clients), "--duration", f"{seconds}s",
                   "--timeout", "20s", "--script", HERE / "post.lua", f"http://127.0.0.1:{port}{body.path}"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"E2E_BODY": str(body.file), "E2E_TYPE": body.content_type})

    def result(self):
        """Waits for the end."""
        output, _ = self.process.communicate()
        lines = [line for line in output.splitlines() if line.startswith("E2E ")]
        if self.process.returncode or not lines:
            raise SystemExit(f"wrk failed:\n{output}")
        seen = json.loads(lines[0].removeprefix("E2E "))
        return Load(seen["requests"], seen["seconds"], seen["p50"] / 1e3, seen["p99"] / 1e3, seen["failed"])


def load(port, body, clients, seconds):
    """Runs wrk to its end."""
    return Wrk(port, body, clients, seconds).result()
