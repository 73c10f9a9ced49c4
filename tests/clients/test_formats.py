"""Files of NumPy and streams of Arrow to the bridge and back, by NumPy and pyarrow themselves, by polars, DuckDB,
pandas, arro3 and nanoarrow, and by npyjs where there is node.

The models are those of `tfbridge demo`, whose `echo` gives back what it gets, whatever its dtype.
"""

import base64
import io
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import arro3.io
import duckdb
import nanoarrow
import nanoarrow.ipc
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute
import pytest

ROOT = Path(__file__).resolve().parents[2]
NPY, NPZ = "application/x-npy", "application/x-npz"
ARROW = "application/vnd.apache.arrow.stream"

# The dtypes of TensorFlow by the names of echo's signatures, and those of NumPy.
DTYPES = {
    "float": "f4", "double": "f8", "half": "f2",
    "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8",
    "bool": "?", "complex64": "c8", "complex128": "c16", "string": "S3",
}


@pytest.fixture(scope="module")
def demo():
    """The address of a demo."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    program = ROOT / "target" / "debug" / "tfbridge"
    process = subprocess.Popen(
        [program, "demo", "--listen", f"127.0.0.1:{port}", "--log", "off"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert process.poll() is None
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(20)


def predict(demo, query, body, content_type, accept="*/*"):
    """The body of a reply of echo."""
    request = urllib.request.Request(
        f"{demo}/v1/models/echo:predict?{query}", body,
        {"Content-Type": content_type, "Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return reply.read()


def save(array, **options):
    """The file of an array."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def load(file):
    """What numpy.load makes of a file."""
    return np.load(io.BytesIO(file), allow_pickle=False)


def array_of(dtype):
    """An array of some values."""
    if dtype.startswith("S"):
        return np.array([[b"", b"a", b"bcd"], [b"\xff", b"\x00x", b" "]])
    values = np.array([[0, 1, 1], [0, 5, 7]])
    return values.astype(dtype)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_arrays_come_back(demo, name, version, order, byte_order):
    """Whatever the version, and however the elements lie."""
    expected = array_of(DTYPES[name])
    array = np.asarray(expected, order=order)
    array = array.astype(array.dtype.newbyteorder(byte_order), order=order)
    reply = predict(demo, f"signature_name={name}", save(array, version=version), NPY)
    found = load(reply)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype and found.flags.c_contiguous


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1, 2, 3, 4)])
def test_arrays_of_any_rank(demo, shape):
    """A scalar, nothing, and many dimensions, in both orders."""
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    for array in [array, np.array(array, order="F")]:
        found = load(predict(demo, "signature_name=int32", save(array), NPY))
        assert found.shape == shape
        np.testing.assert_array_equal(found, array)


def test_what_numpy_makes_by_default_is_converted(demo):
    """Float64 to floats, int64 to what holds it, text to bytes."""
    found = load(predict(demo, "", save(np.array([0.1, 1.0])), NPY))
    assert found.dtype == np.float32 and found[0] == np.float32(0.1)
    found = load(predict(demo, "signature_name=uint8", save(np.array([0, 255])), NPY))
    assert found.dtype == np.uint8 and found.tolist() == [0, 255]
    found = load(predict(demo, "signature_name=string", save(np.array(["é", ""])), NPY))
    assert found.tolist() == ["é".encode(), b""]
    with pytest.raises(urllib.error.HTTPError) as error:
        predict(demo, "signature_name=uint8", save(np.full((4, 18), 300)), NPY)
    assert error.value.code == 400
    assert json.load(error.value)["error"] == "x[0,0]: 300 is not a uint8"


def test_bfloat16(demo):
    """NumPy has none: ml_dtypes writes two bytes of anything, and float32 comes back."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array([1.5, -2.0, 0.1]).astype(ml_dtypes.bfloat16)
    for body in [save(array), save(array.astype(np.float32)), save(array.astype(np.float64))]:
        found = load(predict(demo, "signature_name=bfloat16", body, NPY))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found.astype(ml_dtypes.bfloat16), array)


@pytest.mark.parametrize("savez", [np.savez, np.savez_compressed])
def test_archives_come_back(demo, savez):
    """Every input of a signature, of whatever dtype NumPy made it."""
    arrays = {"a": np.array([[0.5, 1.5]]), "b": np.array([7, -7]), "s": np.array(["x", "é"])}
    file = io.BytesIO()
    savez(file, **arrays)
    reply = load(predict(demo, "signature_name=mixed", file.getvalue(), NPZ))
    assert sorted(reply.files) == ["a", "b", "s"]
    np.testing.assert_array_equal(reply["a"], arrays["a"].astype(np.float32))
    np.testing.assert_array_equal(reply["b"], arrays["b"])
    assert reply["s"].tolist() == [b"x", "é".encode()]
    one = predict(demo, "signature_name=mixed&outputs=b", file.getvalue(), NPZ, NPY)
    np.testing.assert_array_equal(load(one), arrays["b"])


def stream(table, **options):
    """The stream of a table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, **options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def arrow(demo, query, values):
    """What comes back of a column `x` as a column of Arrow."""
    body = stream(pa.table({"x": values}))
    return pa.ipc.open_stream(predict(demo, query, body, ARROW)).read_all()["x"]


