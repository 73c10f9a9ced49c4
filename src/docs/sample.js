// Values that an input takes, made from its dtype and shape, and bodies of them. What is too large for a text area has
// a placeholder there, a short string whose values are put in when the body is sent.

import { stringify } from "./json.js";

/// The most values that are written out.
const MOST_VALUES = 2000;
/// The most values of an input that a placeholder stands for, which is also where the bridge gives up: with more of them
/// the tab would run out of memory.
const MOST_ZEROS = 1 << 24;

/// The signature that is meant where none is named.
export const DEFAULT_SIGNATURE = "serving_default";

/// The verb of a signature.
export function verbOf(signature) {
    const last = (signature.method_name ?? "").split("/").pop();
    return last === "classify" || last === "regress" ? last : "predict";
}

/// A dtype without its prefix, in small letters.
export const dtypeName = (dtype) => dtype.replace(/^DT_/, "").toLowerCase();

export const isString = (tensor) => tensor.dtype === "DT_STRING";
export const isFloat = (tensor) => /^DT_(FLOAT|DOUBLE|HALF|BFLOAT16)$/.test(tensor.dtype);
export const isInteger = (tensor) => /^DT_U?INT(8|16|32|64)$/.test(tensor.dtype);

/// A shape for people.
export function shapeText(shape) {
    if (!shape) return "any shape";
    if (shape.length === 0) return "scalar";
    return `[${shape.map((size, at) => (size >= 0 ? size : at === 0 ? "batch" : "?")).join(", ")}]`;
}

/// One value.
function scalar(name, { dtype }) {
    if (dtype === "DT_STRING") return /(_bytes|^bytes|^images?)$/i.test(name) ? { b64: "dGV4dA==" } : "text";
    if (dtype === "DT_BOOL") return true;
    if (dtype.startsWith("DT_COMPLEX")) return [1, 0];
    return /^DT_(FLOAT|DOUBLE|HALF|BFLOAT16)$/.test(dtype) ? 0.5 : 1;
}

/// How many lists or values one of this shape has at most on a level. An empty size hides the ones before it: of [9, 0]
/// there are 9 empty lists.
const count = (sizes) => sizes.reduce((product, size) => product * Math.max(size, 1), 1);

/// A value of this shape, or the placeholder of one that is too large. What is too large even for that is only named.
function tensor(name, info, sizes, placeholders) {
    const shape = sizes.map((size) => (size < 0 ? 1 : size));
    const one = scalar(name, info);
    if (count(shape) <= MOST_VALUES) return nest(shape, () => one);
    if (count(info.shape ?? shape) > MOST_ZEROS) return `<too large for a sample: ${shape.join("×")}>`;
    const key = `<zeros ${shape.join("×")}>`;
    const zero = isString(info) ? "" : info.dtype === "DT_BOOL" ? false : Array.isArray(one) ? [0, 0] : 0;
    placeholders.set(key, () => JSON.stringify(nest(shape, () => zero)));
    return key;
}

/// Lists in lists of this shape.
export function nest(shape, value) {
    if (shape.length === 0) return value();
    return Array.from({ length: shape[0] }, () => nest(shape.slice(1), value));
}

/// How many rows a body in row format has, or undefined if these inputs have no common batch.
export function rowCount(inputs) {
    const sizes = Object.values(inputs).map(({ shape }) => (shape ? shape[0] : -1));
    if (sizes.length === 0 || sizes.includes(undefined)) return undefined;
    const fixed = new Set(sizes.filter((size) => size >= 0));
    if (fixed.size > 1) return undefined;
    const [count = 1] = fixed;
    return count <= 16 ? count : undefined;
}

/// The formats of bodies that a signature takes, the best one first.
export function formatsOf(signature) {
    if (verbOf(signature) !== "predict") return ["examples"];
    return rowCount(signature.inputs) === undefined ? ["inputs"] : ["instances", "inputs"];
}

/// The text of a body, and the placeholders that are in it with what makes their JSON. `given` has files for inputs by
/// name: a `value` with a `placeholder` inside, of so many dimensions (`rank`), and `make`.
export function sampleBody(signature, signatureName, format, given = {}) {
    const placeholders = new Map();
    const inputs = Object.entries(signature.inputs);
    const named = signatureName === DEFAULT_SIGNATURE ? {} : { signature_name: signatureName };
    const value = (name, info, isRow) => {
        const sizes = info.shape ? info.shape.slice(isRow ? 1 : 0) : [];
        const own = given[name];
        if (!own) return info.shape || isRow ? tensor(name, info, sizes, placeholders) : [scalar(name, info)];
        placeholders.set(own.placeholder, own.make);
        const around = info.shape ? sizes.slice(0, Math.max(sizes.length - own.rank, 0)) : isRow ? [] : [1];
        return nest(around.map(() => 1), () => own.value);
    };
    const all = (isRow) => {
        if (inputs.length === 1) return value(...inputs[0], isRow);
        return Object.fromEntries(inputs.map(([name, info]) => [name, value(name, info, isRow)]));
    };
    let values;
    if (format === "examples") values = [{ x: 0.5 }];
    else if (format === "inputs") values = all(false);
    else values = Array.from({ length: rowCount(signature.inputs) ?? 1 }, () => all(true));
    return { text: stringify({ ...named, [format]: values }), placeholders };
}
