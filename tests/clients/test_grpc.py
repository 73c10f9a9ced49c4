"""The gRPC clients of Triton against the bridge."""

import asyncio
import queue

import grpc
import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

DATATYPES = {
    "bool": ("BOOL", np.bool_), "uint8": ("UINT8", np.uint8),
    "uint16": ("UINT16", np.uint16), "uint32": ("UINT32", np.uint32),
    "uint64": ("UINT64", np.uint64), "int8": ("INT8", np.int8),
    "int16": ("INT16", np.int16), "int32": ("INT32", np.int32),
    "int64": ("INT64", np.int64), "half": ("FP16", np.float16),
    "float": ("FP32", np.float32), "double": ("FP64", np.float64),
}

# The typed field of a datatype that has one.
CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents",
    "INT32": "int_contents", "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents",
    "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
}


@pytest.fixture
def client(bridge):
    with triton.InferenceServerClient(bridge.grpc) as client:
        yield client


def tensor(name, array, datatype):
    """An input of Triton's client."""
    tensor = triton.InferInput(name, array.shape, datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def x(values=((1.0,), (2.5,))):
    return [tensor("x", np.array(values, np.float32), "FP32")]


def test_server_and_models_are_described(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.get_server_metadata().name == "tfbridge"
    assert client.is_model_ready("half_plus_two")
    assert client.is_model_ready("half_plus_two", "123")
    assert not client.is_model_ready("half_plus_two", "5")
    assert not client.is_model_ready("none")
    model = client.get_model_metadata("half_plus_two", as_json=True)
    assert model["versions"] == ["123", "124"]
    assert model["platform"] == "tensorflow_savedmodel"
    assert model["inputs"][0]["name"] == "x"
    model = client.get_model_metadata("affine100")
    [given], [taken] = model.inputs, model.outputs
    assert (given.name, given.datatype, given.shape) == ("x", "FP32", [-1, 100])
    assert (taken.name, taken.datatype, taken.shape) == (
        "predictions", "FP32", [-1, 1])
    with pytest.raises(InferenceServerException, match="Servable not found"):
        client.get_model_metadata("none")


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_infer(client, compression):
    values = np.arange(1000, dtype=np.float32).reshape(-1, 1)
    result = client.infer(
        "half_plus_two", x(values), request_id="an id",
        outputs=[triton.InferRequestedOutput("y")],
        compression_algorithm=compression)
    np.testing.assert_array_equal(result.as_numpy("y"), values / 2 + 2)
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == (
        "an id", "half_plus_two", "124")
    assert result.get_output("y").shape == [1000, 1]


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_large_tensors(bridge, compression):
    with triton.InferenceServerClient(bridge.grpc) as client:
        values = np.arange(3_000_000, dtype=np.float32)
        result = client.infer(
            "mixed", [tensor("x", values, "FP32")],
            parameters={"signature_name": "float"},
            compression_algorithm=compression)
        np.testing.assert_array_equal(result.as_numpy("x"), values)


def test_versions_are_chosen(client):
    for version in ("123", "124"):
        result = client.infer("half_plus_two", x(), model_version=version)
        assert result.get_response().model_version == version


@pytest.mark.parametrize("signature", DATATYPES)
def test_every_datatype(client, signature):
    datatype, dtype = DATATYPES[signature]
    array = np.array([[0, 1, 1], [1, 0, 100]], dtype)
    result = client.infer(
        "mixed", [tensor("x", array, datatype)],
        parameters={"signature_name": signature})
    found = result.as_numpy("x")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("signature", DATATYPES)
def test_typed_contents(bridge, signature):
    datatype, dtype = DATATYPES[signature]
    array = np.array([[0, 1, 1], [1, 0, 100]], dtype)
    request = service_pb2.ModelInferRequest(model_name="mixed")
    request.parameters["signature_name"].string_param = signature
    given = request.inputs.add(
        name="x", datatype=datatype, shape=array.shape)
    if datatype not in CONTENTS:
        assert datatype == "FP16"
        given.contents.SetInParent()
    else:
        getattr(given.contents, CONTENTS[datatype]).extend(
            array.flatten().tolist())
    with grpc.insecure_channel(bridge.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        if datatype == "FP16":
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelInfer(request)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "FP16" in caught.value.details()
            return
        response = stub.ModelInfer(request)
    np.testing.assert_array_equal(
        triton.InferResult(response).as_numpy("x"), array)


def test_bfloat16(client):
    array = np.array([[1.0, -2.5]], ml_dtypes.bfloat16)
    result = client.infer(
        "mixed", [tensor("x", array, "BF16")],
        parameters={"signature_name": "bfloat16"})
    np.testing.assert_array_equal(result.as_numpy("x"), array)


def test_bytes(client):
    array = np.array([["straße".encode(), b""], [b"a b", b"x" * 300]], object)
    result = client.infer(
        "text", [tensor("text", array, "BYTES")],
        outputs=[triton.InferRequestedOutput("upper"),
                 triton.InferRequestedOutput("lengths")])
    expected = np.array(
        [["STRASSE".encode(), b""], [b"A B", b"X" * 300]], object)
    np.testing.assert_array_equal(result.as_numpy("upper"), expected)
    np.testing.assert_array_equal(
        result.as_numpy("lengths"), [[7, 0], [3, 300]])
    array = np.array([b"\xff\x00", b"\x80"], object)
    result = client.infer(
        "mixed", [tensor("x", array, "BYTES")],
        parameters={"signature_name": "string"})
    np.testing.assert_array_equal(result.as_numpy("x"), array)


def test_several_at_once(client):
    answers = queue.Queue()
    for i in range(20):
        client.async_infer(
            "half_plus_two", x([[float(i)]]), request_id=str(i),
            callback=lambda result, error: answers.put((result, error)))
    found = {}
    for _ in range(20):
        result, error = answers.get(timeout=20)
        assert error is None
        found[int(result.get_response().id)] = result.as_numpy("y")
    for i in range(20):
        np.testing.assert_array_equal(found[i], [[i / 2 + 2]])


def test_streams(client):
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for i in range(20):
        model = "none" if i == 7 else "half_plus_two"
        client.async_stream_infer(model, x([[float(i)]]), request_id=str(i))
    for i in range(20):
        result, error = answers.get(timeout=20)
        if i == 7:
            assert "Servable not found" in error.message()
            continue
        assert error is None and result.get_response().id == str(i)
        assert result.get_response().parameters["triton_final_response"].bool_param
        np.testing.assert_array_equal(
            result.as_numpy("y"), [[i / 2 + 2]])
    client.stop_stream()


def test_asyncio(bridge):
    async def run():
        async with triton_aio.InferenceServerClient(bridge.grpc) as client:
            assert await client.is_server_ready()
            assert await client.is_model_ready("half_plus_two")
            results = await asyncio.gather(*[
                client.infer("half_plus_two", x(np.full((500, 1), i)))
                for i in range(10)])
            for i, result in enumerate(results):
                np.testing.assert_array_equal(
                    result.as_numpy("y"), np.full((500, 1), i / 2 + 2))

            async def requests():
                for i in range(5):
                    yield {"model_name": "half_plus_two",
                           "inputs": x([[float(i)]])}
            i = 0
            async for result, error in client.stream_infer(requests()):
                assert error is None
                np.testing.assert_array_equal(
                    result.as_numpy("y"), [[i / 2 + 2]])
                i += 1
            assert i == 5
            with pytest.raises(InferenceServerException, match="not found"):
                await client.infer("none", x())
    asyncio.run(run())


def test_errors_are_told(client):
    def refused(status, words, *arguments, **options):
        with pytest.raises(InferenceServerException, match=words) as caught:
            client.infer(*arguments, **options)
        assert caught.value.status() == f"StatusCode.{status}"
    invalid = "INVALID_ARGUMENT"
    refused("NOT_FOUND", "Servable not found for request: Latest", "none", x())
    wrong = [tensor("x", np.array([[1]], np.int32), "INT32")]
    refused(invalid, "INT32, but the signature wants FP32", "half_plus_two", wrong)
    other = [tensor("z", np.array([[1]], np.float32), "FP32")]
    refused(invalid, 'no input "z" in the signature; it has: x',
            "half_plus_two", other)
    refused(invalid, "output tensor alias not found", "half_plus_two", x(),
            outputs=[triton.InferRequestedOutput("q")])
    refused(invalid, "not found in signature def", "half_plus_two", x(),
            parameters={"signature_name": "none"})
    refused(invalid, "Matrix size-incompatible", "affine100", x([[1.0]]))
    shared = triton.InferInput("x", [1, 1], "FP32")
    shared.set_shared_memory("region", 4)
    refused(invalid, "Shared memory is not supported", "half_plus_two", [shared])
    with pytest.raises(InferenceServerException) as caught:
        client.get_inference_statistics("half_plus_two")
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"


def test_deadlines(client):
    with pytest.raises(InferenceServerException, match="DEADLINE_EXCEEDED"):
        client.infer("half_plus_two", x(), client_timeout=0.00001)
