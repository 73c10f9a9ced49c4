// Routes of one's own, as the description of the API has them: a path that stands for a model and a signature.

import { absolute } from "./api.js";
import { copyButton, element } from "./dom.js";
import { stringify } from "./json.js";
import { tryView } from "./try.js";

/// The routes in an OpenAPI document.
export function routesOf(document) {
    return Object.entries(document.paths ?? {}).flatMap(([path, item]) => {
        const operation = item.post;
        const target = item["x-tfbridge-route"];
        if (!operation || !target) return [];
        const example = operation.requestBody?.content?.["application/json"]?.example ?? {};
        return [{ path, method: "POST", target, example, summary: operation.summary }];
    });
}

/// A route and a form to try it.
export function routeView({ path, target, example, summary }, { askToken }) {
    const version = target.label !== undefined ? `, label ${target.label}`
        : target.version !== undefined ? `, version ${target.version}` : "";
    const signature = target.signature_name ? `, signature ${target.signature_name}` : "";
    return element("article", { class: "model" },
        element("div", { class: "title" }, element("h1", { tabindex: -1 }, path)),
        summary && element("p", {}, summary),
        element("p", { class: "soft" }, "This stands for the model ",
            element("a", { href: `docs#${new URLSearchParams({ model: target.model })}` }, target.model), `${version}${signature}.`),
        element("div", { class: "address" },
            element("span", { class: "method" }, "POST"),
            element("code", {}, new URL(absolute(path)).pathname),
            copyButton("Copy the address", () => absolute(path))),
        tryView({ key: `route ${path}`, path, example: stringify(example), askToken }));
}
