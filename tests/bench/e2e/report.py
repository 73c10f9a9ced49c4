"""The results as Markdown, and their place in the README. It never measures or rounds up."""

import os
import re
import statistics
import time
from pathlib import Path

from bodies import IMAGE
from fronts import FRONTS
from scenarios import CLIENTS, HUGE

CLIENTS_OF_IMAGES = CLIENTS[IMAGE]
BEGIN, END = "<!-- e2e:begin -->", "<!-- e2e:end -->"


def render(results):
    """All the results, as Markdown that can be read as plain text too."""
    parts = [heading(results)]
    for title, which, points in results["payloads"]:
        parts.append(f"{title}, {CLIENTS[which]} clients:")
        parts.append(payload_table(points))
    if "binary" in results:
        parts.append(binary_text(results["binary"]))
    if results["starts"]:
        parts.append("A front by itself, after its first answer:")
        parts.append(start_table(results["starts"]))
    if "mixed" in results:
        parts.append("Small requests by themselves and beside one client that posts "
                     f"{HUGE} images at once, without pause:")
        parts.append(mixed_table(results["mixed"]))
    if "memory" in results:
        parts.append(memory_text(results["memory"]))
    if "cost" in results:
        parts.append(cost_text(results["cost"]))
    return "\n\n".join(parts)


def heading(results):
    """How, where and when it was measured."""
    rounds = f"the better of {results['rounds']} rounds" if results["rounds"] > 1 else "one round"
    seen = [point for _, _, points in results["payloads"] for point in points.values()]
    seen += results.get("mixed", {}).values()
    seen += results.get("binary", {}).values()
    seen += [results["cost"]] if "cost" in results else []
    others = max((seen.others for seen in seen), default=0)
    return (f"Measured on {time.strftime('%Y-%m-%d')}, {machine()}, by `tests/bench/e2e/run`: wrk with "
            f"one thread over loopback, {results['seconds']} s a point, {rounds}. CPU and memory are "
            "those of the front's processes alone; the back end answers at once. The FastAPI fronts "
            "do without TensorFlow itself, which would add to their start and their memory. Other "
            f"programs took at most {others:.0%} of the machine meanwhile.")


def payload_table(points):
    """A row for each front."""
    rows = [["front", "requests/s", "p50", "p99", "CPU per request", "peak memory", "failed"]]
    for front in FRONTS:
        if point := points.get(front.key):
            load = point.load
            failed = f"**{load.failed} of {load.requests}**" if load.failed else "0"
            rows.append([front.title, number(load.rate), f"{load.p50:.2f} ms", f"{load.p99:.2f} ms",
                         f"{number(point.cpu * 1e6)} µs", megabytes(point.peak), failed])
    return table(rows)


def binary_text(points):
    """What an array takes beside its bytes alone."""
    floor, ours = points["floor"], points["tfbridge"]
    failed = floor.load.failed + ours.load.failed
    return (f"An image as an array of NumPy (0.6 MB), {CLIENTS_OF_IMAGES} clients: {number(ours.cpu * 1e6)} µs of CPU "
            f"per request and {number(ours.load.rate)} requests/s; the floor, which passes the same bytes on, takes "
            f"{number(floor.cpu * 1e6)} µs and makes {number(floor.load.rate)}: {ours.cpu / floor.cpu - 1:+.0%} CPU. "
            f"{failed} failed.")


def start_table(starts):
    """The median start of each front."""
    rows = [["front", "exec to first answer", "idle memory"]]
    for front in FRONTS:
        if seen := starts.get(front.key):
            seconds = statistics.median(start.seconds for start in seen)
            rows.append([front.title, f"{number(seconds * 1e3)} ms",
                         megabytes(statistics.median(start.idle for start in seen))])
    return table(rows)


def mixed_table(seen):
    """How much huge requests delay small ones."""
    rows = [["front", "clients", "p99 alone", "p99 beside", "ratio", "huge requests", "failed"]]
    titles = {front.key: front.title for front in FRONTS}
    for (clients, key), mixed in seen.items():
        failed = f"**{mixed.failed}**" if mixed.failed else "0"
        rows.append([titles[key], str(clients), f"{mixed.idle:.2f} ms", f"{mixed.loaded:.2f} ms",
                     f"{mixed.loaded / mixed.idle:.1f}",
                     f"{mixed.huge_requests} of {megabytes(mixed.huge_bytes)}", failed])
    return table(rows)


def memory_text(memory):
    """What one huge request takes."""
    above = memory.peak - memory.idle
    return (f"One request of {memory.body / 1e6:.1f} MB: peak memory {megabytes(above)} above idle, "
            f"{above / memory.body:.2f} × the body.")


def cost_text(cost):
    """What it costs to be told of requests."""
    ratio = statistics.median(telling / silent for telling, silent in zip(cost.telling, cost.silent))
    return (f"Small requests with metrics and the access log: {number(statistics.median(cost.telling))} a second, "
            f"without both {number(statistics.median(cost.silent))}; the median of {len(cost.telling)} pairs of "
            f"rounds is {ratio:.3f} times as many.")


def table(rows):
    """A Markdown table, its columns aligned for those who read it as text."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths))) + " |"
        for row in rows]
    rule = ["-" * width if not column else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]])


def number(value):
    """Three digits or all before the point, the thousands apart."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}".replace(",", " ")


def megabytes(size):
    """Bytes as megabytes."""
    return f"{number(size / 1e6)} MB"


def machine():
    """What it ran on."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    else:
        model = "an unnamed processor"
    return f"{os.cpu_count()} cores of {model}"


def check_markers(readme):
    """Fails at once, not after minutes of measuring, if there is no place for the results."""
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    if not re.search(f"{BEGIN}.*{END}", text, re.DOTALL):
        raise SystemExit(f"{readme} lacks the markers {BEGIN} and {END}")


def write(readme, text):
    """Puts the text between the markers."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
