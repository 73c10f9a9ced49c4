// The part of a form that takes a file: dropped or chosen, for which input, as what, and a preview of a picture as the
// model will see it.

import { bytesText, element, newId, radios } from "./dom.js";
import { base64, draw, inputsForFiles, open, pixelsOf, pixelsText, queryFor, SCALES, sidesFor } from "./picture.js";
import { DEFAULT_SIGNATURE, isFloat, isString } from "./sample.js";

/// The file that was chosen last, with the model and the input that it is for.
let last;

/// The place for a file of a signature's inputs, or undefined if none takes one. `change` is told of every change;
/// `given` is then what goes into a JSON body, and `whole` what is the body itself, if either is wanted.
export function filePlace(model, signature, signatureName, change) {
    const names = inputsForFiles(signature.inputs);
    if (names.length === 0) return undefined;
    const takesPixels = names.some((name) => !isString(signature.inputs[name]));
    // A file that is the body leaves no place for the values of other inputs.
    const isAlone = Object.keys(signature.inputs).length === 1;
    const state = { file: undefined, input: names[0], isWhole: false, scale: "0 to 255", sides: undefined };
    const picker = element("input", { type: "file", id: newId(), class: "unseen", onchange: () => take(picker.files[0]) });
    const takesBytes = names.some((name) => isString(signature.inputs[name]));
    const what = takesBytes ? (takesPixels ? "an image or another file" : "a file") : "an image";
    if (!takesBytes) picker.accept = "image/*";
    const zone = element("div", { class: "drop" }, picker,
        element("label", { for: picker.id }, element("span", { class: "link" }, `Choose ${what}`), ` or drop it here`));
    const details = element("div", { class: "file", hidden: true });
    const says = element("p", { class: "bad-text small", role: "alert" });
    const canvas = element("canvas", { role: "img", "aria-label": "The picture as the model gets it" });
    const view = element("div", { class: "files" }, zone, details, says);

    function over(event) {
        if (!event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        zone.classList.toggle("over", event.type === "dragover");
    }
    /// Lets files be dropped on all of an element.
    function listen(target) {
        target.addEventListener("dragover", over);
        target.addEventListener("dragleave", over);
        target.addEventListener("drop", (event) => {
            over(event);
            if (event.dataTransfer?.files.length > 0) take(event.dataTransfer.files[0]);
        });
    }

    async function take(file) {
        if (!file) return;
        says.textContent = "";
        const opened = await open(file);
        const fits = (name) => isString(signature.inputs[name]) || opened.bitmap;
        const input = [state.input, ...names].find(fits);
        if (!input) {
            says.textContent = `${opened.name} is no picture that this browser knows.`;
            return;
        }
        Object.assign(state, { file: opened, input });
        aim();
    }

    /// What is best for the input that is chosen.
    function aim() {
        const tensor = signature.inputs[state.input];
        const pixels = pixelsOf(tensor);
        state.sides = pixels && sidesFor(pixels, state.file.bitmap);
        state.isWhole = Boolean(isAlone && pixels?.isDecoded && isPicture());
        if (isFloat(tensor)) state.scale = "0 to 1";
        else state.scale = "0 to 255";
        last = { model, input: state.input, isString: isString(tensor), file: state.file };
        show();
    }

    /// Takes the file that another signature of the model was given, if an input of that name takes it in the same way.
    function restore() {
        if (last?.model !== model || !names.includes(last.input)) return;
        if (isString(signature.inputs[last.input]) !== last.isString) return;
        Object.assign(state, { file: last.file, input: last.input });
        aim();
    }

    const isPicture = () => state.file.type.startsWith("image/");

    function show() {
        zone.hidden = state.file !== undefined;
        details.hidden = state.file === undefined;
        if (state.file) details.replaceChildren(...parts());
        change();
    }

    function remove() {
        state.file = undefined;
        last = undefined;
        picker.value = "";
        show();
        picker.focus();
    }

    function parts() {
        const { file, input } = state;
        const tensor = signature.inputs[input];
        const pixels = pixelsOf(tensor);
        const set = (key) => (value) => {
            state[key] = value;
            redraw();
            change();
        };
        const redraw = () => {
            if (!file.bitmap) return;
            draw(canvas, file.bitmap, state.sides ?? sidesFor({ height: -1, width: -1 }, file.bitmap));
            size.textContent = pixels ? `${state.sides.height} × ${state.sides.width}` : "";
        };
        const size = element("span", { class: "soft" });
        redraw();
        const choose = names.length > 1 && element("label", { class: "field" }, "For the input ", element("select", {
            onchange: (event) => {
                state.input = event.target.value;
                aim();
            },
        }, names.filter((name) => isString(signature.inputs[name]) || file.bitmap)
            .map((name) => element("option", { value: name, selected: name === input }, name))));
        const isDecodable = isAlone && (isString(tensor) || (pixels?.isDecoded && isPicture()));
        const ways = isDecodable && radios("Send it as",
            [[false, pixels ? "numbers in JSON" : "base64 in JSON"], [true, "the file itself"]], state.isWhole, set("isWhole"),
            { isLegendSeen: true });
        const scales = pixels && isFloat(tensor) &&
            radios("Pixels from", Object.keys(SCALES).map((key) => [key, key]), state.scale, set("scale"), { isLegendSeen: true });
        const side = (key, label) => element("label", { class: "field" }, `${label} `, element("input", {
            type: "number", min: 1, max: 4096, value: state.sides[key],
            onchange: (event) => {
                state.sides[key] = Math.min(4096, Math.max(1, Math.round(Number(event.target.value)) || 1));
                event.target.value = state.sides[key];
                redraw();
                change();
            },
        }));
        return [
            file.bitmap && element("div", { class: "preview" }, canvas),
            element("div", { class: "file-facts" },
                element("p", {}, element("strong", {}, file.name), ` ${bytesText(file.bytes.length)} `, size, " ",
                    element("button", { type: "button", class: "quiet", onclick: remove }, "Remove")),
                choose, ways, scales,
                pixels && pixels.height < 0 && side("height", "Height"),
                pixels && pixels.width < 0 && side("width", "Width")),
        ].filter(Boolean);
    }

    return {
        view,
        listen,
        restore,
        /// What goes into a JSON body, by the name of the input.
        given() {
            if (!state.file || state.isWhole) return {};
            const { file, input, scale } = state;
            const placeholder = `<${file.name}>`;
            const tensor = signature.inputs[input];
            const pixels = pixelsOf(tensor);
            if (!pixels) {
                const make = () => JSON.stringify(base64(file.bytes));
                return { [input]: { placeholder, value: { b64: placeholder }, rank: 0, make } };
            }
            const make = () => pixelsText(canvas, pixels.channels, tensor, scale);
            return { [input]: { placeholder, value: placeholder, rank: pixels.channels ? 3 : 2, make } };
        },
        /// The file as the body, with the query that says what to do with it.
        whole() {
            if (!state.file || !state.isWhole) return undefined;
            const { file, input, sides, scale } = state;
            const named = signatureName === DEFAULT_SIGNATURE ? undefined : signatureName;
            const tensor = signature.inputs[input];
            const query = queryFor(tensor, named, pixelsOf(tensor), sides, scale);
            return { name: file.name, type: file.type, bytes: file.bytes, query };
        },
    };
}
