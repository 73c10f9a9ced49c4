// Files for inputs: any file as base64 for one that takes strings, a picture's pixels as numbers, and a JPEG or PNG as
// the body itself, which the bridge decodes.

import { isFloat, isInteger, isString } from "./sample.js";

/// The size of a picture for an input that leaves it open, at most.
const MOST_SIDE = 224;

/// What numbers pixels become: a factor, an offset and the bridge's words for them.
export const SCALES = {
    "0 to 255": { factor: 1, offset: 0, query: {} },
    "0 to 1": { factor: 1 / 255, offset: 0, query: { scale: "1/255" } },
    "−1 to 1": { factor: 1 / 127.5, offset: -1, query: { scale: "1/127.5", offset: "-1" } },
};

/// How an input takes a picture's pixels: sides and channels (0 for none), or undefined if it does not. A side of -1 is
/// open. `isDecoded` is whether the bridge makes them of a file, too.
export function pixelsOf({ dtype, shape }) {
    if (!isFloat({ dtype }) && !isInteger({ dtype })) return undefined;
    if (!shape) return { height: -1, width: -1, channels: 3, isDecoded: false };
    const channels = shape.at(-1);
    const isColour = [1, 3, 4].includes(channels);
    const isDecoded = /^DT_(FLOAT|DOUBLE|HALF|BFLOAT16|INT32|UINT8)$/.test(dtype);
    if (shape.length === 4 && isColour) return { height: shape[1], width: shape[2], channels, isDecoded };
    if (shape.length === 3 && isColour && shape[0] > 4) return { height: shape[0], width: shape[1], channels, isDecoded };
    if (shape.length === 3 && (shape[1] > 4 || shape[1] < 0)) {
        return { height: shape[1], width: shape[2], channels: 0, isDecoded: false };
    }
    return undefined;
}

/// The inputs that a file can be for.
export const inputsForFiles = (inputs) =>
    Object.keys(inputs).filter((name) => isString(inputs[name]) || pixelsOf(inputs[name]));

/// A file as it is, with the picture if it is one.
export async function open(file) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const type = sniff(bytes);
    const opened = { name: file.name || "file", bytes, type, bitmap: undefined };
    try {
        opened.bitmap = await createImageBitmap(new Blob(unturned(bytes, type)));
    } catch {
        // It is no picture that this browser knows.
    }
    return opened;
}

function sniff(bytes) {
    const begins = (...start) => start.every((byte, at) => bytes[at] === byte);
    if (begins(0x89, 0x50, 0x4e, 0x47)) return "image/png";
    return begins(0xff, 0xd8, 0xff) ? "image/jpeg" : "application/octet-stream";
}

/// The parts of a picture's file without those that tell how to turn it: the bridge does not turn pictures, and browsers
/// do whatever they are asked.
function unturned(bytes, type) {
    const view = new DataView(bytes.buffer);
    const text = (at, length) => String.fromCharCode(...bytes.subarray(at, at + length));
    const parts = [];
    let from = 0;
    const leaveOut = (at, end) => {
        parts.push(bytes.subarray(from, at));
        from = end;
    };
    if (type === "image/png") {
        // A chunk is the length of its data, a name, the data and a checksum.
        for (let at = 8, end; at + 8 <= bytes.length; at = end) {
            end = at + 12 + view.getUint32(at);
            if (text(at + 4, 4) === "eXIf") leaveOut(at, end);
        }
    } else if (type === "image/jpeg") {
        // A segment is a marker of two bytes, before which there may be more of FF, and its length. The scan (FFDA)
        // ends them.
        for (let at = 2, end; at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda; at = end) {
            end = bytes[at + 1] === 0xff ? at + 1 : at + 2 + view.getUint16(at + 2);
            if (bytes[at + 1] === 0xe1 && text(at + 4, 6) === "Exif\0\0") leaveOut(at, end);
        }
    }
    return [...parts, bytes.subarray(from)];
}

/// The sides that a picture gets for an input.
export function sidesFor({ height, width }, bitmap) {
    const ratio = Math.min(1, MOST_SIDE / Math.max(bitmap.height, bitmap.width));
    const own = (side) => Math.max(1, Math.round(side * ratio));
    return { height: height > 0 ? height : own(bitmap.height), width: width > 0 ? width : own(bitmap.width) };
}

/// Draws a picture at this size.
export function draw(canvas, bitmap, { height, width }) {
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0, width, height);
}

/// The pixels of a canvas as JSON: lists of rows of pixels, of numbers that fit the dtype.
export function pixelsText(canvas, channels, tensor, scale) {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const { factor, offset } = SCALES[scale];
    const number = isFloat(tensor)
        ? (value) => `${Number((value * factor + offset).toFixed(5))}`
        : (value) => `${Math.round(value)}`;
    const gray = (at) => number(0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]);
    const pixel = (at) => {
        if (channels === 0) return gray(at);
        if (channels === 1) return `[${gray(at)}]`;
        return `[${Array.from({ length: channels }, (_, channel) => number(data[at + channel]))}]`;
    };
    const row = (y) => `[${Array.from({ length: width }, (_, x) => pixel((y * width + x) * 4))}]`;
    return `[${Array.from({ length: height }, (_, y) => row(y))}]`;
}

/// Bytes as base64.
export function base64(bytes) {
    const parts = [];
    for (let at = 0; at < bytes.length; at += 0x8000) {
        parts.push(String.fromCharCode(...bytes.subarray(at, at + 0x8000)));
    }
    return btoa(parts.join(""));
}

/// The query with which the bridge decodes the file for the only input of a signature.
export function queryFor(tensor, signatureName, pixels, sides, scale) {
    const query = new URLSearchParams();
    if (signatureName) query.set("signature_name", signatureName);
    if (pixels) {
        query.set("resize", `${sides.height}x${sides.width}`);
        if (isFloat(tensor)) Object.entries(SCALES[scale].query).forEach(([key, value]) => query.set(key, value));
    }
    const text = query.toString().replaceAll("%2F", "/");
    return text ? `?${text}` : "";
}
