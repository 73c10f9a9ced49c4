"""The scenarios: two payloads through every front, small requests beside huge ones, memory, and what it
costs to be told of requests.

Each starts its processes and ends them; nothing is left running between two of them, so that no
front is measured beside another that does anything. Nothing here prints a result.
"""

import os
import resource
import time
from contextlib import contextmanager
from dataclasses import dataclass

import fronts
from bodies import IMAGE, NPY, RAW, REST, SMALL, body
from load import Load, Wrk, load
from processes import Measured, free_ports, machine_cpu, post, wait_for_port, wait_for_quiet
from workplace import BACKEND, say

WARM_UP = 1
SETTLE = 0.5

# How long to wait for other programs to end, and which part of the machine they may take in a
# round that is as good as one by ourselves.
PATIENCE = 5
DISTURBED = 0.1
CLIENTS = {SMALL: 32, IMAGE: 8}

# 25 images are 40 MB of JSON, 32 are 51 MB: payload b.
HUGE, PAYLOAD_B = 25, 32
# With two clients the machine has time to spare while they are alone; with 32 it has none, as in
# the other scenarios.
MIXED_CLIENTS = (2, 32)

TFBRIDGE = next(front for front in fronts.FRONTS if front.key == "tfbridge")


@dataclass
class Point:
    """A front under a payload."""

    load: Load
    # Seconds per request, and bytes, of the front alone.
    cpu: float
    peak: int
    # The part of the machine's CPU that went to programs that have nothing to do with it.
    others: float

    def rank(self):
        """Greater for the better of two: undisturbed first, then fast."""
        return self.others < DISTURBED, self.load.rate


@dataclass
class Start:
    """A front that has just started."""

    seconds: float
    idle: int


@dataclass
class Mixed:
    """Small requests by themselves and beside huge ones; p99 in milliseconds."""

    idle: float
    loaded: float
    huge_requests: int
    huge_bytes: int
    failed: int
    # As in `Point`, while the small requests were alone.
    others: float


@dataclass
class Memory:
    """One huge request; all in bytes."""

    idle: int
    peak: int
    body: int


@dataclass
class Cost:
    """Small requests, a pair of rounds each: those that are told of, and those that are not."""

    telling: list
    silent: list
    failed: int
    # As in `Point`.
    others: float


@dataclass
class Serving:
    """A front with a back end of its own, ready to be measured."""

    port: int
    process: Measured
    backend: Measured
    start: Start


@contextmanager
def serving(front):
    """Starts a front and a back end, on a quiet machine if it can be had; ends both."""
    wait_for_quiet(PATIENCE)
    port, backend_port = free_ports(2)
    with Measured("backend", [BACKEND, f"127.0.0.1:{backend_port}"]) as backend:
        wait_for_port(backend_port)
        command = front.command(port, backend_port)
        with Measured(front.key, command, fronts.environment(backend_port)) as process:
            seconds = process.wait_for_answer(port, body(front.dialect, SMALL))
            # For what a process still does behind its first answer.
            time.sleep(SETTLE)
            yield Serving(port, process, backend, Start(seconds, process.memory("VmRSS")))


def payload(chosen, which, rounds, seconds):
    """Each front under a payload, in turns; the better round of each, and all starts."""
    points, starts = {}, {}
    for turn in range(rounds):
        for front in chosen:
            with serving(front) as served:
                starts.setdefault(front.key, []).append(served.start)
                point = measure(front, served, which, seconds)
            say(f"{which[0]}, round {turn + 1}, {front.key}: {point.load.rate:.0f}/s, "
                f"p99 {point.load.p99:.2f} ms, {point.cpu * 1e6:.0f} µs CPU, "
                f"{point.load.failed} failed, others took {point.others:.0%} of the machine")
            if front.key not in points or points[front.key].rank() < point.rank():
                points[front.key] = point
    return points, starts


def binary(rounds, seconds):
    """An image as an array through tfbridge, and its bytes through the floor, in turns."""
    points = {}
    floor = next(front for front in fronts.FRONTS if front.key == "floor")
    for turn in range(rounds):
        for front, dialect in [(floor, RAW), (TFBRIDGE, NPY)]:
            with serving(front) as served:
                point = measure(front, served, IMAGE, seconds, dialect)
            say(f"binary, round {turn + 1}, {front.key}: {point.load.rate:.0f}/s, "
                f"{point.cpu * 1e6:.0f} µs CPU, others took {point.others:.0%} of the machine")
            if front.key not in points or points[front.key].rank() < point.rank():
                points[front.key] = point
    return points


