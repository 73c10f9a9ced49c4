"""The HTTP clients of Triton and KServe against the bridge."""

import asyncio
import json
import urllib.error
import urllib.request

import httpx
import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from tritonclient.utils import InferenceServerException

DATATYPES = {
    "bool": ("BOOL", np.bool_), "uint8": ("UINT8", np.uint8),
    "uint16": ("UINT16", np.uint16), "uint32": ("UINT32", np.uint32),
    "uint64": ("UINT64", np.uint64), "int8": ("INT8", np.int8),
    "int16": ("INT16", np.int16), "int32": ("INT32", np.int32),
    "int64": ("INT64", np.int64), "half": ("FP16", np.float16),
    "float": ("FP32", np.float32), "double": ("FP64", np.float64),
}


@pytest.fixture
def client(bridge):
    with triton.InferenceServerClient(bridge.http) as client:
        yield client


def tensor(name, array, datatype, binary=True):
    """An input of Triton's client."""
    tensor = triton.InferInput(name, array.shape, datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def x(values=((1.0,), (2.5,)), binary=True):
    return [tensor("x", np.array(values, np.float32), "FP32", binary)]


def test_server_and_models_are_described(client):
    assert client.is_server_live() and client.is_server_ready()
    server = client.get_server_metadata()
    assert server["name"] == "tfbridge"
    assert server["extensions"] == ["binary_tensor_data"]
    assert client.is_model_ready("half_plus_two")
    assert client.is_model_ready("half_plus_two", "123")
    assert not client.is_model_ready("half_plus_two", "5")
    assert not client.is_model_ready("none")
    model = client.get_model_metadata("half_plus_two")
    assert model["versions"] == ["123", "124"]
    assert model["platform"] == "tensorflow_savedmodel"
    assert model["inputs"][0]["name"] == "x"
    model = client.get_model_metadata("affine100")
    assert model["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 100]}]
    assert model["outputs"] == [
        {"name": "predictions", "datatype": "FP32", "shape": [-1, 1]}]
    model = client.get_model_metadata(
        "mixed", query_params={"signature_name": "half"})
    assert model["inputs"][0]["datatype"] == "FP16"
    with pytest.raises(InferenceServerException, match="Servable not found"):
        client.get_model_metadata("none")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_infer(client, binary_in, binary_out, compression):
    outputs = None
    if binary_out is not None:
        outputs = [triton.InferRequestedOutput("y", binary_data=binary_out)]
    values = np.arange(1000, dtype=np.float32).reshape(-1, 1)
    result = client.infer(
        "half_plus_two", x(values, binary_in), outputs=outputs,
        request_id="an id", request_compression_algorithm=compression,
        response_compression_algorithm=compression)
    np.testing.assert_array_equal(result.as_numpy("y"), values / 2 + 2)
    response = result.get_response()
    assert response["id"] == "an id"
    assert response["model_name"] == "half_plus_two"
    assert response["model_version"] == "124"
    output = result.get_output("y")
    assert ("data" in output) == (binary_out is False)
    assert output["shape"] == [1000, 1]


def test_versions_are_chosen(client):
    result = client.infer("half_plus_two", x(), model_version="123")
    assert result.get_response()["model_version"] == "123"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("signature", DATATYPES)
def test_every_datatype(client, signature, binary):
    datatype, dtype = DATATYPES[signature]
    if datatype == "FP16" and not binary:
        pytest.skip("the client has no FP16 in JSON")
    array = np.array([[0, 1, 1], [1, 0, 100]], dtype)
    result = client.infer(
        "mixed", [tensor("x", array, datatype, binary)],
        outputs=[triton.InferRequestedOutput("x", binary_data=binary)],
        parameters={"signature_name": signature})
    found = result.as_numpy("x")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)


def test_bfloat16(client):
    array = np.array([[1.0, -2.5]], ml_dtypes.bfloat16)
    result = client.infer(
        "mixed", [tensor("x", array, "BF16")],
        parameters={"signature_name": "bfloat16"})
    np.testing.assert_array_equal(result.as_numpy("x"), array)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_bytes(client, binary_in, binary_out):
    array = np.array([["straße".encode(), b""], [b"a b", b"x" * 300]], object)
    result = client.infer(
        "text", [tensor("text", array, "BYTES", binary_in)],
        outputs=[triton.InferRequestedOutput("upper", binary_data=binary_out),
                 triton.InferRequestedOutput("lengths", binary_data=False)])
    expected = np.array(
        [["STRASSE".encode(), b""], [b"A B", b"X" * 300]], object)
    found = result.as_numpy("upper")
    if not binary_out:
        found = np.vectorize(str.encode, otypes=[object])(found)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        result.as_numpy("lengths"), [[7, 0], [3, 300]])


def test_bytes_that_are_no_text(client):
    array = np.array([b"\xff\x00", b"\x80"], object)
    inputs = [tensor("x", array, "BYTES")]
    chosen = {"parameters": {"signature_name": "string"}}
    found = client.infer("mixed", inputs, **chosen).as_numpy("x")
    np.testing.assert_array_equal(found, array)
    plain = [triton.InferRequestedOutput("x", binary_data=False)]
    with pytest.raises(InferenceServerException, match="no UTF-8"):
        client.infer("mixed", inputs, outputs=plain, **chosen)


