"""Lets Prometheus scrape a bridge under some load, and holds alerts and dashboard against what it finds.

    check.py TFBRIDGE DIRECTORY

Every process that is started here ends with this one, and leaves its log in the directory.
"""

import atexit
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

TFBRIDGE, DIRECTORY = Path(sys.argv[1]), Path(sys.argv[2])
DASHBOARD = Path("deploy/grafana/tfbridge.json")
ALERTS = Path("deploy/prometheus/alerts.yml")
CONFIG = Path("deploy/prometheus/prometheus.yml")

# How long requests are sent, and how long anything may take that is waited for.
LOAD_SECONDS = 20
PATIENCE = 30

# Names of metrics wherever they are in an expression, and what only Prometheus knows.
NAME = re.compile(r"\b(?:tfbridge|process)_[a-z0-9_]+\b")

# What the variables of the dashboard stand for in queries.
VARIABLES = {"$__rate_interval": "10s", "$instance": ".*", "$model": ".*", "$job": ".*"}


def start(name, *words):
    """Starts a program that ends with this one."""
    log = open(DIRECTORY / f"{name}.log", "wb")
    process = subprocess.Popen([str(word) for word in words], stdout=log, stderr=log)

    def end():
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()

    atexit.register(end)


def free_port():
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url, data=None):
    """Status and text of a response."""
    request = urllib.request.Request(url, data)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_for(what, condition):
    """Waits until a condition holds; what it raises counts as no."""
    end = time.monotonic() + PATIENCE
    last = None
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (OSError, KeyError, IndexError, ValueError) as error:
            last = error
        time.sleep(0.2)
    sys.exit(f"FAIL {what} ({last})")


def load(bridge, until):
    """Sends requests of several kinds, some of which fail."""
    model = f"{bridge}/v1/models/half_plus_two"
    while time.monotonic() < until:
        get(f"{model}:predict", b'{"instances": [1.0, 2.0, 5.0]}')
        get(f"{model}:predict", b'{"inputs": [[1.0], [2.0]]}')
        get(f"{model}:regress", b'{"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]}')
        get(f"{model}:predict", b"{")
        get(f"{bridge}/v1/models/missing:predict", b'{"instances": [1.0]}')
        get(f"{model}/metadata")
        time.sleep(0.02)


def dashboard_expressions():
    """Every query of the dashboard, by the title of what shows it."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = [
        (panel["title"], target["expr"])
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]
    found += [(note["name"], note["expr"]) for note in dashboard["annotations"]["list"]]
    names = [variable["definition"] for variable in dashboard["templating"]["list"] if "definition" in variable]
    return found, names


def older_format(text):
    """OpenMetrics as Prometheus' older format, which promtool checks: there a counter is named like its samples."""
    counters = set(re.findall(r"^# TYPE (\S+) counter$", text, re.MULTILINE))
    lines = [line for line in text.splitlines() if not line.startswith(("# UNIT", "# EOF"))]
    for index, line in enumerate(lines):
        if line.startswith("# ") and (words := line.split(" ", 3))[2] in counters:
            lines[index] = " ".join([*words[:2], f"{words[2]}_total", *words[3:]])
    return "\n".join(lines) + "\n"


