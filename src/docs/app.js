// The page as a whole: the models that there are, the one that the address names, and the token when one is asked for.
//
// What is looked at is in the address behind the `#`, so that it can be kept and sent to others, and so that the
// browser's way back works.

import { get, modelOf, token } from "./api.js";
import { element, newId, say } from "./dom.js";
import { modelView } from "./model.js";
import { routesOf, routeView } from "./routes.js";

const main = document.getElementById("main");
const list = document.getElementById("models");
const filter = document.getElementById("filter");
const openForm = document.getElementById("open");

/// With so many models there is a field to find one.
const MANY = 8;

/// What is known: the catalog's models, those that were opened by name, and routes of one's own.
const known = { models: [], opened: [], routes: [], failure: undefined };

/// What the address says. Somebody else may have written it: what would lead to another path of the origin, to which a
/// token is sent as well, is left out.
function place() {
    const words = new URLSearchParams(location.hash.slice(1));
    const word = (key, isGood = () => true) => [words.get(key) ?? undefined].find((text) => text !== undefined && isGood(text));
    const isNumber = (text) => /^\d+$/.test(text);
    const isName = (text) => text !== "." && text !== "..";
    return {
        model: word("model", isName), version: word("version", isNumber), label: word("label", isName),
        signature: word("signature"), route: word("route"),
    };
}

function hashOf(words) {
    const given = Object.entries(words).filter(([, value]) => value !== undefined);
    return `#${new URLSearchParams(given)}`;
}

async function load() {
    list.setAttribute("aria-busy", "true");
    try {
        const catalog = await get("v1/models");
        known.models = catalog.models;
        known.routes = catalog.routes?.length > 0 ? routesOf(await get("openapi.json")) : [];
        known.failure = undefined;
        forgetToken();
    } catch (error) {
        known.failure = error;
        known.models = [];
        if (error.status === 401) askToken();
    }
    list.removeAttribute("aria-busy");
    showList();
}

const all = () => [...known.models, ...known.opened.filter(({ name }) => !known.models.some((model) => model.name === name))];

function showList() {
    const here = place();
    const wanted = filter.value.trim().toLowerCase();
    filter.hidden = all().length < MANY;
    const models = all().filter(({ name }) => name.toLowerCase().includes(wanted));
    const link = (text, words, isHere, ...more) => element("li", {},
        element("a", { href: `docs${hashOf(words)}`, "aria-current": isHere && "page" }, element("span", { class: "name" }, text), more));
    const modelLink = (model) => link(model.name, { model: model.name }, model.name === here.model,
        element("span", { class: "about" },
            element("span", { class: `dot ${model.state === "AVAILABLE" ? "good" : "off"}` }),
            element("span", {}, model.state === "AVAILABLE" ? versionsText(model) : model.state.toLowerCase())));
    const routeLink = ({ path, method }) =>
        link(path, { route: path }, path === here.route, element("span", { class: "about" }, method));
    list.replaceChildren(
        element("ul", { class: "list" }, models.map(modelLink)),
        ...(models.length === 0 && all().length > 0 ? [element("p", { class: "soft small" }, "No name has that in it.")] : []),
        ...(known.routes.length > 0
            ? [element("h2", { class: "list-title" }, "Routes"), element("ul", { class: "list" }, known.routes.map(routeLink))]
            : []));
}

function versionsText({ version, versions }) {
    const [most, left] = [3, versions.length - 3];
    const texts = versions.slice(0, most).map((one) => [one.version, ...(one.labels ?? [])].join(" "));
    return `${texts.join(" · ") || version}${left > 0 ? ` and ${left} more` : ""}`;
}

/// On a phone the list is a row, of which the model that is looked at may be out of sight.
function bringIntoSight() {
    const link = list.querySelector("[aria-current]");
    const row = link?.closest("ul");
    if (row) row.scrollLeft = link.offsetLeft - row.offsetLeft - (row.clientWidth - link.offsetWidth) / 2;
}

/// How often the page has changed: what was asked for before the last time comes too late.
let turns = 0;