def test_several_at_once(bridge):
    with triton.InferenceServerClient(bridge.http, concurrency=4) as client:
        pending = [client.async_infer("half_plus_two", x([[float(i)]]))
                   for i in range(20)]
        for i, request in enumerate(pending):
            np.testing.assert_array_equal(
                request.get_result().as_numpy("y"), [[i / 2 + 2]])


def test_asyncio(bridge):
    async def run():
        async with triton_aio.InferenceServerClient(bridge.http) as client:
            assert await client.is_server_ready()
            assert await client.is_model_ready("half_plus_two")
            # It accepts gzip, and does not inflate this.
            metadata = await client.get_model_metadata("half_plus_two")
            assert metadata["versions"] == ["123", "124"]
            for compression in (None, "gzip", "deflate"):
                result = await client.infer(
                    "half_plus_two", x(np.ones((500, 1))),
                    request_compression_algorithm=compression,
                    response_compression_algorithm=compression)
                np.testing.assert_array_equal(
                    result.as_numpy("y"), np.full((500, 1), 2.5))
            with pytest.raises(InferenceServerException, match="not found"):
                await client.infer("none", x())
    asyncio.run(run())


def test_errors_are_told(client):
    def refused(words, *arguments, **options):
        with pytest.raises(InferenceServerException, match=words) as caught:
            client.infer(*arguments, **options)
        assert caught.value.status() in ("400", "404")
    refused("Servable not found for request: Latest", "none", x())
    wrong = [tensor("x", np.array([[1]], np.int32), "INT32")]
    refused("INT32, but the signature wants FP32", "half_plus_two", wrong)
    other = [tensor("z", np.array([[1]], np.float32), "FP32")]
    refused('no input "z" in the signature; it has: x', "half_plus_two", other)
    refused("output tensor alias not found", "half_plus_two", x(),
            outputs=[triton.InferRequestedOutput("q")])
    refused("not found in signature def", "half_plus_two", x(),
            parameters={"signature_name": "none"})
    refused("Matrix size-incompatible", "affine100", x([[1.0]]))
    refused("classification is not supported", "half_plus_two", x(),
            outputs=[triton.InferRequestedOutput("y", class_count=2)])
    short = triton.InferInput("x", [4, 1], "FP32")
    short._parameters["binary_data_size"] = 12
    short._raw_data = bytes(12)
    refused("12 bytes of binary data for 4 elements of FP32, which take 16",
            "half_plus_two", [short])


def test_a_header_that_lies_is_an_error(bridge):
    body = b'{"inputs": []}'
    for length in ("-1", "15", "99999999999999999999", "3"):
        request = urllib.request.Request(
            f"http://{bridge.http}/v2/models/half_plus_two/infer", body,
            {"Inference-Header-Content-Length": length})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 400
        assert "error" in json.loads(caught.value.read())


def kserve(bridge, run):
    """Runs a test with KServe's client."""
    async def with_client():
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            await run(client, f"http://{bridge.http}")
    asyncio.run(with_client())


def kserve_request(name, array, datatype, binary, **more):
    given = InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model_name="m", infer_inputs=[given], **more)


def test_kserve_readiness(bridge):
    async def run(client, url):
        assert await client.is_server_live(url)
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, "half_plus_two")
        assert not await client.is_model_ready(url, "none")
    kserve(bridge, run)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_kserve_infer(bridge, binary_in, binary_out):
    async def run(client, url):
        array = np.array([[1.0], [2.5]], np.float32)
        outputs = [RequestedOutput("y", {"binary_data": binary_out})]
        reply = await client.infer(url, kserve_request(
            "x", array, "FP32", binary_in, request_id="7",
            request_outputs=outputs), model_name="half_plus_two")
        np.testing.assert_array_equal(
            reply.outputs[0].as_numpy(), array / 2 + 2)
        # The client leaves the version out.
        assert (reply.id, reply.model_name) == ("7", "half_plus_two")
        texts = np.array([b"a", "ü".encode()], object)
        reply = await client.infer(url, kserve_request(
            "x", texts, "BYTES", binary_in,
            parameters={"signature_name": "string",
                        "binary_data_output": binary_out}),
            model_name="mixed")
        # The client makes text of strings.
        np.testing.assert_array_equal(
            reply.outputs[0].as_numpy(), np.array(["a", "ü"], object))
        halves = np.array([[0.5, 1.0]], np.float16)
        reply = await client.infer(url, kserve_request(
            "x", halves, "FP16", True,
            parameters={"signature_name": "half",
                        "binary_data_output": True}),
            model_name="mixed")
        np.testing.assert_array_equal(reply.outputs[0].as_numpy(), halves)
    kserve(bridge, run)


def test_kserve_errors(bridge):
    async def run(client, url):
        array = np.array([[1]], np.int32)
        with pytest.raises(httpx.HTTPStatusError,
                           match="but the signature wants FP32") as caught:
            await client.infer(
                url, kserve_request("x", array, "INT32", False),
                model_name="half_plus_two")
        assert caught.value.response.status_code == 400
    kserve(bridge, run)
