#!/usr/bin/env python3
"""Sends the same requests to two servers of the Open Inference Protocol and prints where their answers differ,
as a table in Markdown: the bodies to their beginnings, values compared as such.

    differences.py FIRST_HOST:PORT SECOND_HOST:PORT
"""

import gzip
import http.client
import json
import struct
import sys
import zlib

CASES = []
INFER = "/v2/models/float/infer"
FLOATS = struct.pack("<4f", 1, 2.5, 3, 4)


def case(name, method, path, body=None, headers=None):
    """One request."""
    CASES.append((name, method, path, body, headers or {}))


def infer(name, *inputs, model="float", binary=None, **more):
    """A request of inputs, with binary data behind them."""
    body = json.dumps({"inputs": list(inputs), **more}).encode()
    headers = {}
    if binary is not None:
        headers = {"Inference-Header-Content-Length": str(len(body))}
        body += binary
    case(name, "POST", f"/v2/models/{model}/infer", body, headers)


def x(datatype, shape, data=None, size=None, **more):
    """The input."""
    tensor = {"name": "x", "shape": shape, "datatype": datatype}
    if data is not None:
        tensor["data"] = data
    if size is not None:
        tensor["parameters"] = {"binary_data_size": size}
    return {**tensor, **more}


def output(**parameters):
    """The output that is wanted."""
    return [{"name": "y", "parameters": parameters}]


case("server metadata", "GET", "/v2")
case("live", "GET", "/v2/health/live")
case("ready", "GET", "/v2/health/ready")
case("model metadata", "GET", "/v2/models/float")
case("model metadata of a version", "GET", "/v2/models/float/versions/1")
case("metadata of an unknown model", "GET", "/v2/models/none")
case("model ready", "GET", "/v2/models/float/ready")
case("an unknown model ready", "GET", "/v2/models/none/ready")
case("an unknown version ready", "GET", "/v2/models/float/versions/9/ready")
case("an unknown path", "GET", "/v2/nothing")
case("GET infer", "GET", INFER)
case("POST metadata", "POST", "/v2/models/float", b"{}")

infer("flat data, with an id", x("FP32", [2, 2], [1, 2.5, 3, 4]), id="1")
infer("nested data", x("FP32", [2, 2], [[1, 2.5], [3, 4]]))
infer("ragged data", x("FP32", [2, 2], [[1], [2.5, 3, 4]]))
infer("data nested otherwise", x("FP32", [2, 3], [[1, 2], [3, 4], [5, 6]]))
infer("too little data", x("FP32", [2, 2], [1, 2]))
infer("too much data", x("FP32", [1, 2], [1, 2, 3]))
infer("floats", x("FP32", [1, 5], [0.1, 1e30, 1e-30, 16777217, -0.0]))
infer("doubles", x("FP64", [1, 3], [1 / 3, 1e300, 0.1]), model="double")
infer("NaN in JSON", x("FP32", [1, 1], [float("nan")]))
infer("NaN in binary, out in JSON", x("FP32", [1, 2], size=8),
      binary=struct.pack("<2f", float("nan"), float("inf")))
infer("a string for a float", x("FP32", [1, 1], ["1"]))
infer("a bool for a float", x("FP32", [1, 1], [True]))
infer("a float for an int", x("INT32", [1, 1], [1.5]), model="int32")
infer("1.0 for an int", x("INT32", [1, 1], [1.0]), model="int32")
infer("300 for a uint8", x("UINT8", [1, 1], [300]), model="uint8")
infer("-1 for a uint8", x("UINT8", [1, 1], [-1]), model="uint8")
infer("large int64", x("INT64", [1, 2], [2**53 + 1, -2**63]), model="int64")
infer("the largest uint64", x("UINT64", [1, 1], [2**64 - 1]), model="uint64")
infer("bools", x("BOOL", [1, 2], [True, False]), model="bool")
infer("numbers for bools", x("BOOL", [1, 2], [1, 0]), model="bool")
infer("2 for a bool in binary", x("BOOL", [1, 1], size=1), model="bool",
      binary=b"\2")
infer("FP16 in JSON", x("FP16", [1, 1], [1.5]), model="half")
infer("FP16 in binary", x("FP16", [1, 1], size=2), model="half",
      binary=b"\0\x3e", parameters={"binary_data_output": True})
infer("FP16 in binary, out in JSON", x("FP16", [1, 1], size=2), model="half",
      binary=b"\0\x3e")
infer("strings", x("BYTES", [1, 3], ["a", "naïve", "\0\n\""]), model="string")
infer("strings in binary", x("BYTES", [1, 2], size=11), model="string",
      binary=b"\2\0\0\0\xff\xfe\1\0\0\0a",
      parameters={"binary_data_output": True})
infer("no UTF-8, out in JSON", x("BYTES", [1, 1], size=6), model="string",
      binary=b"\2\0\0\0\xff\xfe")
infer("a string that is cut off", x("BYTES", [1, 1], size=5), model="string",
      binary=b"\2\0\0\0a")
infer("too few strings", x("BYTES", [1, 2], size=5), model="string",
      binary=b"\1\0\0\0a")

infer("binary in, JSON out", x("FP32", [2, 2], size=16), binary=FLOATS)
infer("binary in and out", x("FP32", [2, 2], size=16), binary=FLOATS,
      outputs=output(binary_data=True))
