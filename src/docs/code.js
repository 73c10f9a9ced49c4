// A request as code: curl, Python, JavaScript and Go that send the same. A token is never written out; the code takes
// it from the variable TOKEN.
//
// A request here has a `url` and `type`, and as its body a `text` of JSON or the name of a `file`. With `needsToken`
// it has a token.

import { compact, parse, walk } from "./json.js";

/// The languages, in the order of their tabs.
export const LANGUAGES = { curl, Python: python, JavaScript: javascript, Go: go };

/// A word of a POSIX shell.
function shell(text) {
    return `'${text.replaceAll("'", "'\\''")}'`;
}

/// A string in double quotes, as JSON, JavaScript, Python and Go all read it. What is no Unicode is replaced.
const quoted = (text) => JSON.stringify(text.toWellFormed());

/// A string in single quotes, as JavaScript and Python read it: better for JSON, which is full of double ones.
function single(text) {
    const inner = quoted(text).slice(1, -1).replace(/\\(.)|'/g, (found, escaped) => (escaped === '"' ? '"' : (escaped ? found : "\\'")));
    return `'${inner}'`;
}

/// A string of Go in double quotes. Go refuses byte order marks in its source, and those who read it do not see other
/// characters of their kind.
function escaped(text) {
    return quoted(text).replace(/\p{Cf}/gu, (character) => {
        const digits = character.codePointAt(0).toString(16);
        return character.length > 1 ? `\\U${digits.padStart(8, "0")}` : `\\u${digits.padStart(4, "0")}`;
    });
}

/// The tree of a body if it is JSON, and whether the languages' own writers make the same of it: no integer is rounded,
/// no name comes twice, and in JavaScript no `1.0` becomes a `1`.
function read(text) {
    try {
        const tree = parse(text);
        const body = { tree, inPython: true, inJavascript: true };
        walk(tree, (node) => {
            const isSafe = node.kind !== "number" || !Number.isInteger(node.value) || Number.isSafeInteger(node.value);
            const keys = node.members?.map(([key]) => key) ?? [];
            const strings = node.kind === "string" ? [node.value] : keys;
            const isPlain = !strings.some((string) => !string.isWellFormed()) && new Set(keys).size === keys.length;
            if (!isPlain || (node.kind === "number" && !Number.isFinite(node.value))) body.inPython = false;
            const isKept = node.kind !== "number" || !/^-?\d+\.0+$|^-0$/.test(text.slice(node.start, node.end));
            if (!body.inPython || !isSafe || !isKept || keys.includes("__proto__")) body.inJavascript = false;
        });
        return body;
    } catch {
        return undefined;
    }
}

/// The body on one line if it is JSON, else as it is.
const line = ({ text }) => {
    const body = read(text);
    return body ? compact(body.tree, text) : text;
};

function curl({ url, type, text, file, needsToken }) {
    const parts = [`curl ${shell(url)}`];
    if (needsToken) parts.push('-H "Authorization: Bearer $TOKEN"');
    parts.push(`-H ${shell(`Content-Type: ${type}`)}`);
    if (file !== undefined) parts.push(`--data-binary ${shell(`@${file}`)}`);
    else {
        const body = line({ text });
        parts.push(`${body.startsWith("@") ? "--data-raw" : "-d"} ${shell(body)}`);
    }
    return parts.join(" \\\n  ");
}

function python({ url, type, text, file, needsToken }) {
    const headers = [];
    if (needsToken) headers.push('"Authorization": f"Bearer {os.environ[\'TOKEN\']}"');
    const body = file === undefined ? read(text) : undefined;
    const isLiteral = body?.inPython ?? false;
    if (!isLiteral) headers.push(`"Content-Type": ${quoted(type)}`);
    const lines = [...(needsToken ? ["import os", ""] : []), "import requests", ""];
    const words = { true: "True", false: "False", null: "None" };
    const print = (node) => {
        if (node.kind === "word") return words[node.value];
        return node.kind === "string" ? quoted(node.value) : undefined;
    };
    let data = "data=body";
    if (file !== undefined) lines.push(`with open(${quoted(file)}, "rb") as file:`, "    body = file.read()");
    else if (isLiteral) {
        lines.push(`body = ${compact(body.tree, text, print)}`);
        data = "json=body";
    } else lines.push(`body = ${single(line({ text }))}.encode()`);
    lines.push("response = requests.post(", `    ${quoted(url)},`);
    if (headers.length > 0) lines.push(`    headers={${headers.join(", ")}},`);
    lines.push(`    ${data},`, ")", "print(response.json())");
    return lines.join("\n");
}

function javascript({ url, type, text, file, needsToken }) {
    const body = file === undefined ? read(text) : undefined;
    const lines = [];
    let value;
    if (file !== undefined) {
        lines.push('import { readFile } from "node:fs/promises";', "", `const body = await readFile(${quoted(file)});`);
    } else if (body?.inJavascript) {
        const print = (node) => (node.kind === "string" ? quoted(node.value) : undefined);
        lines.push(`const body = ${compact(body.tree, text, print)};`);
        value = "body: JSON.stringify(body)";
    } else lines.push(`const body = ${single(line({ text }))};`);
    lines.push(`const response = await fetch(${quoted(url)}, {`, '  method: "POST",', "  headers: {");
    if (needsToken) lines.push("    Authorization: `Bearer ${process.env.TOKEN}`,");
    lines.push(`    "Content-Type": ${quoted(type)},`, "  },", `  ${value ?? "body"},`, "});");
    // Parsed, lists in lists would be printed as `[Array]`, integers rounded, and NaN refused.
    lines.push("console.log(await response.text());");
    return lines.join("\n");
}

function go({ url, type, text, file, needsToken }) {
    const isFile = file !== undefined;
    const body = isFile ? "" : line({ text });
    // A raw string has everything but its own quote and carriage returns.
    const literal = /[`\r\0]|\p{Cf}/u.test(body) ? escaped(body) : `\`${body}\``;
    const imports = ["fmt", "io", "net/http", ...(isFile || needsToken ? ["os"] : []), ...(isFile ? [] : ["strings"])];
    const stop = ["\tif err != nil {", "\t\tpanic(err)", "\t}"];
    return [
        "package main",
        "",
        "import (",
        ...imports.map((name) => `\t"${name}"`),
        ")",
        "",
        "func main() {",
        ...(isFile ? [`\tbody, err := os.Open(${escaped(file)})`, ...stop] : [`\tbody := strings.NewReader(${literal})`]),
        `\trequest, err := http.NewRequest("POST", ${escaped(url)}, body)`,
        ...stop,
        ...(needsToken ? ['\trequest.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))'] : []),
        `\trequest.Header.Set("Content-Type", ${escaped(type)})`,
        "\tresponse, err := http.DefaultClient.Do(request)",
        ...stop,
        "\tdefer response.Body.Close()",
        "\treply, err := io.ReadAll(response.Body)",
        ...stop,
        "\tfmt.Println(response.Status, string(reply))",
        "}",
        // Where gofmt wants a file to end.
        "",
    ].join("\n");
}
