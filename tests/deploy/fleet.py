#!/usr/bin/env python3
"""Measures what a fleet costs a bridge: 1 to 100 model servers on loopback addresses.

Prints the table of deploy/CAPACITY.md as Markdown. It needs wrk, and what
tests/deploy/image has built; it makes a network of its own and ends within a
minute or two.

    tests/deploy/fleet.py             # one process behind all addresses: what the bridge costs
    tests/deploy/fleet.py --servers   # a process behind each: how the first requests spread
    tests/deploy/fleet.py --clients   # what connections of clients cost
"""

import json
import os
import random
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "bench" / "e2e"))
sys.dont_write_bytecode = True

from load import load  # noqa: E402

FLEETS = [1, 3, 10, 30, 100]
CLIENTS = 32
SECONDS = 4
TICK = os.sysconf("SC_CLK_TCK")
API = "http://127.0.0.1:8501"
PATH = "/v1/models/affine100:predict"


@dataclass(frozen=True)
class Body:
    """What wrk posts."""

    path: str
    file: Path


def make_body(directory, rows):
    """Rows of a hundred numbers: one is a kilobyte of JSON, 1505 are as many as an image has."""
    draw = random.Random(7)
    instances = [[round(draw.uniform(-1, 1), 6) for _ in range(100)] for _ in range(rows)]
    file = Path(directory) / f"{rows}.json"
    file.write_text(json.dumps({"instances": instances}), encoding="ascii")
    return Body(PATH, file)


def address(number):
    """The loopback address of a model server."""
    return f"127.0.1.{number + 1}"


def cpu(process):
    """Seconds of CPU that a process has taken."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(process):
    """Its memory now, in megabytes."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024 / 1e6


def sent():
    """Bytes that went to each model server, and the connections to all of them."""
    command = ["ss", "--tcp", "--info", "--numeric", "--no-header", "state", "established", "dport = :8500"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    count, totals = 0, {}
    for where, what in zip(lines[::2], lines[1::2]):
        host = re.findall(r"(127\.0\.1\.\d+):8500", where)[-1]
        totals[host] = totals.get(host, 0) + int(re.search(r"bytes_sent:(\d+)", what)[1])
        count += 1
    return count, totals


def start(program, *arguments, **variables):
    """Starts the program, quietly."""
    return subprocess.Popen([program, *arguments, "--log=error"], env=variables)


def wait(url, process):
    """Until it answers."""
    for _ in range(200):
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                return reply.read()
        except urllib.error.URLError:
            if process.poll() is not None:
                raise
            time.sleep(0.05)
    raise SystemExit(f"{url} does not answer")


def end(processes):
    """Ends what was started."""
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


def bridge(program, count):
    """A bridge in front of so many model servers."""
    backends = ",".join(f"http://{address(number)}:8500" for number in range(count))
    process = start(program, "serve", TFBRIDGE_BACKEND=backends)
    wait("http://127.0.0.1:8502/livez", process)
    return process


def costs(program, count, directory):
    """A row of the table."""
    process = bridge(program, count)
    try:
        idle = resident(process)
        small, image = make_body(directory, 1), make_body(directory, 1505)
        load(8501, small, CLIENTS, 1)
        before = cpu(process)
        seen = load(8501, small, CLIENTS, SECONDS)
        each = (cpu(process) - before) / seen.requests * 1e6
        warm = resident(process)
        connections, totals = sent()
        shares = sorted(totals.get(address(number), 0) for number in range(count))
        mean = sum(shares) / count
        before = cpu(process)
        large = load(8501, image, 8, SECONDS)
        each_image = (cpu(process) - before) / large.requests * 1e6
        print(f"| {count} | {connections} | {seen.rate:,.0f} | {seen.p50:.2f} | {seen.p99:.2f} | {each:.1f} "
              f"| {shares[0] / mean:.2f} to {shares[-1] / mean:.2f} | {idle:.1f} | {warm:.1f} "
              f"| {large.rate:,.0f} | {each_image:,.0f} | {sent()[0]} | {resident(process):.0f} "
              f"| {seen.failed + large.failed} |", flush=True)
    finally:
        end([process])


def table(program, directory):
    """What the bridge costs, by the size of the fleet."""
    serving = start(program, "mock", "--listen=0.0.0.0:8500")
    try:
        print("| servers | connections | requests/s | p50, ms | p99, ms | CPU each, µs | least and most of the mean "
              "| idle, MB | after, MB | images/s | CPU each, µs | connections | after, MB | failed |")
        print("|" + " ---: |" * 14)
        for count in FLEETS:
            costs(program, count, directory)
    finally:
        end([serving])


def spread(program, directory):
    """How the first requests spread over a hundred processes that have just started."""
    fleet = [start(program, "mock", f"--listen={address(number)}:8500") for number in range(100)]
    try:
        time.sleep(2)
        process = bridge(program, len(fleet))
        fleet.append(process)
        small = make_body(directory, 1)
        for second in range(20):
            seen = load(8501, small, CLIENTS, 1)
            _, totals = sent()
            status = json.loads(wait("http://127.0.0.1:8502/statusz", process))
            latencies = {each["address"]: each["latency_ms"] for each in status["backends"]}
            shares = sorted((totals.get(address(number), 0), address(number)) for number in range(100))
            middle = sorted(latencies.values())[50]
            least = [(host, sent_bytes, round(next(v for k, v in latencies.items() if host in k), 3))
                     for sent_bytes, host in shares[:4]]
            print(f"second {second + 1}: {seen.requests} requests; median latency {middle:.3f} ms; most "
                  f"{shares[-1][0]} bytes; least: {least}", flush=True)
    finally:
        end(fleet)


def clients(program, directory):
    """What it costs to keep connections of clients that have had an answer each."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    body = make_body(directory, 1).file.read_bytes()
    request = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    serving = start(program, "mock", "--listen=0.0.0.0:8500")
    process = start(program, "serve", TFBRIDGE_MAX_CONNECTIONS_PER_ADDRESS="10000")
    try:
        wait("http://127.0.0.1:8502/livez", process)
        print("| connections of clients | memory, MB |\n| ---: | ---: |")
        connections = []
        for count in [0, 1000, 5000, 9000]:
            while len(connections) < count:
                connection = socket.create_connection(("127.0.0.1", 8501), timeout=5)
                connection.sendall(request)
                assert connection.recv(4096).startswith(b"HTTP/1.1 200")
                connections.append(connection)
            print(f"| {count} | {resident(process):.1f} |", flush=True)
    finally:
        end([serving, process])


def main():
    """Enters a network of its own first."""
    if os.environ.get("FLEET_INSIDE"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        program = sys.argv[1]
        with tempfile.TemporaryDirectory() as directory:
            {"--servers": spread, "--clients": clients}.get(sys.argv[-1], table)(program, directory)
        return
    target = subprocess.run(["rustc", "--print", "host-tuple"], check=True, capture_output=True, text=True)
    program = ROOT / "target" / target.stdout.strip() / "release" / "tfbridge"
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, __file__, program, *sys.argv[1:]]
    subprocess.run(command, check=True, timeout=150, env={**os.environ, "FLEET_INSIDE": "1"})


if __name__ == "__main__":
    main()
