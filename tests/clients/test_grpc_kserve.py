"""The gRPC client of KServe against the bridge.

It brings messages of its own, which have the names of those of Triton's client: the two cannot be in one process.
"""

import asyncio

import grpc
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest


def test_kserve(bridge):
    async def run():
        async with InferenceGRPCClient(bridge.grpc) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("half_plus_two")
            assert not await client.is_model_ready("none")
            for raw in (True, False):
                array = np.array([[1.0], [2.5]], np.float32)
                given = InferInput("x", [2, 1], "FP32")
                given.set_data_from_numpy(array, binary_data=raw)
                reply = await client.infer(InferRequest(
                    "half_plus_two", [given], request_id="7"))
                np.testing.assert_array_equal(
                    reply.outputs[0].as_numpy(), array / 2 + 2)
                assert (reply.id, reply.model_name, reply.model_version) == (
                    "7", "half_plus_two", "124")
                texts = np.array([b"a", "ü".encode()], object)
                given = InferInput("x", [2], "BYTES")
                given.set_data_from_numpy(texts, binary_data=raw)
                reply = await client.infer(InferRequest(
                    "mixed", [given], parameters={"signature_name": "string"}))
                np.testing.assert_array_equal(
                    reply.outputs[0].as_numpy(), texts)
            given = InferInput("x", [1], "INT32")
            given.set_data_from_numpy(np.array([1], np.int32))
            with pytest.raises(grpc.RpcError) as caught:
                await client.infer(InferRequest("half_plus_two", [given]))
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    asyncio.run(run())
