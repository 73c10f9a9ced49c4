"""A bridge in front of real TensorFlow, for all tests of the clients."""

import os
import socket
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    """A port that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def models():
    """The address of a gRPC server of the exported models."""
    python = os.environ.get(
        "TFBRIDGE_TEST_SERVING_PYTHON",
        ROOT / "target" / "serving-venv" / "bin" / "python")
    server = subprocess.Popen(
        [python, ROOT / "tests" / "serving" / "server.py",
         "--exit-with-stdin", "--max-seconds", "600"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL)
    yield server.stdout.readline().split()[-1]
    server.stdin.close()
    server.wait(20)


@pytest.fixture(scope="session")
def bridge(models):
    """A bridge to it: `http` and `grpc` are where it listens."""
    # Somebody else may take a port before the bridge does.
    for _ in range(5):
        http, grpc = (f"127.0.0.1:{free_port()}" for _ in range(2))
        process = subprocess.Popen(
            [ROOT / "target" / "debug" / "tfbridge", "serve",
             "--listen", http, "--grpc-listen", grpc, "--backend", f"http://{models}",
             "--compress-min-size", "100"], stderr=subprocess.DEVNULL)
        if listens(http, process):
            break
    yield SimpleNamespace(http=http, grpc=grpc)
    process.terminate()
    process.wait(20)


def listens(address, process):
    """Waits until a process listens; false if it has ended."""
    host, port = address.split(":")
    while process.poll() is None:
        try:
            socket.create_connection((host, int(port)), 1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False
