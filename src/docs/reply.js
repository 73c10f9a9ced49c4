// A reply: its status and times, what it says as bars, lines and pictures, and its JSON.

import { errorOf, textOf } from "./api.js";
import { bars, encoded, image, numberText, plot } from "./charts.js";
import { bytesText, copyButton, element, radios, saveButton } from "./dom.js";
import { indented, parse, toValue } from "./json.js";

/// Larger replies are not read, only saved and shown as far as this goes.
const MOST_BYTES = 8 << 20;
/// How much of a text is shown at first, and how much at most.
const FIRST_TEXT = 8_000;
const MOST_TEXT = 400_000;
/// How many rows of a batch are drawn.
const MOST_ROWS = 8;
/// The most scores that are shown as bars without being asked for.
const MOST_SCORES = 1000;

const WORDS = {
    200: "OK", 400: "Bad request", 401: "A token is needed", 403: "Not allowed", 404: "Not found", 405: "Wrong method",
    406: "Not acceptable", 408: "Too slow", 409: "Conflict", 413: "Too large", 415: "Unknown type", 429: "Too many requests",
    499: "Cancelled", 500: "Internal error", 501: "Not implemented", 503: "Unavailable", 504: "Timed out",
};

/// Everything there is to see of an answer, its JSON in so many columns. `locate` gives what shows a place of the request.
export function replyView(answer, { columns, locate }) {
    const isGood = answer.status < 400;
    const view = element("div", { class: "reply" }, summary(answer, isGood));
    if (!isGood) view.append(failure(answer, locate));
    const type = answer.headers.get("content-type") ?? "";
    if (answer.bytes.length > MOST_BYTES || !/json|text/.test(type)) {
        view.append(element("p", { class: "note" }, `${bytesText(answer.bytes.length)} of ${type || "no type"} `, save(answer)));
        return view;
    }
    const text = textOf(answer);
    let tree;
    try {
        tree = parse(text);
    } catch {
        view.append(element("pre", { class: "json", tabindex: 0, "aria-label": "The reply" }, text.slice(0, MOST_TEXT)));
        return view;
    }
    if (isGood) view.append(...pictures(toValue(tree)));
    view.append(jsonView(tree, text, answer, columns));
    return view;
}

/// What an answer was, in a line for those who listen.
export function spoken(answer) {
    const word = WORDS[answer.status] ?? "";
    return `${answer.status} ${word}, ${timeText(answer.milliseconds)}${answer.status < 400 ? "" : `: ${errorOf(answer)}`}`;
}

const timeText = (milliseconds) =>
    milliseconds < 1000 ? `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`
        : `${(milliseconds / 1000).toFixed(2)} s`;

function summary(answer, isGood) {
    const fact = (name, value) => value !== undefined && value !== null &&
        element("div", { class: "fact" }, element("dt", {}, name), element("dd", {}, value));
    return element("dl", { class: "facts" },
        element("div", { class: "fact" }, element("dt", { class: "unseen" }, "Status"),
            element("dd", { class: `status ${isGood ? "good" : "bad"}` }, `${answer.status} ${WORDS[answer.status] ?? ""}`)),
        fact("time", timeText(answer.milliseconds)),
        fact("first byte", answer.waited === undefined ? undefined : timeText(answer.waited)),
        answer.server.map(({ name, duration }) => fact(name, timeText(duration))),
        fact("version", answer.headers.get("x-model-version")),
        fact("size", bytesText(answer.bytes.length)),
        fact("attempts", Number(answer.headers.get("x-attempts")) > 1 ? answer.headers.get("x-attempts") : undefined));
}

function failure(answer, locate) {
    const message = errorOf(answer);
    const place = /^(\/[^\s:]*): /.exec(message)?.[1] ?? (/at offset: \d+/.test(message) ? message : undefined);
    const show = place && locate?.(place);
    return element("div", { class: "failure" },
        element("p", {}, message),
        show && element("button", { type: "button", class: "quiet", onclick: show }, "Show the place"));
}

function save(answer) {
    const type = answer.headers.get("content-type") ?? "application/octet-stream";
    const name = /json/.test(type) ? "reply.json" : "reply.bin";
    return saveButton("Save", name, () => new Blob([answer.bytes], { type }));
}

function jsonView(tree, text, answer, columns) {
    const pre = element("pre", { class: "json", tabindex: 0, role: "region", "aria-label": "The reply as JSON" });
    const more = element("p", { class: "soft small" });
    const show = (most) => {
        const { pieces, isAll } = indented(tree, text, columns, most);
        pre.replaceChildren(...pieces.map(([kind, piece]) =>
            kind === "mark" ? piece : element("span", { class: `json-${kind}` }, cut(piece))), isAll ? "" : "\n…");
        more.replaceChildren();
        if (isAll) return;
        more.append("This is the beginning. ");
        if (most < MOST_TEXT) {
            more.append(element("button", { type: "button", class: "quiet", onclick: () => show(MOST_TEXT) }, "Show more"));
        }
    };
    const cut = (piece) => (piece.length > 2000 ? `${piece.slice(0, 2000)}…` : piece);
    show(FIRST_TEXT);
    return element("div", { class: "block" },
        element("div", { class: "block-head" }, element("h4", {}, "JSON"), copyButton("Copy the reply", () => text), save(answer)),
        pre, more);
}

