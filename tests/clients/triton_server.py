#!/usr/bin/env python3
"""A real Triton with models that return what they get, of the names and dtypes of identity.py.

    triton_server.py PORT GRPC_PORT

It prints a line when it is ready, listens on the loopback address alone, and ends by itself.
"""

import os
import sys
import time

os.environ["PYTRITON_NO_TENSORSTORE"] = "1"

import numpy as np  # noqa: E402
from pytriton.model_config import ModelConfig, Tensor  # noqa: E402
from pytriton.triton import Triton, TritonConfig  # noqa: E402

DTYPES = {
    "bool": np.bool_, "uint8": np.uint8, "int32": np.int32,
    "int64": np.int64, "uint64": np.uint64, "half": np.float16,
    "float": np.float32, "double": np.float64, "string": np.bytes_,
}


def identity(requests):
    """The inputs as outputs."""
    return [{"y": request["x"]} for request in requests]


port, grpc_port = map(int, sys.argv[1:])
config = TritonConfig(http_address="127.0.0.1", http_port=port,
                      grpc_address="127.0.0.1", grpc_port=grpc_port,
                      allow_metrics=False)
with Triton(config=config) as triton:
    for name, dtype in DTYPES.items():
        triton.bind(
            model_name=name, infer_func=identity,
            inputs=[Tensor(name="x", dtype=dtype, shape=(-1, -1))],
            outputs=[Tensor(name="y", dtype=dtype, shape=(-1, -1))],
            config=ModelConfig(batching=False))
    triton.run()
    print("ready", flush=True)
    time.sleep(300)
