#!/usr/bin/env python3
"""Serves exported SavedModels over gRPC, in the place of TensorFlow Serving.

For tests only, where no tensorflow_model_server can be had: real TensorFlow
computes the answers, and codes and texts are those of the real server. It
listens on the loopback address alone, and has no TLS and no batching. It ends
on SIGTERM or SIGINT, after --max-seconds, or when its standard input closes.
"""

import argparse
import os
import signal
import sys
import threading
from concurrent import futures
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import grpc  # noqa: E402
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    model_service_pb2_grpc, prediction_service_pb2_grpc)

from models import Models  # noqa: E402
from once import TARGET  # noqa: E402
from service import PredictionService  # noqa: E402
from status import ModelService  # noqa: E402

LARGEST = 2**31 - 1
OPTIONS = [
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.max_send_message_length", LARGEST),
    ("grpc.so_reuseport", 0),
]


def arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path,
                        default=TARGET / "serving-models",
                        help="directory with NAME/VERSION in it")
    parser.add_argument("--port", type=int, default=0,
                        help="0 takes any free port")
    parser.add_argument("--port-file", type=Path,
                        help="write the port here when ready")
    parser.add_argument("--tensor-content", action="store_true",
                        help="answer with tensor_content, not typed fields")
    parser.add_argument("--max-seconds", type=float, default=3600,
                        help="end after this time at the latest")
    parser.add_argument("--exit-with-stdin", action="store_true",
                        help="end when standard input closes")
    return parser.parse_args()


def start(options):
    """Loads the models and listens; returns the server and its port."""
    models = Models(options.models)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=4), options=OPTIONS)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(models, options.tensor_content), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        ModelService(models), server)
    checks = health.HealthServicer()
    checks.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port(f"127.0.0.1:{options.port}")
    server.start()
    return server, port


def announce(port, port_file):
    """Tells the one who started the server that it is ready."""
    if port_file:
        # Renamed into place, so that nobody reads half a number.
        partial = port_file.with_name(port_file.name + ".part")
        partial.write_text(f"{port}\n", encoding="utf-8")
        partial.replace(port_file)
    print(f"listening on 127.0.0.1:{port}", flush=True)


def watch_stdin(stop):
    """Stops the server when standard input closes."""
    def wait():
        while sys.stdin.buffer.read(4096):
            pass
        stop.set()
    threading.Thread(target=wait, daemon=True).start()


def main():
    """Serves until told to stop."""
    options = arguments()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if options.exit_with_stdin:
        watch_stdin(stop)
    server, port = start(options)
    announce(port, options.port_file)
    stop.wait(options.max_seconds)
    server.stop(grace=1).wait()
    # Leaves at once: a thread that still reads standard input, or sessions
    # that are torn down in an unlucky order, must not keep the process.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
