// What people can do on the page at /docs, check by check, in a real browser: with the mouse, with the keyboard alone,
// on a phone, and in the dark. The code that the page offers is run, and must answer as the page did. Screenshots are
// left beside the driver. Prints a line for each check; one that fails fails the run.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { directory as made, startBridge, startBrowser, stopBridges, tfbridgeSays } from "./harness.mjs";
import { catalog, openapi, painted, png, scores, turnedJpeg, turnedPng } from "./scenes.mjs";

/// The whole run.
const MAX_SECONDS = 240;
setTimeout(() => {
    console.log(`FAIL the checks took more than ${MAX_SECONDS} s`);
    process.exit(1);
}, MAX_SECONDS * 1000).unref();

const [driver, only = ""] = process.argv.slice(4);
const directory = resolve(made);
const axe = readFileSync(createRequire(resolve(driver, "package.json")).resolve("axe-core/axe.min.js"), "utf8");

// Prints the token, an empty line and the token's entry.
const [token, , ...entry] = tfbridgeSays("token", "--name", "page").split("\n");
const tokens = join(directory, "tokens.toml");
writeFileSync(tokens, entry.join("\n"));
const [open, off, guarded] = await Promise.all([
    startBridge(), startBridge("--docs=false"), startBridge("--auth-file", tokens),
]);
const browser = await startBrowser("");
let failures = 0;

const DESKTOP = { viewport: { width: 1366, height: 900 }, colorScheme: "light" };
const DARK = { ...DESKTOP, colorScheme: "dark" };
const PHONE = { viewport: { width: 360, height: 740 }, colorScheme: "light" };

/// The page as somebody sees it who opens it. What goes wrong or leads elsewhere is written down.
async function openPage(address, hash = "", look = DESKTOP, prepare = () => {}) {
    const context = await browser.newContext({ ...look, reducedMotion: "reduce" });
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: `http://${address}` });
    context.setDefaultTimeout(8000);
    const page = await context.newPage();
    page.faults = [];
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && page.faults.push(message.text()));
    page.on("pageerror", (error) => page.faults.push(`${error}`));
    page.on("request", (request) => {
        const url = new URL(request.url());
        if (["http:", "https:"].includes(url.protocol) && url.host !== address) page.faults.push(request.url());
    });
    await prepare(page);
    await page.goto(`http://${address}/docs${hash}`);
    await page.locator("main h1").waitFor();
    return page;
}

async function check(name, verify) {
    // The last argument may be a part of the names of the checks to run.
    if (!name.includes(only)) return;
    try {
        await verify();
        console.log(`ok   ${name}`);
    } catch (error) {
        failures += 1;
        console.log(`FAIL ${name}\n${error.stack}`);
    }
    await Promise.all(browser.contexts().map((context) => context.close()));
}

/// Nothing was said on the console, and nothing asked of anybody else.
const isClean = (page) => assert.deepEqual(page.faults, []);

/// Sends the request, and gives the JSON of the reply once it is there.
async function send(page, status = 200) {
    await page.getByRole("button", { name: "Send" }).click();
    return replyOf(page, status);
}

async function replyOf(page, status = 200) {
    // The reply before this one stays until there is another.
    await page.locator(`.reply-place:not([aria-busy]) .status:has-text("${status}")`).waitFor();
    return JSON.parse(await page.locator(".reply .json").innerText());
}

async function copied(page, language) {
    await page.getByRole("tab", { name: language, exact: true }).click();
    await page.getByRole("button", { name: "Copy the code" }).click();
    return page.evaluate(() => navigator.clipboard.readText());
}

/// What a program prints that is run with this text as its argument or its file.
function printed(program, words, environment = {}) {
    const options = { encoding: "utf8", timeout: 20_000, cwd: directory, env: { ...process.env, ...environment } };
    const { status, stdout, stderr } = spawnSync(program, words, options);
    assert.equal(status, 0, stderr);
    return stdout;
}

