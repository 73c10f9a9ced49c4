// A model: its versions with states and labels, of which one is chosen, and its signatures with what goes in and out.

import { absolute, modelPath, signaturesOf } from "./api.js";
import { copyButton, element, newId, tabs } from "./dom.js";
import { DEFAULT_SIGNATURE, dtypeName, shapeText, verbOf } from "./sample.js";
import { tryView } from "./try.js";

/// The state of a version, in its colour and its own word.
export function stateBadge(state) {
    const tone = { AVAILABLE: "good", LOADING: "wait", START: "wait", UNLOADING: "wait" }[state] ?? "off";
    return element("span", { class: `badge ${tone}` }, state);
}

/// A model and all that can be done with it. `choice` is a version, a label, or neither; `choose` is told of another
/// choice, and `remember` of the signature that is looked at.
export function modelView(model, { choice, signatureName, choose, remember, askToken }) {
    const place = element("div", {});
    const view = element("article", { class: "model" },
        element("div", { class: "title" },
            element("h1", { tabindex: -1 }, model.name),
            stateBadge(model.state)),
        model.error && element("p", { class: "failure" }, model.error),
        model.versions.length > 0 && versionsTable(model, choice, choose),
        place);
    showSignatures();
    return view;

    async function showSignatures() {
        try {
            const isShown = choice.label === undefined && (choice.version === undefined || choice.version === model.version);
            const labelled = model.versions.find(({ labels }) => labels?.includes(choice.label));
            const isKnown = isShown || (labelled !== undefined && labelled.version === model.version);
            const signatures = isKnown ? model.signatures : await signaturesOf(model.name, choice);
            if (signatures) place.replaceChildren(...signaturesView(model, signatures));
            else if (!model.error) place.replaceChildren(element("p", { class: "note" }, "Its signatures are not known."));
        } catch (error) {
            place.replaceChildren(element("p", { class: "failure" }, error.message));
            if (error.status === 401) askToken();
        }
    }

    function signaturesView({ name }, signatures) {
        const names = Object.keys(signatures);
        if (names.length === 0) return [element("p", { class: "note" }, "This version has no signatures.")];
        names.sort((one, other) => (other === DEFAULT_SIGNATURE) - (one === DEFAULT_SIGNATURE) || (one < other ? -1 : 1));
        const chosen = names.includes(signatureName) ? signatureName : names[0];
        const show = (key, panel) => {
            if (key !== signatureName) remember(key);
            signatureName = key;
            panel.replaceChildren(...signatureView(name, key, signatures[key]));
        };
        const heading = element("h2", {}, names.length === 1 ? "Signature" : "Signatures",
            names.length > 1 && element("span", { class: "soft" }, ` ${names.length}`));
        return [heading, ...tabs("Signatures", names.map((key) => [key, key]), chosen, show)];
    }

    function signatureView(name, key, signature) {
        const path = modelPath(name, choice, `:${verbOf(signature)}`);
        return [
            element("div", { class: "address" },
                element("span", { class: "method" }, "POST"),
                element("code", {}, new URL(absolute(path)).pathname),
                copyButton("Copy the address", () => absolute(path))),
            element("div", { class: "pair" },
                tensorsTable("Inputs", signature.inputs),
                tensorsTable("Outputs", signature.outputs)),
            tryView({ key: `${name}/${key}`, path, model: name, signature, signatureName: key, askToken }),
        ];
    }
}

function versionsTable(model, choice, choose) {
    const group = newId();
    const pill = (text, isChosen, next, label = text) => element("label", { class: "pill" },
        element("input", { type: "radio", name: group, checked: isChosen, onchange: () => choose(next), "aria-label": label }),
        element("span", {}, text));
    const row = ({ version, state, labels = [] }) => element("tr", {},
        element("td", {}, pill(version, choice.version === version, { version }, `Version ${version}`)),
        element("td", {}, stateBadge(state)),
        element("td", {}, element("div", { class: "pills" },
            version === model.version &&
                pill("latest", choice.version === undefined && choice.label === undefined, {}, "The latest version"),
            labels.map((label) => pill(label, choice.label === label, { label }, `The label ${label}`)))));
    return element("section", { class: "versions" },
        element("table", {},
            element("caption", { class: "unseen" }, "Versions: choose one, or a label"),
            element("thead", {}, element("tr", {},
                ["Version", "State", "Labels"].map((text) => element("th", { scope: "col" }, text)))),
            element("tbody", {}, model.versions.map(row))));
}

function tensorsTable(title, tensors) {
    const names = Object.keys(tensors).sort();
    const row = (name) => element("tr", {},
        element("th", { scope: "row" }, element("code", {}, name)),
        element("td", {}, element("span", { class: "dtype" }, dtypeName(tensors[name].dtype))),
        element("td", {}, element("span", { class: "shape" }, shapeText(tensors[name].shape))));
    return element("section", { class: "card tensors" },
        element("table", {},
            element("caption", {}, title),
            element("thead", {}, element("tr", {},
                ["Name", "Type", "Shape"].map((text) => element("th", { scope: "col" }, text)))),
            element("tbody", {}, names.map(row))));
}
