"""How soon the mock answers: from the start of the process to its first
answer over gRPC's port, and to its first prediction over REST.

It prints the figures and judges nothing: they hang on the machine and on how
the program was built (`TFBRIDGE`, or the debug build).
"""

import http.client
import os
import socket
import statistics
import subprocess
import time

from process import MODELS, PROGRAM

ROUNDS = 20
BODY = '{"instances": [[1.0], [2.0]]}'


def free_port():
    """A port that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start():
    """The seconds until a port takes connections, and until a prediction."""
    grpc, rest = free_port(), free_port()
    begin = time.perf_counter()
    process = subprocess.Popen(
        [os.environ.get("TFBRIDGE", PROGRAM), "mock", "--log", "error",
         "--models", MODELS, "--listen", f"127.0.0.1:{grpc}",
         "--rest-listen", f"127.0.0.1:{rest}"], stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", rest)
                connection.connect()
                break
            except ConnectionRefusedError:
                assert process.poll() is None
                time.sleep(0.0005)
        connected = time.perf_counter() - begin
        connection.request("POST", "/v1/models/half_plus_two:predict", BODY)
        reply = connection.getresponse()
        assert reply.status == 200, reply.read()
        reply.read()
        return connected, time.perf_counter() - begin
    finally:
        process.kill()
        process.wait(20)


if __name__ == "__main__":
    times = [start() for _ in range(ROUNDS)]
    for name, values in zip(("listens", "first prediction"), zip(*times)):
        middle = 1000 * statistics.median(values)
        most = 1000 * max(values)
        print(f"{name}: {middle:.0f} ms, at most {most:.0f} ms, "
              f"in {ROUNDS} starts")
