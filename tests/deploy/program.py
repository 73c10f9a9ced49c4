"""What the built program knows: its flags, its variables, and the paths of its admin port."""

import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

from render import ROOT, run

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
def admin_port():
    """Starts a bridge, and gives a function from a path on its admin port to the status there."""
    port = free_port()
    command = [PROGRAM, "serve", "--listen=127.0.0.1:0", f"--admin-listen=127.0.0.1:{port}", "--log=error"]
    clean = {"PATH": os.environ["PATH"]}
    with subprocess.Popen(command, env=clean) as bridge:

        def status(path):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        try:
            for attempt in range(100):
                try:
                    status("/livez")
                    break
                except urllib.error.URLError:
                    if attempt == 99 or bridge.poll() is not None:
                        raise
                    time.sleep(0.05)
            yield status
        finally:
            bridge.terminate()
