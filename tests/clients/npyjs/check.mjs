// Asks for arrays and reads them with npyjs; sends one of those that it has read back.
//
//   node check.mjs http://127.0.0.1:8501 DIRECTORY-WITH-NODE_MODULES

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const [base, modules] = process.argv.slice(2);
const { parse } = createRequire(path.resolve(modules, "check.cjs"))("npyjs");

async function predict(signature, headers, body) {
  const url = `${base}/v1/models/echo:predict?signature_name=${signature}`;
  const reply = await fetch(url, { method: "POST", headers: { Accept: "application/x-npy", ...headers }, body });
  assert.equal(reply.status, 200, signature);
  assert.equal(reply.headers.get("content-type"), "application/x-npy");
  return reply.arrayBuffer();
}

const cases = [
  ["float", [[1.5, -2], [0.25, 1e30]], "f4"],
  ["double", [[0.1, -2], [0.25, 1e300]], "f8"],
  ["int8", [[-128, 127], [0, 1]], "i1"],
  ["uint8", [[0, 255], [1, 2]], "u1"],
  ["int16", [[-32768, 32767], [0, 1]], "i2"],
  ["uint16", [[0, 65535], [1, 2]], "u2"],
  ["int32", [[-2147483648, 2147483647], [0, 1]], "i4"],
  ["uint32", [[0, 4294967295], [1, 2]], "u4"],
  ["half", [[1.5, -2], [0.25, 4]], "f2"],
];
for (const [signature, values, dtype] of cases) {
  const json = JSON.stringify({ signature_name: signature, inputs: values });
  const file = await predict(signature, { "Content-Type": "application/json" }, json);
  const array = parse(file);
  assert.deepEqual(array.shape, [2, 2], signature);
  assert.ok(array.dtype.endsWith(dtype), `${signature}: ${array.dtype}`);
  assert.equal(array.fortranOrder, false);
  const expected = values.flat().map((value) => (dtype === "f4" ? Math.fround(value) : value));
  assert.deepEqual(Array.from(array.data), expected, signature);
  const again = await predict(signature, { "Content-Type": "application/x-npy" }, file);
  assert.deepEqual(Buffer.from(again), Buffer.from(file), signature);
}
console.log(`${cases.length} dtypes`);