/// Shows what the address says.
async function show({ isMoved = false } = {}) {
    const here = place();
    const turn = (turns += 1);
    showList();
    bringIntoSight();
    if (here.route !== undefined) {
        const route = known.routes.find(({ path }) => path === here.route);
        fill(route ? routeView(route, { askToken }) : note("There is no such route."), here.route, isMoved);
        return;
    }
    if (here.model === undefined) {
        const [first] = all();
        if (first) location.replace(hashOf({ model: first.name }));
        else fill(emptyView(), "tfbridge", false);
        return;
    }
    try {
        const model = all().find(({ name }) => name === here.model) ?? (await openModel(here.model));
        if (turn !== turns) return;
        const choice = here.label !== undefined ? { label: here.label } : here.version !== undefined ? { version: here.version } : {};
        fill(modelView(model, {
            choice,
            signatureName: here.signature,
            choose: (next) => (location.hash = hashOf({ model: model.name, ...next, signature: place().signature })),
            remember: (signature) => history.replaceState(null, "", hashOf({ model: model.name, ...choice, signature })),
            askToken,
        }), model.name, isMoved);
    } catch (error) {
        if (turn !== turns) return;
        if (error.status === 401) askToken();
        fill(element("article", { class: "model" }, element("h1", { tabindex: -1 }, here.model),
            element("p", { class: "failure" }, error.message)), here.model, isMoved);
    }
}

async function openModel(name) {
    const model = await modelOf(name);
    known.opened = [...known.opened.filter((other) => other.name !== name), model];
    showList();
    return model;
}

function fill(view, title, isMoved) {
    const isChoosing = document.activeElement?.closest(".versions");
    main.replaceChildren(view);
    if (isChoosing) main.querySelector(".versions input:checked")?.focus();
    document.title = title === "tfbridge" ? title : `${title} – tfbridge`;
    if (!isMoved) return;
    window.scrollTo(0, 0);
    main.querySelector("h1")?.focus({ preventScroll: true });
}

const note = (text) => element("p", { class: "note" }, text);

function emptyView() {
    const { failure } = known;
    if (failure?.status === 401) return element("article", { class: "empty-page" }, element("h1", {}, "A token is needed"),
        element("p", {}, "The bridge lets in those with a token. Enter yours beside this, and the models are shown."));
    if (failure) return element("article", { class: "empty-page" }, element("h1", {}, "The models cannot be listed"),
        element("p", { class: "failure" }, failure.message),
        element("p", {}, "A model can still be opened by its name:"),
        nameForm("The name of a model"));
    return element("article", { class: "empty-page" }, element("h1", {}, "No model is known yet"),
        element("p", {}, "A model server does not list its models. Start the bridge with ",
            element("code", {}, "--model NAME"), ", or open a model by its name:"),
        nameForm("The name of a model"));
}

/// A form that opens the model whose name is written into it.
function nameForm(label) {
    const name = element("input", { "aria-label": label, placeholder: "Name", ...PLAIN, required: true });
    return element("form", { class: "joined", onsubmit: open }, name, element("button", { type: "submit" }, "Open"));
    function open(event) {
        event.preventDefault();
        if (name.value.trim()) location.hash = hashOf({ model: name.value.trim() });
    }
}
const PLAIN = { autocomplete: "off", autocapitalize: "off", spellcheck: "false" };

/// Shows the field for the token.
function askToken() {
    const around = document.getElementById("token-place");
    if (around.firstChild) return;
    const id = newId();
    const field = element("input", { id, type: "password", autocomplete: "off", spellcheck: "false", required: true });
    const isWrong = token.get() !== "";
    around.append(element("form", { class: "token", onsubmit: use },
        element("label", { for: id }, isWrong ? "This token is not known. Another one:" : "A token is needed:"),
        element("div", { class: "joined" }, field, element("button", { type: "submit" }, "Use")),
        element("p", { class: "soft small" }, "It stays in this tab until that is closed.")));
    say("A token is needed");
    if (document.activeElement === document.body) field.focus();
    async function use(event) {
        event.preventDefault();
        token.set(field.value.trim());
        forgetToken();
        known.opened = [];
        await load();
        await show({ isMoved: true });
    }
}

function forgetToken() {
    document.getElementById("token-place").replaceChildren();
}

document.getElementById("refresh").addEventListener("click", async () => {
    known.opened = [];
    await load();
    await show();
    say(known.failure ? known.failure.message : `${known.models.length} models`);
});
filter.addEventListener("input", showList);
openForm.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = new FormData(openForm).get("name").trim();
    if (name) location.hash = hashOf({ model: name });
    openForm.reset();
});
window.addEventListener("hashchange", (event) => {
    const words = (url) => new URLSearchParams(new URL(url).hash.slice(1));
    const [before, after] = [words(event.oldURL), words(event.newURL)];
    const isMoved = before.get("model") !== after.get("model") || before.get("route") !== after.get("route");
    show({ isMoved: isMoved && before.size > 0 });
});

await load();
await show();
