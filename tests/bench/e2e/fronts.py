"""What is measured: how each front is started, and what it is sent.

Each is as its users run it: as many workers as the machine has cores, logs off, all else the
default. Nothing here measures.
"""

import os
import string
from dataclasses import dataclass
from typing import Callable

import workplace
from bodies import RAW, REST, TRANSCODER
from workplace import HERE, WORK

WORKERS = 2


@dataclass(frozen=True)
class Front:
    """A process that takes HTTP and calls the back end over gRPC."""

    key: str
    title: str
    dialect: str
    # Makes the command from the port to listen on and the back end's.
    command: Callable[[int, int], list]


def tfbridge(*flags):
    """The bridge, with its defaults but for these flags."""
    def command(port, backend):
        return [workplace.TFBRIDGE, "serve", "--backend", f"http://127.0.0.1:{backend}",
                "--listen", f"127.0.0.1:{port}", "--admin-listen", "off", *flags]
    return command


def floor(port, backend):
    """Bytes in, bytes out."""
    return [workplace.FLOOR, f"127.0.0.1:{port}", f"http://127.0.0.1:{backend}"]


def envoy(port, backend):
    """Envoy with a worker for each core, which is its default as well."""
    template = string.Template((HERE / "envoy.yaml").read_text(encoding="utf-8"))
    config = WORK / "envoy.yaml"
    config.write_text(template.substitute(
        listen_port=port, backend_port=backend, descriptors=workplace.DESCRIPTORS), encoding="utf-8")
    return [workplace.envoy(), "--config-path", config, "--concurrency", str(WORKERS),
            "--disable-hot-restart", "--log-level", "error"]


def fastapi(module):
    """One of the applications beside this file, under uvicorn."""
    def command(port, _backend):
        return [workplace.UVICORN, f"{module}:app", "--app-dir", HERE / "apps", "--host", "127.0.0.1",
                "--port", str(port), "--workers", str(WORKERS), "--no-access-log",
                "--log-level", "warning"]
    return command


def environment(backend):
    """The variables of a front; only the Python ones look at them."""
    return os.environ | {
        "E2E_BACKEND": f"127.0.0.1:{backend}",
        "PYTHONPATH": str(workplace.MODULES),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


FRONTS = [
    Front("floor", "bytes passed through, no JSON (the floor)", RAW, floor),
    Front("tfbridge", "**tfbridge**", REST, tfbridge("--access-log=false")),
    Front("envoy", "Envoy 1.40 `grpc_json_transcoder`", TRANSCODER, envoy),
    Front("tuned", "FastAPI + uvicorn, 2 workers, tuned", REST, fastapi("tuned")),
    Front("common", "FastAPI + uvicorn, 2 workers, as commonly written", REST, fastapi("common")),
]

# The bridge as it tells all about its requests, and as it tells nothing.
TELLING = Front("telling", "metrics and access log", REST, tfbridge("--log-format=json"))
SILENT = Front("silent", "neither", REST, tfbridge("--access-log=false", "--metrics=false"))
