// What the page is shown that the demo does not have: models with pictures and scores, routes of one's own, and files.

import { deflateSync } from "node:zlib";

const tensor = (dtype, shape) => ({ dtype, shape });
const available = (version, ...labels) => ({ version, state: "AVAILABLE", labels });

/// An answer to `GET /v1/models`.
export const catalog = {
    models: [
        {
            name: "resnet",
            state: "AVAILABLE",
            version: "7",
            versions: [available("7", "canary"), { version: "6", state: "UNLOADING", labels: [] }, available("5", "stable")],
            signatures: {
                serving_default: {
                    method_name: "tensorflow/serving/predict",
                    inputs: { image: tensor("DT_FLOAT", [-1, 224, 224, 3]) },
                    outputs: { classes: tensor("DT_STRING", [-1, 1000]), scores: tensor("DT_FLOAT", [-1, 1000]) },
                },
            },
        },
        { name: "a_model_with_a_rather_long_name_v2/final", state: "LOADING", versions: [{ version: "1", state: "LOADING", labels: [] }], signatures: null },
        {
            name: "huge",
            state: "AVAILABLE",
            version: "1",
            versions: [available("1")],
            signatures: {
                serving_default: {
                    method_name: "tensorflow/serving/predict",
                    inputs: { x: tensor("DT_FLOAT", [-1, 2 ** 30]), y: tensor("DT_FLOAT", [-1, 2 ** 30, 0]) },
                    outputs: {},
                },
            },
        },
        {
            name: "paint",
            state: "AVAILABLE",
            version: "1",
            versions: [available("1")],
            signatures: {
                serving_default: {
                    method_name: "tensorflow/serving/predict",
                    inputs: { image: tensor("DT_UINT8", [-1, -1, -1, 3]) },
                    outputs: {},
                },
                guided: {
                    method_name: "tensorflow/serving/predict",
                    inputs: { image: tensor("DT_UINT8", [-1, -1, -1, 3]), strength: tensor("DT_FLOAT", [-1]) },
                    outputs: {},
                },
            },
        },
        { name: "gone", state: "UNKNOWN", versions: [], signatures: null, error: "Could not find any versions of model gone" },
    ],
    routes: [{ path: "/predict-digit", model: "resnet" }],
};

/// An answer to `GET /openapi.json`.
export const openapi = {
    openapi: "3.1.0",
    paths: {
        "/predict-digit": {
            "x-tfbridge-route": { model: "resnet", label: "stable", signature_name: "serving_default" },
            post: {
                summary: "Which digit a picture shows",
                requestBody: { content: { "application/json": { example: { input: [[0, 1], [1, 0]] } } } },
            },
        },
        // Where a path begins like a scheme, or like a host.
        ...Object.fromEntries(["/score:run", "//twice/over"].map((path) => [path, {
            "x-tfbridge-route": { model: "resnet" },
            post: { requestBody: { content: { "application/json": { example: {} } } } },
        }])),
    },
};

const names = { 281: "tabby cat", 282: "tiger cat", 285: "Egyptian cat", 280: "grey fox", 283: "Persian cat" };

/// An answer of that model: a thousand classes, of which few are likely.
export const scores = {
    predictions: [
        {
            classes: Array.from({ length: 1000 }, (_, index) => names[index] ?? `class ${index}`),
            scores: Array.from({ length: 1000 }, (_, index) => Number((0.62 * Math.exp(-((index - 281) ** 2) / 6) + 1e-5 * (index % 7)).toPrecision(5))),
        },
    ],
};

/// A PNG of so many pixels, whose colours `colour` gives.
export function png(width, height, colour) {
    const row = (y) => [0, ...Array.from({ length: width }, (_, x) => colour(x, y)).flat()];
    const lines = Array.from({ length: height }, (_, y) => row(y)).flat();
    const head = Buffer.alloc(13);
    head.writeUInt32BE(width, 0);
    head.writeUInt32BE(height, 4);
    head.set([8, 2, 0, 0, 0], 8);
    const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", deflateSync(Buffer.from(lines))), chunk("IEND", Buffer.alloc(0))]);
}

/// An answer with scores of all signs and pictures of all kinds.
export const painted = {
    predictions: [
        {
            logits: [-3, 0, 1, 2],
            logs: [-0.25, -1.5, -4],
            mask: [[[1, 0, 0, 1], [0, 1, 0, 0.2]], [[0, 0, 1, 0.5], [1, 1, 1, 0]]],
            photo: { b64: png(40, 30, (x, y) => [x * 6, y * 8, 90]).toString("base64") },
            broken: { b64: "/9j/AAAA" },
            tall: Array.from({ length: 224 }, (_, y) => Array.from({ length: 9 }, (_, x) => y * x)),
        },
    ],
};

/// What says in Exif that a picture is to be turned by a quarter: a list of one entry.
const turn = Buffer.from("4d4d002a00000008" + "0001" + "011200030000000100060000" + "00000000", "hex");

/// A JPEG that says so.
export function turnedJpeg(jpeg) {
    const content = Buffer.concat([Buffer.from("Exif\0\0"), turn]);
    const head = Buffer.from([0xff, 0xe1, 0, content.length + 2]);
    return Buffer.concat([jpeg.subarray(0, 2), head, content, jpeg.subarray(2)]);
}

/// A PNG that says so, behind the chunk of its size.
export const turnedPng = (png) => Buffer.concat([png.subarray(0, 33), chunk("eXIf", turn), png.subarray(33)]);

function chunk(type, data) {
    const content = Buffer.concat([Buffer.from(type), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(checksum(content));
    return Buffer.concat([length, content, sum]);
}

/// The CRC-32 that PNG has.
function checksum(bytes) {
    let sum = 0xffffffff;
    for (const byte of bytes) {
        sum ^= byte;
        for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
    }
    return (sum ^ 0xffffffff) >>> 0;
}
