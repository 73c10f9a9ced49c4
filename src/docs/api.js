// The bridge as the page calls it: addresses relative to the page's own, so that a path before them stays, and the
// token, which this tab alone remembers.

import { parse, toValue } from "./json.js";

const TOKEN = "tfbridge-token";
const root = new URL(".", document.baseURI);

export const token = {
    get: () => sessionStorage.getItem(TOKEN) ?? "",
    set: (text) => (text ? sessionStorage.setItem(TOKEN, text) : sessionStorage.removeItem(TOKEN)),
};

/// An address of the bridge as a whole. The dot keeps what follows from being taken for a scheme, as in `/score:run`,
/// or for another host, as in `//a/b`.
export const absolute = (path) => new URL(`./${path.replace(/^\//, "")}`, root).href;

/// The path of a model, of one of its versions or of one of its labels, with what follows it.
export function modelPath(name, { version, label } = {}, rest = "") {
    const part = (text) => encodeURIComponent(text).replace(/'/g, "%27");
    const choice = label !== undefined ? `/labels/${part(label)}` : version !== undefined ? `/versions/${part(version)}` : "";
    return `v1/models/${part(name)}${choice}${rest}`;
}

/// What went wrong, with the status if there was an answer.
export class Failure extends Error {
    constructor(message, status) {
        super(message);
        this.status = status;
    }
}

/// Sends a request. Tells of its answer all that a page can know.
export async function send(path, { method = "GET", headers = {}, body, signal } = {}) {
    const url = absolute(path);
    const all = { ...headers, ...(token.get() ? { Authorization: `Bearer ${token.get()}` } : {}) };
    const start = performance.now();
    let response, bytes;
    try {
        response = await fetch(url, { method, headers: all, body, signal, cache: "no-store" });
        bytes = new Uint8Array(await response.arrayBuffer());
    } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Failure("The bridge cannot be reached, or the connection broke.");
    }
    const milliseconds = performance.now() - start;
    const entry = performance.getEntriesByName(url, "resource").at(-1);
    performance.clearResourceTimings();
    const waited = entry && entry.responseStart > 0 ? entry.responseStart - entry.requestStart : undefined;
    const server = entry?.serverTiming?.map(({ name, duration, description }) => ({ name: description || name, duration }));
    return { status: response.status, headers: response.headers, bytes, milliseconds, waited, server: server ?? [] };
}

export const textOf = (answer) => new TextDecoder().decode(answer.bytes);

/// The message of an error body, or something about the status.
export function errorOf(answer) {
    try {
        const { error } = JSON.parse(textOf(answer));
        if (typeof error === "string") return error;
    } catch {
        // It is none of the bridge's: a proxy may stand in between.
    }
    return `The answer was ${answer.status}.`;
}

/// A JSON document of the bridge.
export async function get(path) {
    const answer = await send(path);
    if (answer.status !== 200) throw new Failure(errorOf(answer), answer.status);
    return toValue(parse(textOf(answer)));
}

/// The signatures of a model as the catalog has them, from its metadata.
export async function signaturesOf(name, choice) {
    const { metadata } = await get(modelPath(name, choice, "/metadata"));
    const shape = ({ dim, unknown_rank: isOpen }) => (isOpen ? null : dim.map(({ size }) => Number(size)));
    const tensors = (infos) => Object.fromEntries(Object.entries(infos ?? {})
        .map(([tensor, { dtype, tensor_shape: sizes }]) => [tensor, { dtype, shape: sizes ? shape(sizes) : null }]));
    const signature = ({ inputs, outputs, method_name }) => (
        { method_name, inputs: tensors(inputs), outputs: tensors(outputs) });
    return Object.fromEntries(Object.entries(metadata.signature_def.signature_def)
        .map(([key, definition]) => [key, signature(definition)]));
}

/// A model that the catalog does not know, by its name, as the catalog would have it.
export async function modelOf(name) {
    const { model_version_status: states } = await get(modelPath(name));
    const versions = states.map(({ version, state }) => ({ version, state, labels: [] }));
    versions.sort((one, other) => (BigInt(one.version) < BigInt(other.version) ? 1 : -1));
    const best = versions.find(({ state }) => state === "AVAILABLE");
    const model = { name, state: (best ?? versions[0])?.state ?? "UNKNOWN", version: best?.version, versions };
    return { ...model, signatures: best ? await signaturesOf(name) : null };
}