def measure(front, served, which, seconds, dialect=None):
    """A front under a payload, in another dialect than its own if one is given."""
    posted = body(dialect or front.dialect, which)
    check(front, served.port, posted)
    load(served.port, posted, CLIENTS[which], WARM_UP)
    # What was under way when the warm-up ended is not to be counted.
    time.sleep(SETTLE)
    seen, cpu, others = watch(served, posted, CLIENTS[which], seconds)
    return Point(seen, cpu / max(seen.requests, 1), served.process.memory("VmHWM"), others)


def watch(served, posted, clients, seconds):
    """A load, the front's seconds of CPU over it, and the part of the machine others took."""
    ours = [served.process.cpu, served.backend.cpu, children_cpu]
    machine, before = machine_cpu(), [used() for used in ours]
    seen = load(served.port, posted, clients, seconds)
    used = [used() - then for used, then in zip(ours, before)]
    others = max(machine_cpu() - machine - sum(used), 0) / seen.seconds / os.cpu_count()
    return seen, used[0], others


def children_cpu():
    """The seconds of CPU of all processes that have ended, such as wrk."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check(front, port, posted):
    """Sees to it that a front does what it is measured for."""
    status, reply = post(port, posted.path, posted.read(), posted.content_type)
    if status != 200 or b"0.15" not in reply:
        raise SystemExit(f"{front.key} answered {status}: {reply[:500]!r}")


def start(rounds):
    """How long tfbridge takes from exec to its first answer, and its memory then."""
    starts = []
    for _ in range(rounds):
        with serving(TFBRIDGE) as served:
            starts.append(served.start)
    return starts


def mixed(front, clients, rounds, seconds):
    """Small requests through a front, by themselves and beside huge bodies without pause."""
    small, huge = body(front.dialect, SMALL), body(front.dialect, IMAGE, HUGE)
    idle, loaded, huge_requests, failed, taken_most = [], [], 0, 0, 0.0
    with serving(front) as served:
        load(served.port, small, clients, WARM_UP)
        for turn in range(rounds):
            alone, _, taken = watch(served, small, clients, seconds)
            # It starts before and ends behind the small ones, so that they are never alone.
            other = Wrk(served.port, huge, 1, seconds + 2)
            time.sleep(1)
            beside = load(served.port, small, clients, seconds)
            others = other.result()
            say(f"mixed, {clients} clients, round {turn + 1}, {front.key}: p99 {alone.p99:.2f} ms alone "
                f"({alone.rate:.0f}/s), {beside.p99:.2f} ms beside ({beside.rate:.0f}/s), "
                f"{others.requests} huge, others took {taken:.0%} of the machine")
            taken_most = max(taken_most, taken)
            idle.append(alone.p99)
            loaded.append(beside.p99)
            huge_requests += others.requests
            failed += alone.failed + beside.failed + others.failed
    return Mixed(min(idle), min(loaded), huge_requests, huge.size, failed, taken_most)


def memory():
    """The peak of tfbridge's memory over one request of 51 MB."""
    posted = body(REST, IMAGE, PAYLOAD_B)
    with serving(TFBRIDGE) as served:
        check(TFBRIDGE, served.port, posted)
        return Memory(served.start.idle, served.process.memory("VmHWM"), posted.size)


def cost(rounds, seconds):
    """Small requests with metrics and the access log, and without, in turns."""
    posted = body(REST, SMALL)
    rates, failed, taken_most = {}, 0, 0.0
    with serving(fronts.TELLING) as telling, serving(fronts.SILENT) as silent:
        pair = [(fronts.TELLING, telling), (fronts.SILENT, silent)]
        for front, served in pair:
            check(front, served.port, posted)
            load(served.port, posted, CLIENTS[SMALL], WARM_UP)
        for turn in range(rounds):
            # Whoever is first has no advantage in the end.
            for front, served in pair if turn % 2 else reversed(pair):
                time.sleep(SETTLE)
                seen, cpu, taken = watch(served, posted, CLIENTS[SMALL], seconds)
                say(f"cost, round {turn + 1}, {front.key}: {seen.rate:.0f}/s, "
                    f"{cpu / max(seen.requests, 1) * 1e6:.1f} µs CPU, others took {taken:.0%} of the machine")
                rates.setdefault(front.key, []).append(seen.rate)
                failed += seen.failed
                taken_most = max(taken_most, taken)
    return Cost(rates["telling"], rates["silent"], failed, taken_most)
