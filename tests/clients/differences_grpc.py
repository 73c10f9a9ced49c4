"""Sends the same gRPC requests to two servers of the Open Inference Protocol and prints where their answers differ, as a
table in Markdown. Of errors it compares the status alone.

    differences_grpc.py FIRST_HOST:PORT SECOND_HOST:PORT
"""

import struct
import sys

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

CASES = []


def case(name, method, request):
    """One request."""
    CASES.append((name, method, request))


def infer(name, *inputs, raw=(), model="float", outputs=(), **more):
    """A request for an inference."""
    request = pb.ModelInferRequest(
        model_name=model, inputs=inputs, raw_input_contents=raw, **more)
    for wanted, parameters in outputs:
        output = request.outputs.add(name=wanted)
        for key, value in parameters.items():
            output.parameters[key].int64_param = value
    case(name, "ModelInfer", request)


def x(datatype, shape, name="x", **contents):
    """The input, with its contents if there are any."""
    tensor = pb.ModelInferRequest.InferInputTensor(
        name=name, datatype=datatype, shape=shape)
    if contents:
        tensor.contents.CopyFrom(pb.InferTensorContents(**contents))
    return tensor


FLOATS = struct.pack("<4f", 1, 2.5, 3, 4)

case("live", "ServerLive", pb.ServerLiveRequest())
case("ready", "ServerReady", pb.ServerReadyRequest())
case("server metadata", "ServerMetadata", pb.ServerMetadataRequest())
for version in ("", "1"):
    case(f"model metadata {version}", "ModelMetadata",
         pb.ModelMetadataRequest(name="float", version=version))
    case(f"model ready {version}", "ModelReady",
         pb.ModelReadyRequest(name="float", version=version))
for name, version in [("none", ""), ("float", "9"), ("float", "x"), ("", "")]:
    case(f"metadata of {name!r} {version!r}", "ModelMetadata",
         pb.ModelMetadataRequest(name=name, version=version))
    case(f"{name!r} {version!r} ready", "ModelReady",
         pb.ModelReadyRequest(name=name, version=version))
    infer(f"infer of {name!r} {version!r}", x("FP32", [2, 2]), raw=[FLOATS],
          model=name, model_version=version)
case("model configuration", "ModelConfig", pb.ModelConfigRequest(name="float"))
case("statistics", "ModelStatistics", pb.ModelStatisticsRequest(name="float"))
case("repository", "RepositoryIndex", pb.RepositoryIndexRequest())

infer("raw", x("FP32", [2, 2]), raw=[FLOATS], id="1")
infer("typed", x("FP32", [2, 2], fp32_contents=[1, 2.5, 3, 4]), id="1")
infer("an output by name", x("FP32", [2, 2]), raw=[FLOATS],
      outputs=[("y", {})])
infer("an output twice", x("FP32", [2, 2]), raw=[FLOATS],
      outputs=[("y", {}), ("y", {})])
infer("an unknown output", x("FP32", [2, 2]), raw=[FLOATS],
      outputs=[("z", {})])
infer("classification", x("FP32", [2, 2]), raw=[FLOATS],
      outputs=[("y", {"classification": 1})])
infer("too few raw bytes", x("FP32", [2, 2]), raw=[FLOATS[:12]])
infer("too many raw bytes", x("FP32", [2, 2]), raw=[FLOATS + b"1234"])
infer("too few elements", x("FP32", [2, 2], fp32_contents=[1]))
infer("too many elements", x("FP32", [1, 1], fp32_contents=[1, 2]))
infer("the wrong field", x("FP32", [1, 1], int_contents=[1]))
infer("raw and typed", x("FP32", [2, 2], fp32_contents=[1, 2, 3, 4]),
      raw=[FLOATS])
infer("neither raw nor typed", x("FP32", [2, 2]))
infer("two raw for one", x("FP32", [2, 2]), raw=[FLOATS, FLOATS])
infer("no inputs")
infer("an input twice", x("FP32", [2, 2]), x("FP32", [2, 2]),
      raw=[FLOATS, FLOATS])
infer("an unknown input", x("FP32", [2, 2], name="z"), raw=[FLOATS])
infer("another datatype", x("INT32", [2, 2]), raw=[FLOATS])
infer("an unknown datatype", x("FP31", [2, 2]), raw=[FLOATS])
infer("another rank", x("FP32", [4]), raw=[FLOATS])
infer("a negative size", x("FP32", [-1, 2]), raw=[FLOATS])
infer("no elements", x("FP32", [0, 2]), raw=[b""])
infer("NaN", x("FP32", [1, 1], fp32_contents=[float("nan")]))
for model, datatype, field, values in [
        ("bool", "BOOL", "bool_contents", [True, False]),
        ("uint8", "UINT8", "uint_contents", [0, 255]),
        ("int32", "INT32", "int_contents", [-1, 2**31 - 1]),
        ("int64", "INT64", "int64_contents", [-1, 2**63 - 1]),
        ("uint64", "UINT64", "uint64_contents", [1, 2**64 - 1]),
        ("double", "FP64", "fp64_contents", [0.1, 1e300]),
        ("string", "BYTES", "bytes_contents", [b"a", b"\xff\0"])]:
    infer(datatype, x(datatype, [1, 2], **{field: values}), model=model)
infer("300 for a UINT8", x("UINT8", [1, 1], uint_contents=[300]),
      model="uint8")
infer("2 for a BOOL", x("BOOL", [1, 1]), raw=[b"\2"], model="bool")
infer("FP16", x("FP16", [1, 2]), raw=[b"\0\x3c\1\0"], model="half")
infer("FP16 in int_contents", x("FP16", [1, 1], int_contents=[1]),
      model="half")
infer("raw strings", x("BYTES", [1, 2]), raw=[b"\1\0\0\0a\0\0\0\0"],
      model="string")
infer("a raw string that is cut off", x("BYTES", [1, 1]),
      raw=[b"\5\0\0\0a"], model="string")
infer("bytes behind a raw string", x("BYTES", [1, 1]),
      raw=[b"\1\0\0\0ab"], model="string")


def ask(address):
    """The answers of a server."""
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for _, method, request in CASES:
            try:
                answer = getattr(stub, method)(request, timeout=20)
                # Fields in their order, whatever order they are sent in.
                yield f"OK {answer}"
            except grpc.RpcError as error:
                yield error.code().name


def shown(answer):
    """An answer in a cell of the table."""
    text = " ".join(answer.split()).replace("|", "\\|")
    return text if len(text) < 120 else text[:117] + "..."


first, second = (list(ask(address)) for address in sys.argv[1:])
print(f"\n{len(CASES)} requests over gRPC\n")
print("| request | first | second |\n|---|---|---|")
for (name, _, _), one, other in zip(CASES, first, second):
    if one != other:
        print(f"| {name} | {shown(one)} | {shown(other)} |")