@pytest.mark.parametrize("name", [name for name in DTYPES if not name.startswith("complex")])
def test_columns_come_back(demo, name):
    """Numbers, bools and bytes, plain and as rows of two dimensions, in one batch and in several."""
    if name == "string":
        values = pa.array([b"", b"a\0", b"\xff"], pa.binary())
    else:
        values = pa.array(np.array([0, 1, 1]).astype(DTYPES[name]))
    rows = pa.FixedSizeListArray.from_arrays(pa.concat_arrays([values, values]), 3)
    for array in [values, values[1:], values[:0], rows, rows[1:]]:
        expected = pa.chunked_array([array, array])
        found = arrow(demo, f"signature_name={name}", expected)
        assert found.num_chunks == 1 and found.to_pylist() == expected.to_pylist()
        # No strings at all are text.
        assert found.type == array.type or (name == "string" and len(array) == 0)
        assert arrow(demo, f"signature_name={name}", array).to_pylist() == array.to_pylist()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.large_binary(),
                                  pa.binary_view(), pa.dictionary(pa.int8(), pa.string())])
def test_text_of_every_layout(demo, kind):
    """Those that polars and pandas have, too; text comes back as text."""
    expected = ["a", "", "é", "a string longer than those that views hold", "a"]
    array = pa.array(expected, pa.string()).cast(kind)
    for values in [array, pa.chunked_array([array[:2], array[2:]])]:
        found = arrow(demo, "signature_name=string", values)
        assert found.type == pa.string() and found.to_pylist() == expected


def test_rows_of_many_dimensions(demo):
    """As nested lists or as tensors of a fixed shape; nested lists come back."""
    cube = np.arange(2 * 3 * 4, dtype=np.int32).reshape(2, 3, 4)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(cube)
    lists = pa.array(cube.tolist(), pa.list_(pa.list_(pa.int32(), 4), 3))
    for values in [tensors, lists, pa.array(cube.tolist(), pa.list_(pa.large_list(pa.int32())))]:
        found = arrow(demo, "signature_name=int32", values)
        assert found.type == lists.type and found.to_pylist() == cube.tolist()
    nothing = pa.array([[], []], pa.list_(pa.int32(), 0))
    found = arrow(demo, "signature_name=int32", nothing)
    assert found.type == nothing.type and found.to_pylist() == [[], []]


def test_all_columns_of_a_table(demo):
    """What pyarrow makes by default is converted; each output is a column."""
    table = pa.table({"a": [0.5, 1.5], "b": [7, -7], "s": ["x", "é"]})
    reply = pa.ipc.open_stream(predict(demo, "signature_name=mixed", stream(table), ARROW)).read_all()
    assert reply.schema == pa.schema({"a": pa.float32(), "b": pa.int64(), "s": pa.string()})
    assert reply.to_pydict() == table.to_pydict()
    arrays = load(predict(demo, "signature_name=mixed", stream(table), ARROW, NPZ))
    assert arrays["b"].tolist() == [7, -7]
    reply = predict(demo, "", b'{"instances": [[1.5, 2.5]]}', "application/json", ARROW)
    assert pa.ipc.open_stream(reply).read_all().to_pydict() == {"x": [[1.5, 2.5]]}


def compressed(table, codec):
    """The stream of a table, its buffers compressed."""
    return stream(table, options=pa.ipc.IpcWriteOptions(compression=codec))


def of_polars(values, **options):
    """The stream of a column `x` as polars writes it."""
    file = io.BytesIO()
    values.to_frame("x").write_ipc_stream(file, **options)
    return file.getvalue()


def test_batches_compressed_with_lz4(demo):
    """Of what can be made smaller and what cannot, and of more than a block has."""
    random = np.random.default_rng(1)
    for values in [np.arange(1 << 19), random.integers(0, 1 << 40, 1 << 17), np.array([7])]:
        body = compressed(pa.table({"x": values}), "lz4")
        reply = pa.ipc.open_stream(predict(demo, "signature_name=int64", body, ARROW)).read_all()
        np.testing.assert_array_equal(reply["x"].to_numpy(), values)
    with pytest.raises(urllib.error.HTTPError) as error:
        predict(demo, "signature_name=int64", compressed(pa.table({"x": np.zeros(1 << 22, "i8")}), "lz4"), ARROW)
    assert error.value.code == 413
    assert "inflate to more than" in json.load(error.value)["error"]