/// Runs what the page offers in every language that this machine has.
async function runAll(page, reply, environment = {}) {
    const curl = await copied(page, "curl");
    assert.deepEqual(JSON.parse(printed("sh", ["-c", `${curl} --silent --show-error`], environment)), reply, curl);
    const javascript = join(directory, "copied.mjs");
    writeFileSync(javascript, await copied(page, "JavaScript"));
    assert.deepEqual(JSON.parse(printed("node", [javascript], environment)), reply);
    if (spawnSync("python3", ["-c", "import requests"]).status === 0) {
        const python = await copied(page, "Python");
        const program = `${python}\nimport json\nprint(json.dumps(response.json()))`;
        assert.deepEqual(JSON.parse(printed("python3", ["-c", program], environment).trim().split("\n").at(-1)), reply, python);
    }
    const go = await copied(page, "Go");
    assert.match(go, /^package main\n/);
    if (spawnSync("gofmt", ["-h"]).error === undefined) {
        writeFileSync(join(directory, "copied.go"), go);
        assert.equal(printed("gofmt", ["-l", "copied.go"]), "", go);
    }
}

/// Whether a box lies in another one.
function isWithin(inner, outer) {
    const [right, bottom] = [inner.x + inner.width, inner.y + inner.height];
    return inner.x >= outer.x && inner.y >= outer.y && right <= outer.x + outer.width && bottom <= outer.y + outer.height;
}

/// Serious faults for those who hear the page, or see little of it.
async function isAccessible(page) {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    }));
    const found = violations.filter(({ impact }) => ["serious", "critical", "moderate"].includes(impact));
    const told = found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")}`);
    assert.deepEqual(told, []);
}

const screenshot = (page, name) => page.screenshot({ path: join(driver, `${name}.png`), fullPage: true });

const isScoring = (url) => url.pathname.endsWith("/resnet:predict");

/// A catalog of models that the demo does not have, with answers of their own.
async function scene(page) {
    const json = (value) => (route) => route.fulfill({ json: value });
    await page.route("**/v1/models", json(catalog));
    await page.route("**/openapi.json", json(openapi));
    await page.route(isScoring, json(scores));
    await page.route((url) => url.pathname.endsWith("/paint:predict"), json(painted));
    await page.route("**/predict-digit", json({ digit: 7 }));
}

