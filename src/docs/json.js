// JSON as the bridge reads and writes it: with NaN and infinities, and with integers of 64 bits, which must not be
// rounded on the way. That is why numbers keep their text here.

/// How many levels of lists and objects are read.
const MAX_DEPTH = 512;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|-?Infinity\b|NaN\b/y;
const WORD = /true\b|false\b|null\b/y;
const SPACE = /[ \t\n\r]*/y;

/// What is wrong with a text, and where in it.
export class JsonError extends Error {
    constructor(message, at) {
        super(message);
        this.at = at;
    }
}

/// The tree of a text. A node has a `kind` ("object", "array", "string", "number" or "word"), its place in the text
/// (`start`, `end`), and `members` (pairs of a key and a node), `items` or a `value`.
export function parse(text) {
    let at = 0;
    const fail = (message, place = at) => {
        throw new JsonError(message, place);
    };
    const skip = () => {
        SPACE.lastIndex = at;
        SPACE.test(text);
        at = SPACE.lastIndex;
        return text[at];
    };
    const match = (pattern) => {
        pattern.lastIndex = at;
        return pattern.exec(text)?.[0];
    };
    const string = () => {
        const start = at;
        do {
            at = text.indexOf('"', at + 1);
            if (at < 0) fail("this string has no end", start);
        } while (isEscaped(text, at));
        at += 1;
        try {
            return JSON.parse(text.slice(start, at));
        } catch {
            return fail("this string has a line break or a wrong escape", start);
        }
    };
    const list = (close, depth, read) => {
        if (depth === MAX_DEPTH) fail("this nests too deeply");
        at += 1;
        if (skip() === close) {
            at += 1;
            return;
        }
        for (;;) {
            read();
            const next = skip();
            at += 1;
            if (next === close) return;
            if (next !== ",") fail(next === undefined ? `"${close}" is missing` : `"," or "${close}" is expected`, at - 1);
            if (skip() === close) fail(`nothing follows the last ","`);
        }
    };
    const value = (depth) => {
        const first = skip();
        const start = at;
        if (first === undefined) fail("a value is missing");
        if (first === '"') return { kind: "string", value: string(), start, end: at };
        if (first === "[") {
            const items = [];
            list("]", depth, () => items.push(value(depth + 1)));
            return { kind: "array", items, start, end: at };
        }
        if (first === "{") {
            const members = [];
            list("}", depth, () => {
                if (skip() !== '"') fail("a name in double quotes is expected");
                const key = string();
                if (skip() !== ":") fail('":" is expected');
                at += 1;
                members.push([key, value(depth + 1)]);
            });
            return { kind: "object", members, start, end: at };
        }
        const number = match(NUMBER);
        if (number !== undefined) {
            at += number.length;
            return { kind: "number", value: Number(number), start, end: at };
        }
        const word = match(WORD) ?? fail(first === "'" ? "strings are in double quotes" : "a value is expected");
        at += word.length;
        return { kind: "word", value: JSON.parse(word), start, end: at };
    };
    const root = value(0);
    if (skip() !== undefined) fail("nothing may follow the value");
    return root;
}

function isEscaped(text, quote) {
    let at = quote;
    while (text[at - 1] === "\\") at -= 1;
    return (quote - at) % 2 === 1;
}

/// Plain values of a tree; integers beyond 53 bits are rounded.
export function toValue(node) {
    switch (node.kind) {
        case "array":
            return node.items.map(toValue);
        case "object":
            return Object.fromEntries(node.members.map(([key, member]) => [key, toValue(member)]));
        default:
            return node.value;
    }
}

/// The member of an object.
export function member(node, key) {
    return node?.kind === "object" ? node.members.findLast(([name]) => name === key)?.[1] : undefined;
}

/// The node that a JSON pointer leads to, or the last one on its way.
export function find(root, pointer) {
    let node = root;
    for (const step of pointer.split("/").slice(1)) {
        const key = step.replaceAll("~1", "/").replaceAll("~0", "~");
        const next = node.kind === "array" ? node.items[key] : member(node, key);
        if (!next) break;
        node = next;
    }
    return node;
}

/// Calls `visit` with every node.
export function walk(node, visit) {
    visit(node);
    node.items?.forEach((item) => walk(item, visit));
    node.members?.forEach(([, item]) => walk(item, visit));
}

/// The text of a tree without spaces to spare. `print` may give another text for a node.
export function compact(node, text, print = () => undefined) {
    const inner = (child) => compact(child, text, print);
    const own = print(node);
    if (own !== undefined) return own;
    if (node.kind === "array") return `[${node.items.map(inner).join(", ")}]`;
    if (node.kind === "object") {
        return `{${node.members.map(([key, value]) => `${JSON.stringify(key)}: ${inner(value)}`).join(", ")}}`;
    }
    return text.slice(node.start, node.end);
}

/// The pieces of an indented text, `[kind, text]`, up to about so many characters, and whether these are all. What is
/// short stays on a line, and lists of what is short fill lines.
export function indented(root, text, width = 76, most = Infinity) {
    const pieces = [];
    let length = 0;
    const put = (kind, piece) => {
        length += piece.length;
        pieces.push([kind, piece]);
    };
    // A list gets a space behind each comma.
    const size = (node) => node.end - node.start + (node.items?.length ?? 0);
    const isPlain = (node) => !node.items && !node.members;
    const isShort = (node) => isPlain(node) || (size(node) < 40 && (node.items?.every(isPlain) ?? false));
    const write = (node, depth) => {
        if (isPlain(node)) return put(node.kind, text.slice(node.start, node.end));
        const children = node.members ?? node.items.map((item) => [undefined, item]);
        const [open, close] = node.items ? "[]" : "{}";
        const pad = `\n${"  ".repeat(depth + 1)}`;
        const isLine = size(node) + pad.length < width;
        const isFilled = node.items?.every(isShort);
        let column = 0;
        put("mark", open);
        for (const [index, [key, item]] of children.entries()) {
            if (length > most) return undefined;
            if (index > 0) put("mark", ",");
            if (!isLine && (index === 0 || !isFilled || column + size(item) + pad.length > width)) {
                put("mark", pad);
                column = 0;
            } else if (index > 0) put("mark", " ");
            column += size(item) + 2;
            if (key !== undefined) {
                put("key", JSON.stringify(key));
                put("mark", ": ");
            }
            write(item, depth + 1);
        }
        if (!isLine && children.length > 0) put("mark", `\n${"  ".repeat(depth)}`);
        return put("mark", close);
    };
    write(root, 0);
    return { pieces, isAll: length <= most };
}

/// An indented text of a value.
export function stringify(value) {
    const text = JSON.stringify(value);
    return indented(parse(text), text, 48).pieces.map(([, piece]) => piece).join("");
}
