"""The mock as a process, for the checks beside this file."""

import contextlib
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target" / "debug" / "tfbridge"
MODELS = ROOT / "target" / "serving-models"


@contextlib.contextmanager
def mock(*arguments):
    """Runs a mock and gives its gRPC and its REST address."""
    process = subprocess.Popen(
        [PROGRAM, "mock", "--listen", "127.0.0.1:0", "--rest-listen",
         "127.0.0.1:0", "--log", "error", *arguments],
        stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        grpc, rest = line.strip().split(" gRPC at ")[1].split(", REST at ")
        yield grpc, rest.removeprefix("http://")
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()
