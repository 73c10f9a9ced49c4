"""Clients that are generated from the document compile, and get predictions."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = HERE.parents[1] / "target" / "openapi-node"
BIN = Path(sys.executable).parent

PREDICT = """
import sys
from generated import Client
from generated.api.affine100 import predict_affine100
from generated.api.half_plus_two import predict_half_plus_two, predict_half_plus_two_label
from generated.models import (
    Affine100ServingDefaultPredictions, Affine100ServingDefaultRows, HalfPlusTwoServingDefaultColumns,
    HalfPlusTwoServingDefaultOutputs, HalfPlusTwoServingDefaultPredictions, HalfPlusTwoServingDefaultRows)
from generated.models.predict_half_plus_two_label_label import PredictHalfPlusTwoLabelLabel

client = Client(sys.argv[1])
reply = predict_half_plus_two.sync(
    client=client, body=HalfPlusTwoServingDefaultRows(instances=[[1.0], [5.0]]))
assert isinstance(reply, HalfPlusTwoServingDefaultPredictions), reply
assert reply.predictions == [[2.5], [4.5]], reply
reply = predict_half_plus_two_label.sync(
    PredictHalfPlusTwoLabelLabel("stable"), client=client,
    body=HalfPlusTwoServingDefaultColumns(inputs=[[2.0]]))
assert isinstance(reply, HalfPlusTwoServingDefaultOutputs), reply
assert reply.outputs == [[3.0]], reply
other = predict_affine100.sync(
    client=client, body=Affine100ServingDefaultRows(instances=[[0.0] * 100]))
assert isinstance(other, Affine100ServingDefaultPredictions), other
assert other.predictions == [[0.5]], other
"""

SCRIPT = """
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[]; exit(code: number): never };

const client = createClient<paths>({ baseUrl: process.argv[2]! });

async function main(): Promise<void> {
  const rows: components["schemas"]["HalfPlusTwoServingDefaultRows"] = { instances: [[1.0], [5.0]] };
  const { data, error, response } = await client.POST("/v1/models/half_plus_two:predict", { body: rows });
  if (error !== undefined) throw new Error(error.error);
  // Replies may be tables too, which are text.
  if (typeof data === "string" || !("predictions" in data)) throw new Error("no predictions");
  const predictions: unknown = data.predictions;
  if (JSON.stringify(predictions) !== "[[2.5],[4.5]]") throw new Error(JSON.stringify(data));
  if (response.headers.get("x-model-version") !== "124") throw new Error("another version");
  const old = await client.POST("/v1/models/half_plus_two/versions/{version}:predict", {
    params: { path: { version: "123" } },
    body: { inputs: [[2.0]] },
  });
  if (JSON.stringify(old.data) !== '{"outputs":[[3]]}') throw new Error(JSON.stringify(old));
  const status = await client.GET("/v1/models/iris");
  const state: string | undefined = status.data?.model_version_status[0]?.state;
  if (state !== "AVAILABLE") throw new Error(JSON.stringify(status));
  // @ts-expect-error Text is no number.
  const wrong = await client.POST("/v1/models/affine100:predict", { body: { instances: [["text"]] } });
  if (wrong.response.status !== 400) throw new Error("text was taken for a number");
}

main().catch((problem) => { console.error(problem); process.exit(1); });
"""


def run(*command, cwd):
    """Runs a program, which must succeed."""
    result = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-8000:]
    return result.stdout


def test_python(bridge, document, tmp_path):
    """openapi-python-client: what it makes is typed, and predicts. It makes code that fails of bodies of several
    types, so that it gets those in JSON alone, as the README has it."""
    for body in document["components"]["requestBodies"].values():
        body["content"] = {"application/json": body["content"]["application/json"]}
    document_file = tmp_path / "openapi.json"
    document_file.write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "config.yml").write_text("post_hooks: []\n", encoding="utf-8")
    run(BIN / "openapi-python-client", "generate", "--path", document_file, "--meta", "none",
        "--config", "config.yml", "--output-path", "generated", cwd=tmp_path)
    (tmp_path / "predict.py").write_text(PREDICT, encoding="utf-8")
    # The generator's own code does not pass; what calls it is held to its types.
    run(BIN / "mypy", "--no-incremental", "--follow-imports", "silent", "predict.py", cwd=tmp_path)
    run(sys.executable, "predict.py", bridge, cwd=tmp_path)


def test_typescript(bridge, document_file, tmp_path):
    """openapi-typescript and openapi-fetch: the types are checked, and the program predicts."""
    (tmp_path / "node_modules").symlink_to(MODULES / "node_modules")
    modules = tmp_path / "node_modules"
    run("node", modules / "openapi-typescript" / "bin" / "cli.js", document_file, "-o", "api.d.ts", cwd=tmp_path)
    (tmp_path / "predict.ts").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    options = {
        "strict": True, "target": "es2022", "module": "nodenext", "moduleResolution": "nodenext",
        "lib": ["es2022", "dom"], "types": [], "skipLibCheck": False, "outDir": "out"}
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}), encoding="utf-8")
    assert shutil.which("node")
    run("node", modules / "typescript" / "bin" / "tsc", "--noEmit", cwd=tmp_path)
    run("node", modules / "typescript" / "bin" / "tsc", cwd=tmp_path)
    run("node", Path("out") / "predict.js", bridge, cwd=tmp_path)
