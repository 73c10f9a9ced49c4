"""What the built program knows and does: its flags, its variables, its ports, and its end."""

import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager

from render import ROOT, run
from rules import Knowledge

PROGRAM = ROOT / "target" / "debug" / "tfbridge"


def variables():
    """The variables that `tfbridge serve` reads."""
    return set(re.findall(r"\[env: (TFBRIDGE_[A-Z0-9_]+)=", run(PROGRAM, "serve", "--help")))


def version():
    """The version, as in Cargo.toml."""
    return run(PROGRAM, "--version").split()[1]


def check(arguments, environment):
    """What `tfbridge check-config` says to arguments of `serve` and variables: nothing if they are right."""
    command = [PROGRAM, "check-config", *arguments]
    clean = {"PATH": os.environ["PATH"], **environment}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean, timeout=10)
    return done.stderr if done.returncode else ""


def free_port():
    """A port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running(command, **variables):
    """Starts the program, and ends it by force if it is still there afterwards."""
    clean = {"PATH": os.environ["PATH"], "TFBRIDGE_LOG": "error", **variables}
    with subprocess.Popen([PROGRAM, *command], env=clean) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def ask(port, path, body=None):
    """The status and the headers of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5, data=body) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def wait_for(port, path):
    """Until there is an answer of status 200."""
    for attempt in range(100):
        try:
            if ask(port, path)[0] == 200:
                return
        except urllib.error.URLError:
            if attempt == 99:
                raise
        time.sleep(0.05)
    raise AssertionError(f"{path} never became 200")


@contextmanager
def admin_port():
    """Starts a bridge, and gives a function from a path on its admin port to the status there."""
    port = free_port()
    with running(["serve", "--listen=127.0.0.1:0", f"--admin-listen=127.0.0.1:{port}"]):
        wait_for(port, "/livez")
        yield lambda path: ask(port, path)[0]


def knowledge(case):
    """What the program says of itself, for the rules; a bridge runs for that until the class of tests is over."""
    stack = ExitStack()
    case.addClassCleanup(stack.close)
    return Knowledge(variables(), stack.enter_context(admin_port()), check)
