#!/usr/bin/env python3
"""Holds `tfbridge inspect` against TensorFlow's own saved_model_cli.

Every model that tests/serving/export_models.py has exported is served by real
TensorFlow and inspected over gRPC; what both tools say of its signatures must
be the same. It listens on the loopback address alone, and ends its server.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVING = HERE.parent / "serving"
MODELS = HERE.parent.parent / "target" / "serving-models"
SHOW = Path(sys.executable).parent / "saved_model_cli"


def theirs(directory):
    """The signatures as saved_model_cli prints them."""
    text = subprocess.run(
        [SHOW, "show", "--dir", directory, "--all"], check=True,
        capture_output=True, text=True, timeout=300).stdout
    signatures = {}
    signature = tensor = None
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("Concrete Functions"):
            break
        if match := re.match(r"signature_def\['(.*)'\]:", line):
            signature = signatures.setdefault(
                match[1], {"method_name": "", "inputs": {}, "outputs": {}})
        elif match := re.match(r"(inputs|outputs)\['(.*)'\] tensor_info:", line):
            tensor = signature[match[1]].setdefault(match[2], {})
        elif match := re.match(r"dtype: (\w+)", line):
            tensor["dtype"] = match[1]
        elif match := re.match(r"shape: (.*)", line):
            known = match[1] != "unknown_rank"
            sizes = [int(size) for size in re.findall(r"-?\d+", match[1])]
            tensor["shape"] = sizes if known else None
        elif match := re.match(r"Method name is: ?(.*)", line):
            signature["method_name"] = match[1]
    signatures.pop("__saved_model_init_op", None)
    return signatures


def ours(program, backend, name, version):
    """The signatures as the command tells them."""
    output = subprocess.run(
        [program, "inspect", name, "--version", version, "--backend", backend,
         "--output", "json"], check=True, stdout=subprocess.PIPE, text=True,
        timeout=60).stdout
    return json.loads(output)["signatures"]


def serve(port_file):
    """Starts the server; returns it and its address."""
    server = subprocess.Popen(
        [sys.executable, SERVING / "server.py", "--port", "0", "--port-file",
         port_file, "--max-seconds", "3000", "--exit-with-stdin"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    for _ in range(1200):
        if port_file.exists() and port_file.stat().st_size:
            return server, f"127.0.0.1:{port_file.read_text().strip()}"
        if server.poll() is not None:
            break
        time.sleep(0.1)
    server.kill()
    raise SystemExit("the server does not start")


def main():
    """Compares all models."""
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as directory:
        server, backend = serve(Path(directory) / "port")
        try:
            compared = 0
            for path in sorted(MODELS.glob("*/*/saved_model.pb")):
                version = path.parent.name
                name = path.parent.parent.name
                expected = theirs(path.parent)
                found = ours(program, backend, name, version)
                assert expected, path
                if found != expected:
                    raise SystemExit(
                        f"{name} {version}\nsaved_model_cli: "
                        f"{json.dumps(expected, sort_keys=True, indent=1)}\n"
                        f"tfbridge: "
                        f"{json.dumps(found, sort_keys=True, indent=1)}")
                compared += len(found)
                print(f"{name} {version}: {len(found)} signatures agree")
            assert compared > 10, compared
        finally:
            server.terminate()
            server.wait(timeout=30)


if __name__ == "__main__":
    main()