/// What can be seen of the values, row by row.
function pictures(value) {
    const rows = rowsOf(value);
    if (!rows) return [];
    const shown = rows.slice(0, MOST_ROWS).map((row, at) => {
        const views = Object.entries(row).map(([name, output]) => outputView(name, output, row)).filter(Boolean);
        const title = rows.length > 1 && element("h4", {}, `Row ${at + 1}`);
        return views.length > 0 && element("div", { class: "row" }, title, views);
    }).filter(Boolean);
    const rest = rows.length - MOST_ROWS;
    if (shown.length > 0 && rest > 0) {
        shown.push(element("p", { class: "soft small" }, `${rest} more ${rest === 1 ? "row is" : "rows are"} in the JSON`));
    }
    return shown;
}

/// The rows of a reply, each an object of outputs; the only output has an empty name.
function rowsOf(value) {
    const isObject = (item) => typeof item === "object" && item !== null && !Array.isArray(item);
    const named = (item) => (isObject(item) && !("b64" in item) ? item : { "": item });
    if (!isObject(value)) return Array.isArray(value) ? [{ "": value }] : undefined;
    if (Array.isArray(value.predictions)) return value.predictions.map(named);
    if (Array.isArray(value.results)) return value.results.map(classified);
    if (!("outputs" in value)) return "error" in value ? undefined : [value];
    const outputs = named(value.outputs);
    const lengths = new Set(Object.values(outputs).map((output) => (Array.isArray(output) ? output.length : -1)));
    const [length] = lengths;
    if (lengths.size !== 1 || length < 0) return [outputs];
    const row = (at) => Object.fromEntries(Object.entries(outputs).map(([name, output]) => [name, output[at]]));
    return Array.from({ length: Math.min(length, MOST_ROWS + 1e6) }, (_, at) => row(at));
}

/// A result of classify, pairs of labels and scores, or of regress, a number. A route of one's own may have results that
/// are neither.
function classified(result) {
    const isPair = (item) => Array.isArray(item) && item.length === 2 && typeof item[0] === "string" && !Array.isArray(item[1]);
    if (!Array.isArray(result) || !result.every(isPair)) return { "": result };
    const labels = result.map(([label]) => label);
    return { "": result.map(([, score]) => score), [LABELS]: labels };
}
const LABELS = Symbol("labels");

const isNumbers = (value) => Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "number");
const areAlike = (lists) => lists.every((list) => Array.isArray(list) && list.length === lists[0].length);

function isGrid(value) {
    if (!Array.isArray(value) || value.length < 2 || !Array.isArray(value[0]) || value[0].length < 2) return false;
    if (value.length * value[0].length > 4e6 || !areAlike(value)) return false;
    const depth = Array.isArray(value[0][0]) ? value[0][0].length : 0;
    if (depth === 0) return value.every(isNumbers);
    return [1, 3, 4].includes(depth) && value.every((row) => row.every((pixel) => isNumbers(pixel) && pixel.length === depth));
}

function outputView(name, output, row) {
    const titled = (...views) => element("div", { class: "output" }, name && element("p", { class: "output-name" }, name), views);
    const drawn = encoded(output?.b64 ?? output);
    if (drawn) return titled(drawn);
    // Integers beyond 53 bits are rounded here; the JSON has them as they are.
    if (Number.isInteger(output) && !Number.isSafeInteger(output)) return undefined;
    if (typeof output === "number" || typeof output === "string" || typeof output === "boolean") {
        const text = typeof output === "number" ? numberText(output) : `${output}`;
        return titled(element("p", { class: "single" }, text.length > 200 ? `${text.slice(0, 200)}…` : text));
    }
    const labels = row[LABELS] ?? labelsFor(output, row);
    if (isNumbers(output) && output.length === 1) return outputView(name, output[0], {});
    if (isNumbers(output)) return titled(scores(output, labels));
    if (isGrid(output)) return titled(image(output));
    // A picture with a batch of its own, or scores: one level further down.
    if (Array.isArray(output) && output.length === 1) return outputView(name, output[0], {});
    return undefined;
}

/// Strings of another output that there are as many of.
function labelsFor(output, row) {
    if (!Array.isArray(output)) return undefined;
    const isLabels = (other) =>
        Array.isArray(other) && other.length === output.length && other.every((item) => typeof item === "string");
    return Object.values(row).find(isLabels);
}

function scores(output, labels) {
    const place = element("div", {});
    const show = (kind) => place.replaceChildren(kind === "bars" ? bars(output, labels) : plot(output));
    const kind = output.length <= MOST_SCORES ? "bars" : "line";
    show(kind);
    if (output.length < 4) return [place];
    return [radios("How to show it", [["bars", "Largest"], ["line", "All in order"]], kind, show), place];
}