infer("all outputs binary", x("FP32", [2, 2], size=16), binary=FLOATS,
      parameters={"binary_data_output": True})
infer("all outputs binary but one", x("FP32", [2, 2], size=16),
      binary=FLOATS, parameters={"binary_data_output": True},
      outputs=output(binary_data=False))
infer("too few bytes for the shape", x("FP32", [2, 2], size=12),
      binary=FLOATS[:12])
infer("fewer bytes than told", x("FP32", [2, 2], size=16),
      binary=FLOATS[:12])
infer("more bytes than told", x("FP32", [2, 2], size=16),
      binary=FLOATS + b"1234")
BODY = json.dumps({"inputs": [x("FP32", [2, 2], size=16)]}).encode()
for length in (10, len(BODY) + 16, 100_000, -1, "x", 0):
    shown = "beyond the JSON" if length == len(BODY) + 16 else length
    case(f"a header length of {shown}", "POST", INFER, BODY + FLOATS,
         {"Inference-Header-Content-Length": str(length)})
case("binary data without a header length", "POST", INFER, BODY + FLOATS)

ONE = x("FP32", [1, 1], [1])
infer("a negative size", x("FP32", [-1, 2], [1, 2]))
infer("another rank", x("FP32", [4], [1, 2, 3, 4]))
infer("no elements", x("FP32", [0, 2], []))
infer("another datatype", x("INT32", [1, 1], [1]))
infer("an unknown datatype", x("FP33", [1, 1], [1]))
infer("an unknown input", {**ONE, "name": "z"})
infer("an input twice", ONE, ONE)
case("no inputs", "POST", INFER, b"{}")
infer("an empty list of inputs")
for member in ("data", "datatype", "shape", "name"):
    without = {key: value for key, value in ONE.items() if key != member}
    infer(f"an input without its {member}", without)
infer("data before its datatype", {"data": [1.5], **x("FP32", [1, 1])})
infer("an unknown output", ONE, outputs=[{"name": "q"}])
infer("an output twice", ONE, outputs=output() + output())
infer("an empty list of outputs", ONE, outputs=[])
infer("an id that is a number", ONE, id=5)
infer("an unknown parameter", ONE, parameters={"mine": 1.5})
infer("classification", x("FP32", [1, 3], [1, 3, 2]),
      outputs=output(classification=2))
infer("shared memory", {**x("FP32", [1, 1]), "parameters": {
    "shared_memory_region": "r", "shared_memory_byte_size": 4}})
case("no JSON", "POST", INFER, b"nonsense")
case("an empty body", "POST", INFER, b"")
PLAIN = json.dumps({"inputs": [ONE]}).encode()
case("something behind the JSON", "POST", INFER, PLAIN + b" x")
infer("an unknown model", ONE, model="none")
infer("an unknown version", ONE, model="float/versions/9")
for coding, body in (("gzip", gzip.compress(PLAIN)),
                     ("deflate", zlib.compress(PLAIN)), ("br", PLAIN)):
    case(f"{coding} in", "POST", INFER, body, {"Content-Encoding": coding})
case("gzip that is none", "POST", INFER, PLAIN, {"Content-Encoding": "gzip"})
LARGE = json.dumps({"inputs": [x("FP32", [1, 500], [0.5] * 500)]}).encode()
for coding in ("gzip", "deflate", "deflate, gzip"):
    case(f"{coding} out", "POST", INFER, LARGE, {"Accept-Encoding": coding})
# The last one: it ends Triton's process of the model.
infer("a shape beyond all memory", x("FP32", [2**32, 2**32], [1]))


def send(address, method, path, body, headers):
    """What a server answers."""
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    text = response.read()
    coding = response.getheader("content-encoding")
    if coding:
        text = (gzip if coding == "gzip" else zlib).decompress(text)
    length = response.getheader("inference-header-content-length")
    end = len(text) if length is None else int(length)
    try:
        value = json.loads(text[:end])
    except ValueError:
        value = text[:end]
    return {"status": response.status, "json": value, "binary": text[end:],
            "is_binary": length is not None, "coding": coding,
            "type": response.getheader("content-type")}


def shown(answer):
    """An answer as a cell of a table."""
    value = answer["json"]
    if isinstance(value, dict) and "error" in value:
        text = value["error"]
    elif isinstance(value, bytes):
        text = value.decode("latin1")
    else:
        text = json.dumps(value, ensure_ascii=False)
    text = text[:160].replace("|", "\\|")
    coding = f", {answer['coding']}" if answer["coding"] else ""
    return f"{answer['status']}{coding} `{text}`" if text else str(answer["status"])


def main():
    """Prints the table."""
    first, second = sys.argv[1:]
    same = 0
    for name, *request in CASES:
        answers = [send(address, *request) for address in (first, second)]
        # Texts of errors and their types are everybody's own.
        if all(answer["status"] >= 400 for answer in answers):
            is_same = answers[0]["status"] == answers[1]["status"]
        else:
            is_same = repr(answers[0]) == repr(answers[1])
        if is_same:
            same += 1
        else:
            print(f"| {name} | {shown(answers[0])} | {shown(answers[1])} |")
    print(f"{same} of {len(CASES)} answers are the same.")


if __name__ == "__main__":
    main()
