"""Writes down what the service of the Open Inference Protocol looks like in the official client.

`proto/inference` is written by hand. This script takes the facts that it must agree with from the PyPI package
tritonclient and keeps them in tests/fixtures/inference_descriptors.json, in the form that dump.py explains. Of the
client's service it keeps the methods of the protocol and the stream, not Triton's own ones.

    inference.py            write the file
    inference.py --check    fail if the file differs from the installed package
"""

import sys
from importlib import metadata

from google.protobuf import descriptor_pb2

import dump

PATH = dump.TESTS / "fixtures" / "inference_descriptors.json"
METHODS = [
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer", "ModelStreamInfer"
]


def upstream():
    """The text of the file, from the installed package."""
    from tritonclient.grpc import service_pb2

    file = descriptor_pb2.FileDescriptorProto()
    service_pb2.DESCRIPTOR.CopyToProto(file)
    for service in file.service:
        kept = [method for method in service.method if method.name in METHODS]
        del service.method[:]
        service.method.extend(kept)
    dump.ROOTS[:] = ["inference.GRPCInferenceService"]
    version = f"tritonclient {metadata.version('tritonclient')}"
    return dump.render(version, dump.reached(dump.declarations([file])))


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if PATH.read_text() != upstream():
            sys.exit(f"{PATH} differs from the installed package: run inference.py")
    else:
        PATH.write_text(upstream())
