// Pictures of numbers: scores as bars, many numbers as a line, a grid of them as an image. They are a help beside the
// JSON, which has it all.

import { drawing, element } from "./dom.js";

/// How many of the best scores are shown.
const BEST = 10;

/// A number in as few digits as tell it apart.
export function numberText(value) {
    if (typeof value !== "number") return `${value}`;
    if (Number.isInteger(value) || !Number.isFinite(value)) return `${value}`;
    return Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4 ? value.toExponential(3) : `${Number(value.toPrecision(5))}`;
}

/// The largest scores as bars from zero, those below it to the left, with their places, and labels where there are any.
/// Where none is above zero, such as of logarithms, they are bars from the lowest one, so that the best is the longest.
export function bars(scores, labels) {
    const order = scores.map((score, index) => [score, index])
        .filter(([score]) => Number.isFinite(score))
        .sort(([one, at], [other, place]) => other - one || at - place)
        .slice(0, BEST);
    const shown = order.map(([score]) => score);
    const [low, high] = [Math.min(...shown, 0), Math.max(...shown, 0)];
    const base = low < 0 && high === 0 ? low : 0;
    const percent = (length) => `${100 * (length / (high - low || 1))}%`;
    const row = ([score, index], rank) => {
        const bar = element("span", { class: score < base ? "bar-fill below" : "bar-fill" });
        bar.style.setProperty("--from", percent(Math.min(score, base) - low));
        bar.style.setProperty("--share", percent(Math.abs(score - base)));
        const label = labels?.[index];
        return element("tr", { class: rank === 0 ? "best" : undefined },
            element("th", { scope: "row" }, label === undefined || label === "" ? `${index}` : `${label}`),
            element("td", { class: "bar" }, bar),
            element("td", { class: "number" }, numberText(score)));
    };
    const rest = scores.length - order.length;
    const table = element("table", { class: low < 0 ? "bars around-zero" : "bars" },
        element("caption", { class: "unseen" }, "The largest scores"),
        element("thead", { class: "unseen" }, element("tr", {},
            element("th", { scope: "col" }, labels ? "Label" : "Index"),
            element("td", {}),
            element("th", { scope: "col" }, "Score"))),
        element("tbody", {}, order.map(row)));
    table.style.setProperty("--zero", percent(-low));
    return element("div", {}, table,
        base < 0 && element("p", { class: "soft small" }, `The bars begin at ${numberText(base)}, and zero is at their right`),
        rest > 0 && element("p", { class: "soft small" }, `${rest} smaller ${rest === 1 ? "one" : "ones"} not shown`));
}

/// Numbers in their order as a line.
export function plot(values) {
    const [width, height, pad] = [640, 160, 6];
    const finite = values.filter(Number.isFinite);
    const low = finite.reduce((one, other) => Math.min(one, other), Infinity);
    const high = finite.reduce((one, other) => Math.max(one, other), -Infinity);
    const x = (at) => ((at * width) / Math.max(values.length - 1, 1)).toFixed(1);
    const share = (value) => (high === low ? 0.5 : (high - value) / (high - low));
    const y = (value) => (pad + share(value) * (height - 2 * pad)).toFixed(1);
    // Of more values than there are dots, the extremes of each dot.
    const step = Math.max(1, Math.floor(values.length / width));
    const points = [];
    for (let at = 0; at < values.length; at += step) {
        const part = values.slice(at, at + step).filter(Number.isFinite);
        if (part.length === 0) continue;
        points.push(`${x(at)},${y(Math.min(...part))}`);
        if (part.length > 1) points.push(`${x(at)},${y(Math.max(...part))}`);
    }
    const text = `${values.length} numbers from ${numberText(low)} to ${numberText(high)}`;
    const zero = low < 0 && high > 0 && drawing("line", { class: "zero", x1: 0, x2: width, y1: y(0), y2: y(0) });
    return element("figure", { class: "plot" },
        drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": text, preserveAspectRatio: "none" },
            zero, drawing("polyline", { points: points.join(" "), "vector-effect": "non-scaling-stroke" })),
        element("figcaption", { class: "soft small" }, text));
}

/// A grid of numbers, or of one, three or four channels of them, as an image. Its range is that of the numbers; a fourth
/// channel says how opaque it is where the numbers are those of a picture.
export function image(grid) {
    const [height, width] = [grid.length, grid[0].length];
    const channels = Array.isArray(grid[0][0]) ? grid[0][0].length : 0;
    const numbers = grid.flat(channels ? 2 : 1);
    const low = numbers.reduce((one, other) => (other < one ? other : one), Infinity);
    const high = numbers.reduce((one, other) => (other > one ? other : one), -Infinity);
    const usual = low >= 0 && high <= 255 ? [0, high <= 1 ? 1 : 255] : undefined;
    const [from, to] = usual ?? [low, high];
    const canvas = element("canvas", { width, height, class: "pixels", role: "img" });
    sized(canvas, width, height);
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(width, height);
    const each = channels || 1;
    for (let at = 0; at < width * height; at += 1) {
        const byte = (channel) => (255 * (numbers[at * each + channel] - from)) / (to - from || 1);
        for (let channel = 0; channel < 3; channel += 1) pixels.data[at * 4 + channel] = byte(each >= 3 ? channel : 0);
        pixels.data[at * 4 + 3] = each === 4 && usual ? byte(3) : 255;
    }
    context.putImageData(pixels, 0, 0);
    const size = `${height} × ${width}${channels ? ` × ${channels}` : ""}`;
    const text = `${size}, from ${numberText(low)} to ${numberText(high)}`;
    canvas.setAttribute("aria-label", `A picture of ${text}`);
    return element("figure", { class: "picture" }, canvas, element("figcaption", { class: "soft small" }, text));
}

/// Tells the sheet how wide a picture is for its height, so that a tall one is not drawn larger than the page.
const sized = (view, width, height) => view.style.setProperty("--ratio", width / height);

/// A PNG or JPEG in base64 as an image, or undefined for what does not begin like one.
export function encoded(text) {
    const begin = typeof text === "string" && /^(iVBORw0KGgo|\/9j\/)/.exec(text)?.[0];
    if (!begin) return undefined;
    const caption = element("figcaption", { class: "soft small" });
    const onload = () => {
        sized(view, view.naturalWidth, view.naturalHeight);
        caption.textContent = `${view.naturalHeight} × ${view.naturalWidth}`;
    };
    const onerror = () => caption.parentNode.replaceChildren("It begins like a picture, but cannot be shown as one.");
    const src = `data:image/${begin === "/9j/" ? "jpeg" : "png"};base64,${text}`;
    const view = element("img", { class: "pixels", alt: "The picture of the reply", src, onload, onerror });
    return element("figure", { class: "picture" }, view, caption);
}