def main():
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=DIRECTORY))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    model_port, api_port, admin_port, prometheus_port = (free_port() for _ in range(4))
    bridge, admin = f"http://127.0.0.1:{api_port}", f"http://127.0.0.1:{admin_port}"
    prometheus = f"http://127.0.0.1:{prometheus_port}"

    start("mock", TFBRIDGE, "mock", "--listen", f"127.0.0.1:{model_port}")
    start(
        "serve", TFBRIDGE, "serve", "--backend", f"127.0.0.1:{model_port}", "--listen", f"127.0.0.1:{api_port}",
        "--admin-listen", f"127.0.0.1:{admin_port}", "--require-model", "half_plus_two",
    )  # fmt: skip
    wait_for("the bridge is ready", lambda: get(f"{admin}/readyz")[0] == 200)

    # The configuration as it is shipped, but for the address and the pace.
    config = CONFIG.read_text()
    config = config.replace("127.0.0.1:8502", f"127.0.0.1:{admin_port}").replace("15s", "1s")
    assert f":{admin_port}" in config and "1s" in config, "the configuration has changed"
    (scratch / CONFIG.name).write_text(config)
    shutil.copy(ALERTS, scratch)
    start(
        "prometheus", "prometheus", f"--config.file={scratch / CONFIG.name}",
        f"--storage.tsdb.path={scratch / 'data'}", f"--web.listen-address=127.0.0.1:{prometheus_port}",
    )  # fmt: skip
    until = time.monotonic() + LOAD_SECONDS
    sender = threading.Thread(target=load, args=(bridge, until), daemon=True)
    sender.start()

    def query(expression):
        url = f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        status, text = get(url)
        answer = json.loads(text)
        if status != 200:
            sys.exit(f"FAIL {expression}: {answer.get('error')}")
        return answer["data"]["result"]

    # Prometheus takes OpenMetrics, whose reader forgives nothing.
    wait_for("Prometheus scrapes the bridge", lambda: query("up")[0]["value"][1] == "1")
    [target] = json.loads(get(f"{prometheus}/api/v1/targets")[1])["data"]["activeTargets"]
    assert target["health"] == "up" and not target["lastError"], target
    print("ok   Prometheus scrapes OpenMetrics")
    sender.join()

    plain = older_format(get(f"{admin}/metrics")[1])
    checked = subprocess.run(["promtool", "check", "metrics"], input=plain, text=True, capture_output=True)
    assert checked.returncode == 0 and not checked.stdout + checked.stderr, checked.stdout + checked.stderr
    print("ok   promtool finds nothing wrong with the text format")

    types = [line.split()[2:] for line in plain.splitlines() if line.startswith("# TYPE")]
    live = {name for name, kind in types if kind != "histogram"}
    live |= {f"{name}_{part}" for name, kind in types if kind == "histogram" for part in ("bucket", "sum", "count")}
    expressions, definitions = dashboard_expressions()
    rules = json.loads(get(f"{prometheus}/api/v1/rules")[1])["data"]["groups"][0]["rules"]
    used = set()
    for expression in [expression for _, expression in expressions] + [rule["query"] for rule in rules] + definitions:
        used |= set(NAME.findall(expression))
    # What alerts say to people may name a histogram as a whole.
    used |= set(NAME.findall(ALERTS.read_text())) - {name for name, _ in types}
    assert len(used) > 20 and not used - live, f"there are no such metrics: {used - live}"
    shown = {name for _, expression in expressions for name in NAME.findall(expression)}
    unseen = [name for name, _ in types if not any(other.startswith(name) for other in shown)]
    assert not unseen, f"the dashboard does not show these: {unseen}"
    print(f"ok   {len(used)} names in alerts and dashboard exist, and every metric is shown")

    empty = []
    for title, expression in expressions:
        for variable, value in VARIABLES.items():
            expression = expression.replace(variable, value)
        assert "$" not in expression, f"{title} has another variable: {expression}"
        if not query(expression):
            empty.append(title)
    # Nothing has been restarted meanwhile, nor has a limit been met.
    assert set(empty) <= {"Starts", "Limits met"}, f"these panels show nothing: {empty}"
    print(f"ok   {len(expressions)} queries of the dashboard are answered")

    bad = [rule["name"] for rule in rules if rule["health"] != "ok" or rule["state"] == "firing"]
    assert rules and not bad, f"these alerts cannot be evaluated, or fire: {bad}"
    print(f"ok   {len(rules)} alerts are evaluated, and none fires")

    sums = 'sum by (verb, code) (rate(tfbridge_requests_total[5s]))'
    page = {"g0.expr": sums, "g0.tab": 0, "g0.range_input": "1m", "g0.step_input": 1}
    picture = DIRECTORY / "graph.png"
    picture.unlink(missing_ok=True)
    subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={scratch / 'chromium'}", "--window-size=1280,900", "--virtual-time-budget=10000",
            f"--screenshot={picture}", f"{prometheus}/graph?" + urllib.parse.urlencode(page),
        ],
        check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert picture.stat().st_size > 20_000, "the picture is empty"
    print(f"ok   the picture of a graph is in {picture}")


if __name__ == "__main__":
    main()