TEXT = ["a", "", "é", "a string longer than those that views hold", "a"]


@pytest.mark.parametrize("compression", ["uncompressed", "lz4"])
@pytest.mark.parametrize("name, values", [
    ("half", pl.Series([0.5, 1.5], dtype=pl.Float16)),
    ("double", pl.Series(np.arange(5000.0))),
    ("uint64", pl.Series([1, 2**64 - 1], dtype=pl.UInt64)),
    ("bool", pl.Series([at % 3 == 0 for at in range(100)])),
    ("string", pl.Series(TEXT)),
    ("string", pl.Series([text.encode() for text in TEXT] + [b"\xff"])),
    ("string", pl.Series(TEXT, dtype=pl.Categorical)),
    ("string", pl.Series(TEXT, dtype=pl.Enum([*sorted(set(TEXT)), "not there"]))),
    ("float", pl.Series(np.arange(24, dtype=np.float32).reshape(2, 3, 4))),
    ("int64", pl.Series([[1, 2], [3, 4]])),
    ("string", pl.Series([["a", "b"], ["c", "d"]], dtype=pl.Array(pl.String, 2))),
    ("string", pl.Series([["a", "b"], ["c", "a"]], dtype=pl.List(pl.Categorical))),
])
def test_columns_of_polars(demo, name, values, compression):
    """As they are and for older readers, in several chunks."""
    expected = pl.concat([values, values[1:]], rechunk=False)
    for level in [pl.CompatLevel.newest(), pl.CompatLevel.oldest()]:
        body = of_polars(expected, compat_level=level, compression=compression)
        found = pl.read_ipc_stream(predict(demo, f"signature_name={name}", body, ARROW))["x"]
        assert found.to_list() == expected.to_list()


def test_results_of_duckdb(demo):
    """Batch by batch; it queries the reply."""
    def sent(query, name):
        reader = duckdb.sql(query).to_arrow_reader(2048)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
        body = sink.getvalue().to_pybytes()
        return pa.ipc.open_stream(predict(demo, f"signature_name={name}", body, ARROW)).read_all()

    reply = sent("select i::float a, i b, ('s' || i % 2)::enum('s0', 's1') s from range(5000) t(i)", "mixed")
    found = duckdb.sql("select s, count(*), sum(a), max(b) from reply group by s order by s").fetchall()
    assert found == [("s0", 2500, 6247500.0, 4998), ("s1", 2500, 6250000.0, 4999)]
    reply = sent("select [[i, 1], [2, 3]]::float[2][2] x from range(5000) t(i)", "float")
    assert duckdb.sql("select typeof(x), sum(x[1][1]) from reply group by 1").fetchall() == [("FLOAT[2][2]", 12497500)]
    with pytest.raises(urllib.error.HTTPError) as error:
        sent("select sum(i) x from range(9) t(i)", "int64")
    assert json.load(error.value)["error"].endswith("Decimal make no tensor: cast them to int64 or to floats")


def test_frames_of_pandas(demo):
    """Without an index, and nulls, which pyarrow makes of NaN, made NaN again."""
    categories = {"b": pd.Categorical([1, 2, 3]), "s": pd.Categorical(["x", "y", "x"])}
    frame = pd.DataFrame({"a": [0.5, float("nan"), 2.5], **categories})
    frame = frame[frame["b"] != 2]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    reply = pa.ipc.open_stream(predict(demo, "signature_name=mixed", stream(table), ARROW)).read_pandas()
    assert reply.to_dict("list") == {"a": [0.5, 2.5], "b": [1, 3], "s": ["x", "x"]}
    column = pa.array(pd.Series([0.5, float("nan")]))
    assert column.null_count == 1
    found = arrow(demo, "", pa.compute.fill_null(column, float("nan")))
    np.testing.assert_array_equal(found.to_numpy(), [0.5, np.nan])


def test_streams_of_arro3_and_nanoarrow(demo):
    """The one compresses where nobody says otherwise; both read the replies."""
    table = pa.table({"x": pa.array([[1.5, 2.5], [3.5, 4.5]], pa.list_(pa.float32(), 2))})
    file = io.BytesIO()
    arro3.io.write_ipc_stream(table, file)
    assert len(file.getvalue()) != len(stream(table))
    reply = predict(demo, "", file.getvalue(), ARROW)
    assert pa.table(arro3.io.read_ipc_stream(io.BytesIO(reply)).read_all()).to_pydict() == table.to_pydict()
    file = io.BytesIO()
    with nanoarrow.ipc.StreamWriter.from_writable(file) as writer:
        writer.write_stream(table)
    with nanoarrow.ipc.InputStream.from_readable(io.BytesIO(predict(demo, "", file.getvalue(), ARROW))) as reply:
        assert nanoarrow.Array(reply).to_pylist() == table.to_pylist()


