// A form that is filled with a valid sample: it sends the body, shows the reply, and the same request as code.

import { absolute, send, token } from "./api.js";
import { LANGUAGES } from "./code.js";
import { copyButton, element, newId, radios, saveButton, say, tabs } from "./dom.js";
import { filePlace } from "./files.js";
import { compact, find, member, parse, walk } from "./json.js";
import { replyView, spoken } from "./reply.js";
import { formatsOf, sampleBody, verbOf } from "./sample.js";

/// Larger bodies are a file of their own in the code.
const MOST_IN_CODE = 16_000;

/// What somebody has written, by form and format, as long as the page is open.
const drafts = new Map();
/// The language that was looked at last.
let language = "curl";

/// What each format is.
const FORMATS = { instances: "Rows", inputs: "Columns", examples: "Examples" };

/// The form for a signature of a model at a path. `key` tells it apart from others; `askToken` is called when a token is
/// missing. For what has no signature, `example` is the text of the body.
export function tryView({ key, path, model, signature, signatureName, example, askToken }) {
    const formats = signature ? formatsOf(signature) : ["body"];
    const files = signature && verbOf(signature) === "predict" ? filePlace(model, signature, signatureName, fileChanged) : undefined;
    let format = formats[0];
    let placeholders = new Map();
    let sending;

    const ids = { body: newId(), says: newId() };
    const area = element("textarea", {
        id: ids.body, class: "body", spellcheck: "false", autocapitalize: "off", autocomplete: "off", rows: 5,
        "aria-describedby": ids.says, oninput: typed, onkeydown: keyed,
    });
    const says = element("p", { id: ids.says, class: "says small" });
    const editor = element("div", { class: "editor" },
        element("label", { for: ids.body, class: "unseen" }, "The body, in JSON"), area, says);
    const whole = element("p", { class: "note", hidden: true }, "The file itself is the body of the request.");
    const button = element("button", { type: "submit", class: "primary" }, "Send");
    const reply = element("div", { class: "reply-place" },
        element("p", { class: "soft empty" }, "Send the request, and the answer is shown here."));
    let redrawCode = () => {};
    let written = "";

    const choice = element("div", { class: "format-choice" },
        formats.length > 1 && radios("The format of the body", formats.map((name) => [name, FORMATS[name]]), format, (name) => {
            format = name;
            refill();
        }),
        element("button", { type: "button", class: "quiet", onclick: reset }, "Reset"));
    const form = element("form", { class: "card request", "aria-label": "Request", onsubmit: submit },
        element("div", { class: "block-head" },
            element("h3", {}, "Request"),
            choice),
        editor, whole, files?.view,
        formats[0] === "examples" && element("p", { class: "soft small" },
            "The names of the features are the model’s own: x stands for one."),
        element("div", { class: "actions" }, button, element("span", { class: "soft small keys" }, "Ctrl + Enter")));
    files?.listen(form);
    refill();
    files?.restore();

    const [list, panel] = tabs("Language", Object.keys(LANGUAGES).map((name) => [name, name]), language, (name, panel) => {
        language = name;
        redrawCode = () => panel.replaceChildren(...codeView());
        redrawCode();
    });
    const code = element("section", { class: "card code", "aria-label": "As code" },
        element("div", { class: "block-head" }, element("h3", {}, "As code"), list,
            copyButton("Copy the code", () => written)), panel);
    return element("div", { class: "try" }, form,
        element("section", { class: "card answer", "aria-label": "Reply" }, element("h3", {}, "Reply"), reply),
        code);

    function draftKey() {
        return `${key}/${format}`;
    }

    /// The sample, or what was written before, if no file takes part.
    function refill() {
        const given = files?.given() ?? {};
        const sample = signature ? sampleBody(signature, signatureName, format, given) : { text: example, placeholders: new Map() };
        placeholders = sample.placeholders;
        area.value = (Object.keys(given).length === 0 && drafts.get(draftKey())) || sample.text;
        check();
        redrawCode();
    }

    function reset() {
        drafts.delete(draftKey());
        refill();
    }

    function fileChanged() {
        const isWhole = Boolean(files?.whole());
        editor.hidden = isWhole;
        choice.hidden = isWhole;
        whole.hidden = !isWhole;
        refill();
    }

    function typed() {
        drafts.set(draftKey(), area.value);
        check();
        redrawCode();
    }

    function keyed(event) {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            form.requestSubmit();
        }
    }

    /// Says whether the body is JSON, and what is wrong with it if not.
    function check() {
        const text = area.value;
        area.rows = Math.min(22, Math.max(5, text.split("\n").length + 1));
        try {
            const tree = parse(text);
            const rows = (member(tree, "instances") ?? member(tree, "examples"))?.items?.length;
            area.removeAttribute("aria-invalid");
            const count = rows === undefined ? "" : ` of ${rows} ${rows === 1 ? "row" : "rows"}`;
            const used = usedPlaceholders(tree);
            says.className = "says small";
            says.textContent = `Valid JSON${count}.`;
            if (used.length > 0) says.append(" ", element("code", {}, used.join(" ")), " is filled in when it is sent.");
        } catch (error) {
            const before = text.slice(0, error.at ?? 0).split("\n");
            area.setAttribute("aria-invalid", "true");
            says.className = "says small bad-text";
            says.textContent = `Line ${before.length}, column ${before.at(-1).length + 1}: ${error.message}.`;
        }
    }

    function usedPlaceholders(tree) {
        const used = new Set();
        if (placeholders.size > 0) walk(tree, ({ kind, value }) => kind === "string" && placeholders.has(value) && used.add(value));
        return [...used];
    }

    /// The body with what its placeholders stand for.
    function bodyText() {
        const text = area.value;
        if (placeholders.size === 0) return text;
        try {
            const made = new Map();
            const fill = (key) => made.get(key) ?? made.set(key, placeholders.get(key)()).get(key);
            return compact(parse(text), text, ({ kind, value }) =>
                kind === "string" && placeholders.has(value) ? fill(value) : undefined);
        } catch {
            return text;
        }
    }

    async function submit(event) {
        event.preventDefault();
        if (sending) {
            sending.abort();
            return;
        }
        sending = new AbortController();
        button.textContent = "Cancel";
        reply.setAttribute("aria-busy", "true");
        say("Sending");
        const file = files?.whole();
        try {
            const answer = await send(path + (file?.query ?? ""), {
                method: "POST",
                headers: { "Content-Type": file?.type ?? "application/json", ...(file ? { Accept: "application/json" } : {}) },
                body: file?.bytes ?? bodyText(),
                signal: sending.signal,
            });
            const columns = Math.max(32, Math.floor(reply.clientWidth / 8) - 4);
            reply.replaceChildren(replyView(answer, { columns, locate: file ? undefined : locate }));
            say(spoken(answer));
            if (answer.status === 401) askToken();
        } catch (error) {
            const message = error.name === "AbortError" ? "Cancelled." : error.message;
            reply.replaceChildren(element("p", { class: "failure" }, message));
            say(message);
        } finally {
            sending = undefined;
            button.textContent = "Send";
            reply.removeAttribute("aria-busy");
        }
    }

    /// What shows a place of the body that a message names, if it can be found.
    function locate(place) {
        const text = area.value;
        const offset = /at offset: (\d+)/.exec(place)?.[1];
        let start, end;
        if (offset !== undefined) {
            start = new TextDecoder().decode(new TextEncoder().encode(text).slice(0, Number(offset))).length;
            end = start + 1;
        } else {
            try {
                ({ start, end } = find(parse(text), place));
            } catch {
                return undefined;
            }
        }
        return () => {
            area.focus();
            area.setSelectionRange(start, end);
            const line = text.slice(0, start).split("\n").length;
            area.scrollTop = (line - 4) * parseFloat(getComputedStyle(area).lineHeight);
        };
    }

    function codeView() {
        const file = files?.whole();
        const needsToken = token.get() !== "";
        let request = { url: absolute(path), type: "application/json", text: area.value, needsToken };
        let save;
        if (file) {
            request = { ...request, url: request.url + file.query, type: file.type, text: undefined, file: file.name };
            save = element("p", { class: "soft small" }, "It reads ", element("code", {}, file.name), " from the directory it runs in.");
        } else if (area.value.length > MOST_IN_CODE || isFilledIn()) {
            request = { ...request, text: undefined, file: "body.json" };
            save = element("p", { class: "soft small" },
                "It reads the body from ", element("code", {}, "body.json"), " in the directory it runs in: ",
                saveButton("save that file", "body.json", () => new Blob([bodyText()], { type: "application/json" })), ".");
        }
        const text = LANGUAGES[language](request);
        written = text;
        return [
            save,
            needsToken && element("p", { class: "soft small" }, "It takes the token from the variable ", element("code", {}, "TOKEN"), "."),
            element("pre", { class: "listing", tabindex: 0, role: "region", "aria-label": `The request as ${language}` },
                element("code", {}, text)),
        ].filter(Boolean);
    }

    function isFilledIn() {
        try {
            return placeholders.size > 0 && usedPlaceholders(parse(area.value)).length > 0;
        } catch {
            return false;
        }
    }
}
