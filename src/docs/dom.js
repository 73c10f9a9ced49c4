// Elements, made without any text being read as HTML: what models and replies say is only ever text here.

/// An element with attributes, listeners (members such as `onclick`) and children.
export function element(name, attributes = {}, ...children) {
    return fill(document.createElement(name), attributes, children);
}

/// The same of SVG.
export function drawing(name, attributes = {}, ...children) {
    return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(node, attributes, children) {
    for (const [key, value] of Object.entries(attributes)) {
        if (value === undefined || value === null || value === false) continue;
        if (typeof value === "function") node.addEventListener(key.slice(2), value);
        else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return node;
}

let count = 0;

/// An id that no other element has.
export const newId = () => `id-${(count += 1)}`;

/// Tells those who listen to the page.
export function say(text) {
    document.getElementById("says").textContent = text;
}

/// A button that copies what `text` gives.
export function copyButton(label, text) {
    const button = element("button", { type: "button", class: "quiet", "aria-label": label, onclick: copy }, "Copy");
    let timer;
    async function copy() {
        const isCopied = await toClipboard(text());
        button.textContent = isCopied ? "Copied" : "Not copied";
        say(isCopied ? "Copied" : "The browser does not let the page copy");
        clearTimeout(timer);
        timer = setTimeout(() => (button.textContent = "Copy"), 1500);
    }
    return button;
}

/// Browsers give pages the clipboard over HTTPS and on this machine; elsewhere the old way may do.
async function toClipboard(text) {
    try {
        await navigator.clipboard.writeText(text);
        return true;
    } catch {
        const area = element("textarea", { class: "unseen", readonly: true });
        area.value = text;
        const before = document.activeElement;
        document.body.append(area);
        area.select();
        const isCopied = document.execCommand("copy");
        area.remove();
        before?.focus();
        return isCopied;
    }
}

/// A group of choices of which one is on. `choices` are `[value, label]`; tells `choose` the new value.
export function radios(legend, choices, chosen, choose, { isLegendSeen = false } = {}) {
    const name = newId();
    const boxes = choices.map(([value, label]) => {
        const onchange = () => choose(value);
        const box = element("input", { type: "radio", name, value, checked: value === chosen, onchange });
        return element("label", { class: "pill" }, box, element("span", {}, label));
    });
    return element("fieldset", { class: "pills" },
        element("legend", { class: isLegendSeen ? "legend" : "unseen" }, legend), boxes);
}

/// Tabs over one panel. `tabs` are `[key, label]`; `show` fills the panel for a key.
export function tabs(label, tabs, chosen, show) {
    const panel = element("div", { role: "tabpanel", id: newId(), class: "panel", tabindex: "-1" });
    const buttons = tabs.map(([key, text]) => element("button", {
        type: "button", role: "tab", id: newId(), class: "tab", "aria-controls": panel.id, onclick: () => select(key),
    }, text));
    function select(key) {
        const at = tabs.findIndex(([other]) => other === key);
        buttons.forEach((button, index) => {
            button.setAttribute("aria-selected", index === at);
            button.tabIndex = index === at ? 0 : -1;
        });
        panel.setAttribute("aria-labelledby", buttons[at].id);
        show(key, panel);
    }
    function move(event) {
        const at = buttons.indexOf(document.activeElement);
        const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: -1 };
        if (at < 0 || !(event.key in steps)) return;
        event.preventDefault();
        const next = (steps[event.key] + buttons.length) % buttons.length;
        buttons[next].focus();
        select(tabs[next][0]);
    }
    const list = element("div", { role: "tablist", "aria-label": label, class: "tabs", onkeydown: move }, buttons);
    select(chosen);
    return [list, panel];
}

/// A number of bytes for people.
export function bytesText(bytes) {
    if (bytes < 1000) return `${bytes} B`;
    const [value, unit] = bytes < 1e6 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
    return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/// A button that saves what `make` gives, a Blob, as a file.
export function saveButton(label, name, make) {
    return element("button", { type: "button", class: "quiet", onclick: save }, label);
    function save() {
        const href = URL.createObjectURL(make());
        element("a", { href, download: name }).click();
        setTimeout(() => URL.revokeObjectURL(href), 1000);
    }
}