@pytest.mark.parametrize("values, expected", [
    (pa.array([1.5, None]), "x[1]: it is null, which no tensor holds"),
    (pa.array([[1.5], [2.5, 3.5]]), "x[1]: a list of 2 values, and others have 1"),
    (pa.array([[[1.5]], [[None]]]), "x[1,0,0]: it is null, which no tensor holds"),
    (pa.array([{"a": 1.5}]), "x: values of Arrow's type Struct make no tensor: make each of their fields a column"),
    (pa.array([0], pa.timestamp("us")), "x: values of Arrow's type Timestamp make no tensor: cast them to int64 or to "
                                        "floats"),
    (pl.Series([1], dtype=pl.Int128), "x: values of Arrow's type Int of 128 bits make no tensor: cast them to int64 "
                                      "or to floats"),
    (pa.array([1.5, 1e300]), "x[1]: 1" + "0" * 300 + " is not a float"),
])
def test_what_is_no_tensor_is_named(demo, values, expected):
    """With its place."""
    with pytest.raises(urllib.error.HTTPError) as error:
        if isinstance(values, pl.Series):
            predict(demo, "", of_polars(values), ARROW)
        else:
            arrow(demo, "", values)
    assert error.value.code == 400
    assert json.load(error.value)["error"] == expected


@pytest.mark.parametrize("body, expected", [
    (lambda table: compressed(table, "zstd"), "compressed with zstd, write them with lz4 or uncompressed"),
    (lambda table: of_polars(pl.from_arrow(table["x"]), compression="zstd"), "compressed with zstd"),
    (lambda table: stream(table)[:-20], "it ends within a message"),
    (lambda table: stream(table) + b"x", "there are 1 bytes behind its end"),
])
def test_what_is_no_stream_is_refused(demo, body, expected):
    """And says why."""
    with pytest.raises(urllib.error.HTTPError) as error:
        predict(demo, "", body(pa.table({"x": np.arange(1000.0)})), ARROW)
    assert error.value.code == 400
    assert expected in json.load(error.value)["error"]


def test_objects_are_refused(demo):
    """They are pickles."""
    with pytest.raises(urllib.error.HTTPError) as error:
        predict(demo, "", save(np.array([{}, 1], dtype=object), allow_pickle=True), NPY)
    assert error.value.code == 400
    assert "Python objects" in json.load(error.value)["error"]


def test_json_in_and_arrays_out(demo):
    """As `numpy.load` of what curl has got."""
    found = load(predict(demo, "", b'{"instances": [[1.5, 2.5]]}', "application/json", NPY))
    np.testing.assert_array_equal(found, np.array([[1.5, 2.5]], np.float32))


@pytest.mark.skipif(not shutil.which("npm"), reason="there is no node")
def test_arrays_from_javascript(demo):
    """With npyjs, which is fetched from npm."""
    source, modules = ROOT / "tests" / "clients" / "npyjs", ROOT / "target" / "npyjs"
    lock = "package-lock.json"
    stamp = modules / "stamp"
    if not stamp.exists() or stamp.read_bytes() != (source / lock).read_bytes():
        modules.mkdir(parents=True, exist_ok=True)
        for name in ["package.json", lock]:
            shutil.copy(source / name, modules)
        command = ["npm", "ci", "--prefix", modules, "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, check=True)
        shutil.copy(source / lock, stamp)
    subprocess.run(["node", source / "check.mjs", demo, modules], check=True, timeout=60)


@pytest.fixture
def picture(tmp_path):
    """A JPEG, the one that the integration tests have."""
    text = (ROOT / "tests" / "it" / "images.rs").read_text()
    path = tmp_path / "cat.jpg"
    path.write_bytes(base64.b64decode(text.split('const JPEG: &str = "')[1].split('"')[0]))
    return path


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_a_picture_by_curl(demo, picture):
    """Its pixels for an input of numbers, its bytes for one of strings; the reply read by numpy.load."""
    def curl(query, *options):
        return subprocess.run(
            ["curl", "-sSf", "--data-binary", f"@{picture}", "-H", "Content-Type: image/jpeg",
             *options, f"{demo}/v1/models/echo:predict?{query}"],
            check=True, capture_output=True, timeout=30).stdout

    pixels = load(curl("signature_name=uint8&resize=8x4", "-H", f"Accept: {NPY}"))
    assert pixels.shape == (1, 8, 4, 3) and pixels.dtype == np.uint8 and pixels.std() > 0
    reply = json.loads(curl("signature_name=bytes"))
    assert base64.b64decode(reply["predictions"][0]["b64"]) == picture.read_bytes()