await check("the page says nothing on the console and asks nobody else", async () => {
    const page = await openPage(open);
    await page.getByRole("link", { name: /^half_plus_three/ }).waitFor();
    assert.equal(await page.locator("nav li").count(), 4);
    await page.goto(`http://${open}/docs/`);
    assert.equal(page.url().split("#")[0], `http://${open}/docs`);
    await page.locator("main h1").waitFor();
    isClean(page);
});
await check("a prediction by clicking alone, of each version and label", async () => {
    const page = await openPage(open);
    await page.getByRole("link", { name: /^half_plus_two/ }).click();
    assert.deepEqual(await send(page), { predictions: [[2.25]] });
    assert.equal(await page.locator(".single").innerText(), "2.25");
    for (const [name, address, version] of [
        ["The label stable", "/labels/stable", "123"], ["Version 124", "/versions/124", "124"], ["Version 123", "/versions/123", "123"],
    ]) {
        await page.getByRole("radio", { name }).check();
        await page.locator(`.address:has-text("half_plus_two${address}:predict")`).waitFor();
        assert.deepEqual(await send(page), { predictions: [[2.25]] });
        assert.equal(await page.locator(".fact:has-text('version') dd").innerText(), version);
    }
    await page.goBack();
    await page.locator('.address:has-text("/versions/124:predict")').waitFor();
    isClean(page);
});
await check("every sample of every signature is answered", async () => {
    const page = await openPage(open);
    const answers = await page.evaluate(async () => {
        const { formatsOf, sampleBody, verbOf } = await import("/docs/sample.js");
        const { modelPath } = await import("/docs/api.js");
        const { models } = await (await fetch("v1/models")).json();
        const all = models.flatMap(({ name, signatures }) => Object.entries(signatures).flatMap(([key, signature]) =>
            formatsOf(signature).map((format) => ({ name, key, signature, format }))));
        return Promise.all(all.map(async ({ name, key, signature, format }) => {
            const { text: body } = sampleBody(signature, key, format);
            const answer = await fetch(modelPath(name, {}, `:${verbOf(signature)}`), { method: "POST", body });
            return `${name} ${body} ${answer.status} ${await answer.text()}`;
        }));
    });
    assert.ok(answers.length > 40, `${answers.length}`);
    // The original refuses two signatures whatever comes: they parse no examples.
    assert.deepEqual(answers.filter((answer) => !/ 200 |x2_to_y3/.test(answer)), []);
});
await check("a picture that is dropped comes back as it was", async () => {
    const picture = png(6, 5, (x, y) => [x * 40, y * 50, 200]);
    const page = await openPage(open, "#model=echo&signature=uint8");
    const transfer = await page.evaluateHandle((bytes) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "colours.png", { type: "image/png" }));
        return transfer;
    }, [...picture]);
    await page.locator("form.request").dispatchEvent("drop", { dataTransfer: transfer });
    await page.locator(".preview canvas").waitFor();
    const { predictions } = await send(page);
    const rows = Array.from({ length: 5 }, (_, y) => Array.from({ length: 6 }, (_, x) => [x * 40, y * 50, 200]));
    assert.deepEqual(predictions, [rows]);
    const pixel = await page.locator("canvas.pixels").evaluate((canvas) => [...canvas.getContext("2d").getImageData(3, 2, 1, 1).data]);
    assert.deepEqual(pixel, [120, 100, 200, 255]);
    await screenshot(page, "picture");
    isClean(page);
});
await check("a photo that a camera has turned goes to the model as the bridge reads it", async () => {
    const page = await openPage(open, "#model=paint", DESKTOP, scene);
    // Red on the left and blue on the right.
    const plain = png(320, 240, (x) => (x < 160 ? [255, 0, 0] : [0, 0, 255]));
    const jpeg = await page.evaluate(async (bytes) => {
        const bitmap = await createImageBitmap(new Blob([new Uint8Array(bytes)]));
        const canvas = new OffscreenCanvas(320, 240);
        canvas.getContext("2d").drawImage(bitmap, 0, 0);
        const blob = await canvas.convertToBlob({ type: "image/jpeg" });
        return [...new Uint8Array(await blob.arrayBuffer())];
    }, [...plain]);
    for (const [mimeType, buffer] of [["image/jpeg", turnedJpeg(Buffer.from(jpeg))], ["image/png", turnedPng(plain)]]) {
        await page.locator("input[type=file]").setInputFiles({ name: mimeType.replace("/", "."), mimeType, buffer });
        await page.locator(".file-facts:has-text('168 × 224')").waitFor();
        const corner = await page.locator(".preview canvas").evaluate((canvas) =>
            [...canvas.getContext("2d").getImageData(0, 167, 1, 1).data]);
        assert.ok(corner[0] > 240 && corner[2] < 15, `${corner}`);
        const sent = page.waitForRequest((request) => request.method() === "POST");
        await page.getByRole("button", { name: "Send" }).click();
        assert.equal(new URL((await sent).url()).search, "?resize=168x224");
        assert.deepEqual((await sent).postDataBuffer(), buffer);
        const address = `http://${open}/v1/models/echo:predict?signature_name=uint8`;
        const answer = await fetch(address, { method: "POST", headers: { "Content-Type": mimeType }, body: buffer });
        const [rows] = (await answer.json()).predictions;
        assert.deepEqual([rows.length, rows[0].length, rows[239][0][0] > 240], [240, 320, true]);
        await page.getByRole("button", { name: "Remove" }).click();
    }
    isClean(page);
});
await check("a tall picture is seen whole, and is not the body where there are other inputs", async () => {
    const page = await openPage(open, "#model=paint&signature=guided", DESKTOP, scene);
    const picture = { name: "tall.png", mimeType: "image/png", buffer: png(20, 90, (x, y) => [x * 12, y * 2, 90]) };
    await page.locator("input[type=file]").setInputFiles(picture);
    const inner = await page.locator(".preview canvas").boundingBox();
    const outer = await page.locator(".preview").boundingBox();
    assert.ok(isWithin(inner, outer), `${JSON.stringify(inner)} of ${JSON.stringify(outer)}`);
    const itself = page.getByRole("radio", { name: "the file itself" });
    assert.equal(await itself.count(), 0);
    const sent = page.waitForRequest((request) => request.method() === "POST");
    await page.getByRole("button", { name: "Send" }).click();
    assert.deepEqual(Object.keys((await sent).postDataJSON().instances[0]), ["image", "strength"]);
    await page.goto(`http://${open}/docs#model=echo&signature=mixed`);
    await page.locator(".address:has-text('echo')").waitFor();
    await page.locator("input[type=file]").setInputFiles(picture);
    await page.locator(".preview canvas").waitFor();
    await page.getByLabel("For the input").selectOption("s");
    assert.equal(await itself.count(), 0);
    isClean(page);
});
await check("scores below zero, pictures as bytes, with alpha and tall ones", async () => {
    const page = await openPage(open, "#model=paint", DESKTOP, scene);
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator(".output").first().waitFor();
    const output = (name) => page.locator(`.output:has(.output-name:text-is("${name}"))`);
    const fills = (name) => output(name).locator(".bar-fill").evaluateAll((all) => all.map((bar) => {
        const { left, right } = bar.getBoundingClientRect();
        return { left: Math.round(left), right: Math.round(right) };
    }));
    // The bars are on both sides of one line.
    const [two, one, none, minus] = await fills("logits");
    assert.deepEqual([two.left, one.left, minus.right], [none.left, none.left, none.left]);
    assert.ok(two.right > one.right && minus.left < none.left);
    // Where nothing is above zero the best is the longest, and what they begin at is told.
    const below = await fills("logs");
    assert.deepEqual(new Set(below.map(({ left }) => left)).size, 1);
    assert.ok(below[0].right > below[1].right && below[1].right > below[2].right);
    await output("logs").locator(`p:has-text("The bars begin at ${Math.min(...painted.predictions[0].logs)},")`).waitFor();
    assert.equal(await output("logits").locator('p:has-text("The bars begin at")').count(), 0);
    const tall = await output("tall").locator(".pixels").boundingBox();
    assert.ok(tall.height < 450 && tall.width > 10, JSON.stringify(tall));
    const alpha = await output("mask").locator("canvas").evaluate((canvas) => [...canvas.getContext("2d").getImageData(1, 0, 1, 1).data]);
    assert.deepEqual(alpha, [0, 255, 0, 51]);
    await output("photo").locator("figcaption:has-text('30 × 40')").waitFor();
    await output("broken").locator("figure:has-text('cannot be shown')").waitFor();
    await isAccessible(page);
    await screenshot(page, "outputs");
    isClean(page);
});
await check("a file for an input of bytes, in JSON and as the body", async () => {
    const picture = png(2, 2, () => [1, 2, 3]);
    writeFileSync(join(directory, "it's\ufeff.png"), picture);
    const page = await openPage(open, "#model=echo&signature=bytes");
    await page.locator("input[type=file]").setInputFiles(join(directory, "it's\ufeff.png"));
    const expected = { predictions: [{ b64: picture.toString("base64") }] };
    assert.deepEqual(await send(page), expected);
    await page.locator("figcaption:has-text('2 × 2')").waitFor();
    await page.getByRole("radio", { name: "the file itself" }).check();
    assert.deepEqual(await send(page), expected);
    await runAll(page, expected);
    isClean(page);
});
await check("a file stays where another signature takes it in the same way", async () => {
    const page = await openPage(open, "#model=paint", DESKTOP, scene);
    const tab = (name) => page.getByRole("tab", { name, exact: true }).click();
    const file = page.locator(".file strong");
    const picture = { name: "kept.png", mimeType: "image/png", buffer: png(6, 5, (x, y) => [x * 40, y * 50, 200]) };
    await page.locator("input[type=file]").setInputFiles(picture);
    await file.waitFor();
    await tab("guided");
    assert.equal(await file.innerText(), "kept.png");
    const sent = page.waitForRequest((request) => request.method() === "POST");
    await page.getByRole("button", { name: "Send" }).click();
    assert.deepEqual((await sent).postDataJSON().instances[0].image[4][5], [200, 200, 200]);
    await page.getByRole("button", { name: "Remove" }).click();
    await tab("serving_default");
    assert.equal(await file.count(), 0);
    // For strings it would be bytes, for numbers pixels.
    await page.goto(`http://${open}/docs#model=echo&signature=bytes`);
    await page.locator(".address:has-text('echo')").waitFor();
    await page.locator("input[type=file]").setInputFiles(picture);
    await file.waitFor();
    await tab("uint8");
    assert.equal(await file.count(), 0);
    await tab("bytes");
    assert.equal(await file.innerText(), "kept.png");
    isClean(page);
});
await check("the code answers as the page did, whatever is in the body", async () => {
    const page = await openPage(open, "#model=echo&signature=mixed");
    for (const text of [
        '{"signature_name": "mixed", "inputs": {"a": 0.1, "b": 12, "s": "it\'s \\"naïve\\" \\\\ $HOME `x`\\n%s 😀"}}',
        '{"signature_name": "mixed",\n\n "instances": [{"a": 1.0, "b": -7, "s": "@x"},\n {"a": 1e3, "b": 0, "s": ""}]}',
        '{"signature_name": "string", "inputs": ["a byte order mark \ufeff, a word joiner \u2060, a tag \u{e0041}"]}',
        '{"signature_name": "float", "instances": [[[[[1.5]]]]]}',
    ]) {
        await page.locator("textarea.body").fill(text);
        await runAll(page, await send(page));
    }
    // Beyond what JavaScript can count, and what JSON cannot say.
    await page.locator("textarea.body").fill('{"signature_name": "int64", "inputs": [9007199254740993]}');
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator(".reply .json:has-text('9007199254740993')").waitFor();
    for (const language of ["curl", "Python", "JavaScript", "Go"]) {
        assert.ok((await copied(page, language)).includes("9007199254740993"), language);
    }
    for (const [body, reply] of [
        ['{"signature_name": "int64", "inputs": [9007199254740993]}', /\b9007199254740993\b/],
        ['{"signature_name": "float", "inputs": [NaN]}', /\bNaN\b/],
    ]) {
        await page.locator("textarea.body").fill(body);
        const javascript = join(directory, "copied.mjs");
        writeFileSync(javascript, await copied(page, "JavaScript"));
        assert.match(printed("node", [javascript]), reply);
    }
    isClean(page);
});
await check("what is wrong is told, and shown in the body", async () => {
    const page = await openPage(open, "#model=echo&signature=uint8");
    const area = page.locator("textarea.body");
    await area.fill('{"signature_name": "uint8",\n "inputs": [[0, 255], [300, 1]}');
    await page.locator('.says:has-text("Line 2, column 31")').waitFor();
    assert.equal(await area.getAttribute("aria-invalid"), "true");
    await area.fill('{"signature_name": "uint8", "inputs": [[0, 255], [300, 1]]}');
    await page.locator('.says:has-text("Valid JSON")').waitFor();
    page.faults.length = 0;
    await send(page, 400);
    await page.locator('.failure:has-text("/inputs/1/0: JSON Value: 300")').waitFor();
    await page.getByRole("button", { name: "Show the place" }).click();
    const selected = await area.evaluate(({ value, selectionStart, selectionEnd }) => value.slice(selectionStart, selectionEnd));
    assert.equal(selected, "300");
    await isAccessible(page);
});
await check("with the keyboard alone", async () => {
    const page = await openPage(open);
    const focused = () => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.className);
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "Skip to the model");
    await page.keyboard.press("Enter");
    const reach = async (what) => {
        for (let presses = 0; presses < 40; presses += 1) {
            await page.keyboard.press("Tab");
            if ((await focused()).startsWith(what)) return;
        }
        assert.fail(`${what} is not reached`);
    };
    await page.getByRole("link", { name: /^half_plus_two/ }).focus();
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement.tagName === "H1");
    await page.getByRole("radio", { name: "The latest version" }).focus();
    await page.keyboard.press("ArrowRight");
    await page.locator('.address:has-text("/labels/canary:predict")').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "The label canary");
    await reach("serving_default");
    await page.keyboard.press("ArrowRight");
    assert.notEqual(await focused(), "serving_default");
    await page.keyboard.press("Home");
    assert.equal(await focused(), "serving_default");
    await reach("body");
    await page.keyboard.press("Control+A");
    await page.keyboard.type('{"instances": [4.0]}');
    await page.keyboard.press("Control+Enter");
    assert.deepEqual(await replyOf(page), { predictions: [4] });
    await page.locator('#says:has-text("200 OK")').waitFor({ state: "attached" });
    isClean(page);
});
await check("scores, a line, zeros and routes of one's own", async () => {
    const page = await openPage(open, "#model=resnet", DESKTOP, scene);
    await page.locator('.says:has-text("is filled in when it is sent")').waitFor();
    const sent = page.waitForRequest((request) => isScoring(new URL(request.url())));
    await page.getByRole("button", { name: "Send" }).click();
    const { instances } = (await sent).postDataJSON();
    assert.deepEqual([instances.length, instances[0].length, instances[0][0].length, instances[0][0][0]], [1, 224, 224, [0, 0, 0]]);
    await page.locator(".bars tbody tr").first().waitFor();
    assert.equal(await page.locator(".bars tbody th").first().innerText(), "tabby cat");
    assert.equal(await page.locator(".bars tbody tr").count(), 10);
    await page.getByRole("radio", { name: "All in order" }).check();
    await page.locator(".plot polyline").waitFor();
    writeFileSync(join(directory, "cat.png"), png(40, 30, (x, y) => [x * 6, y * 8, 90]));
    await page.locator("input[type=file]").setInputFiles(join(directory, "cat.png"));
    const whole = page.waitForRequest((request) => isScoring(new URL(request.url())));
    await page.getByRole("button", { name: "Send" }).click();
    assert.equal(new URL((await whole).url()).search, "?resize=224x224&scale=1/255");
    assert.equal((await whole).headers()["content-type"], "image/png");
    await page.getByRole("link", { name: /predict-digit/ }).click();
    assert.equal(await page.locator("main h1").innerText(), "/predict-digit");
    assert.deepEqual(await send(page), { digit: 7 });
    isClean(page);
});
await check("paths that begin like a scheme or like a host are the bridge's", async () => {
    const page = await openPage(open, "#model=resnet", DESKTOP, scene);
    await page.route(/score:run|twice\/over/, (route) => route.fulfill({ json: { results: [[0.41], [0.87]] } }));
    for (const path of ["/score:run", "//twice/over"]) {
        await page.getByRole("link", { name: path }).click();
        await page.locator(`main h1:has-text("${path}")`).waitFor();
        const sent = page.waitForRequest((request) => request.method() === "POST");
        // Results that are no pairs of labels and scores are shown as they are.
        assert.deepEqual(await send(page), { results: [[0.41], [0.87]] });
        assert.equal((await sent).url(), `http://${open}${path}`);
    }
    isClean(page);
});
await check("a link leads to no other path than those of models", async () => {
    for (const words of ["version=../../../../x%3F", "version=1%2F..%2F..%2Fx", "label=..", "label=."]) {
        const paths = [];
        const watch = (page) => page.on("request", (request) => paths.push(new URL(request.url()).pathname));
        const page = await openPage(open, `#model=half_plus_two&${words}`, DESKTOP, watch);
        assert.deepEqual(await send(page), { predictions: [[2.25]] }, words);
        const others = paths.filter((path) => !/^\/(docs|v1\/models|openapi\.json|favicon)/.test(path));
        assert.deepEqual([others, paths.at(-1)], [[], "/v1/models/half_plus_two:predict"], words);
        isClean(page);
    }
});
await check("what is too large for a sample is not made", async () => {
    const page = await openPage(open, "#model=huge", DESKTOP, scene);
    await page.route("**/huge:predict", (route) => route.fulfill({ json: { predictions: [] } }));
    const sent = page.waitForRequest((request) => request.method() === "POST");
    await send(page);
    const [{ x, y }] = (await sent).postDataJSON().instances;
    assert.deepEqual([x, y], ["<too large for a sample: 1073741824>", "<too large for a sample: 1073741824×0>"]);
    isClean(page);
});
await check("a model that is not listed is opened by its name", async () => {
    const empty = (page) => page.route("**/v1/models", (route) => route.fulfill({ json: { models: [] } }));
    const page = await openPage(open, "", DESKTOP, empty);
    await page.locator('h1:has-text("No model is known yet")').waitFor();
    await isAccessible(page);
    await screenshot(page, "empty");
    await page.getByLabel("Open a model by its name").fill("half_plus_two");
    await page.keyboard.press("Enter");
    assert.deepEqual(await send(page), { predictions: [[2.25]] });
    isClean(page);
});
for (const [name, look] of [["light", DESKTOP], ["dark", DARK], ["phone", PHONE]]) {
    await check(`${name}: nothing is in the way of anybody, and nothing is cut off`, async () => {
        const page = await openPage(open, "#model=half_plus_two", look);
        await send(page);
        await isAccessible(page);
        await screenshot(page, name);
        const scored = await openPage(open, "#model=resnet", look, scene);
        await scored.getByRole("button", { name: "Send" }).click();
        await scored.locator(".bars").waitFor();
        await isAccessible(scored);
        await screenshot(scored, `${name}-scores`);
        const many = await openPage(open, "#model=echo&signature=mixed", look);
        await isAccessible(many);
        for (const one of [page, scored, many]) {
            const [seen, whole] = await one.evaluate(() => [innerWidth, document.documentElement.scrollWidth]);
            assert.ok(whole <= seen, `${whole} of ${seen}`);
            isClean(one);
        }
    });
}
await check("--docs=false: there is no page", async () => {
    for (const path of ["docs", "docs/app.js"]) assert.equal((await fetch(`http://${off}/${path}`)).status, 404);
});
await check("tokens: the page asks for one, keeps it to itself, and writes none into the code", async () => {
    const page = await openPage(guarded);
    const field = page.getByLabel("A token is needed:");
    await field.waitFor();
    await isAccessible(page);
    await field.fill("wrong");
    await page.keyboard.press("Enter");
    const again = page.getByLabel("This token is not known. Another one:");
    await again.fill(token);
    await page.keyboard.press("Enter");
    await page.getByRole("link", { name: /^half_plus_two/ }).click();
    const reply = await send(page);
    assert.deepEqual(reply, { predictions: [[2.25]] });
    assert.ok((await copied(page, "curl")).includes('"Authorization: Bearer $TOKEN"'));
    await runAll(page, reply, { TOKEN: token });
    assert.ok(!(await page.content()).includes(token));
    assert.deepEqual(await page.evaluate(() => [localStorage.length, document.cookie]), [0, ""]);
    // Refusals are on the console, which is the browser's doing.
    assert.ok(page.faults.every((fault) => fault.includes("401")), `${page.faults}`);
});

await check("the bridges end by themselves", async () => {
    assert.deepEqual(await stopBridges(), [0, 0, 0]);
});
await browser.close();
console.log(failures ? `${failures} failed` : "all passed");
process.exit(failures ? 1 : 0);
