"""Real TensorFlow, a bridge in front of it, and the document that the bridge gives of itself."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODELS = [
    "affine100", "half_plus_three@stable@canary", "half_plus_two@stable@canary",
    "image", "iris", "mixed", "text"]


def free_port():
    """A port that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def listens(port, process):
    """Waits until a process listens; false if it has ended."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


@pytest.fixture(scope="session")
def backend():
    """The address of a gRPC server of the exported models."""
    python = os.environ.get(
        "TFBRIDGE_TEST_SERVING_PYTHON",
        ROOT / "target" / "serving-venv" / "bin" / "python")
    server = subprocess.Popen(
        [python, ROOT / "tests" / "serving" / "server.py",
         "--exit-with-stdin", "--max-seconds", "2400"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL)
    yield server.stdout.readline().split()[-1]
    server.stdin.close()
    server.wait(20)


@pytest.fixture(scope="session")
def bridge(backend):
    """The URL of a bridge to it that holds bodies to the shapes of the signatures."""
    # Somebody else may take a port before the bridge does.
    for _ in range(5):
        port = free_port()
        process = subprocess.Popen(
            [ROOT / "target" / "debug" / "tfbridge", "serve", "--check-shapes",
             "--listen", f"127.0.0.1:{port}", "--admin-listen", "off",
             "--backend", f"http://{backend}", "--model", ",".join(MODELS)],
            stderr=subprocess.DEVNULL)
        if listens(port, process):
            break
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(20)


@pytest.fixture
def document(bridge):
    """The document as JSON."""
    with urllib.request.urlopen(f"{bridge}/openapi.json") as reply:
        return json.load(reply)


@pytest.fixture
def document_file(document, tmp_path):
    """The document as a file."""
    path = tmp_path / "document.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
