// What a browser lets pages of several origins do with the API, check by check: what the page
// itself sees, and what went over the network. Prints a line for each; one that fails fails the run.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
    directory,
    makeCertificate,
    Page,
    servePage,
    startBridge,
    startBrowser,
    stopBridges,
    tfbridgeSays,
} from "./harness.mjs";

/// The whole run, of which the browser's start is the most.
const MAX_SECONDS = 60;
setTimeout(() => {
    console.log(`FAIL the checks took more than ${MAX_SECONDS} s`);
    process.exit(1);
}, MAX_SECONDS * 1000).unref();

const certificate = makeCertificate();
const [allowedPort, refusedPort] = [await servePage(), await servePage()];
const allowed = `http://127.0.0.1:${allowedPort}`;
const refused = `http://127.0.0.1:${refusedPort}`;
const without = `${allowed}/sandbox`;
const below = `http://app.pages.test:${allowedPort}`;
const elsewhere = `http://app.pages.test:${refusedPort}`;

// Prints the token, an empty line and the token's entry.
const [token, , ...entry] = tfbridgeSays("token", "--name", "page").split("\n");
const tokens = join(directory, "tokens.toml");
writeFileSync(tokens, `${entry.join("\n")}\nmodels = ["half_plus_two"]\n`);

const list = ["--cors-origin", `${allowed},http://*.pages.test:${allowedPort}`];
const [listed, any, everybody, guarded, secure] = await Promise.all([
    startBridge(...list),
    startBridge("--cors"),
    startBridge("--cors-origin", "*"),
    startBridge(...list, "--auth-file", tokens),
    startBridge(...list, ...certificate.flags),
]);
const model = (address, name = "half_plus_two") => `http://${address}/v1/models/${name}`;
const predict = (address, name) => `${model(address, name)}:predict`;
const overTls = `https://${secure}/v1/models/half_plus_two:predict`;
const body = { instances: [1, 2, 5] };
const predictions = { predictions: [2.5, 3, 4.5] };
const large = { instances: Array.from({ length: 20_000 }, (_, index) => index) };

const browser = await startBrowser(certificate.trusted);
let failures = 0;

/// Runs a check with a new page of this origin.
async function check(origin, name, verify) {
    try {
        await verify(await Page.open(browser, origin));
        console.log(`ok   ${name}`);
    } catch (error) {
        failures += 1;
        console.log(`FAIL ${name}\n${error.stack}`);
    }
}

/// The page got nothing, the console says why, and the browser had this reason for it.
async function isBlocked(page, call, reason) {
    assert.equal(call.failure, "TypeError");
    assert.equal(call.request.corsError, reason);
    await page.consoleSays("has been blocked by CORS policy");
}

/// No answer told the browser anything of pages, and the request itself was never sent.
async function isRefusedBeforehand(page, call) {
    await isBlocked(page, call, "PreflightMissingAllowOriginHeader");
    assert.equal(call.preflight.status, 403);
    const told = Object.keys(call.preflight.headers).filter((name) => name.startsWith("access-control-"));
    assert.deepEqual(told, []);
    assert.equal(call.request.status, undefined);
}

async function isGzip(page, url) {
    const call = await page.predict(url, large);
    assert.equal(call.request.headers["content-encoding"], "gzip");
    assert.deepEqual(call.json.predictions, large.instances.map((value) => value / 2 + 2));
    const inflated = JSON.stringify(call.json).length;
    assert.ok(inflated > 32 << 10 && call.request.bytes < inflated, `${call.request.bytes} of ${inflated} bytes`);
}

await check(allowed, "allowed: JSON is predicted from after a preflight", async (page) => {
    const call = await page.predict(predict(listed), body);
    assert.equal(call.preflight.sent["access-control-request-method"], "POST");
    assert.equal(call.preflight.sent["access-control-request-headers"], "content-type");
    assert.equal(call.preflight.headers["access-control-allow-origin"], allowed);
    assert.equal(call.status, 200);
    assert.deepEqual(call.json, predictions);
    assert.equal(call.request.headers["content-encoding"], undefined);
});
await check(allowed, "allowed: x-request-timeout may be sent, after one preflight for all", async (page) => {
    const headers = { "X-Request-Timeout": "20" };
    for (const preflights of [1, 0, 0]) {
        const call = await page.predict(predict(listed), body, headers, { preflights });
        assert.equal(call.status, 200);
        assert.equal(call.request.sent["x-request-timeout"], "20");
    }
});
await check(allowed, "allowed: the model's version and the attempts can be read", async (page) => {
    const { headers } = await page.predict(predict(listed), body);
    assert.equal(headers["x-model-version"], "124");
    assert.equal(headers["x-attempts"], "1");
});
await check(allowed, "allowed: an error can be read", async (page) => {
    const call = await page.predict(predict(listed), {});
    assert.equal(call.status, 400);
    assert.deepEqual(call.json, { error: "Missing 'inputs' or 'instances' key" });
});
await check(allowed, "allowed: the status needs no preflight", async (page) => {
    const call = await page.fetch(model(listed));
    assert.equal(call.status, 200);
    assert.equal(call.json.model_version_status[0].state, "AVAILABLE");
});
await check(allowed, "allowed: a header that is not listed is blocked", async (page) => {
    const call = await page.predict(predict(listed), body, { "X-Other": "1" });
    await isBlocked(page, call, "HeaderDisallowedByPreflightResponse");
});
await check(allowed, "allowed: a method that is not listed is blocked", async (page) => {
    const call = await page.fetch(model(listed), { method: "DELETE" }, 1);
    await isBlocked(page, call, "MethodDisallowedByPreflightResponse");
});
await check(allowed, "allowed: a request with cookies is blocked", async (page) => {
    const call = await page.predict(predict(listed), body, {}, { credentials: "include" });
    await isBlocked(page, call, "PreflightInvalidAllowCredentials");
});
await check(below, "allowed: a host below a wildcard's", async (page) => {
    const call = await page.predict(predict(listed), body);
    assert.equal(call.request.headers["access-control-allow-origin"], below);
    assert.deepEqual(call.json, predictions);
});

await check(refused, "refused: JSON is not even sent", async (page) => {
    await isRefusedBeforehand(page, await page.predict(predict(listed), body));
});
await check(refused, "refused: nor with a timeout", async (page) => {
    const call = await page.predict(predict(listed), body, { "X-Request-Timeout": "20" });
    await isRefusedBeforehand(page, call);
});
await check(refused, "refused: answers to requests without a preflight cannot be read", async (page) => {
    for (const [url, options, status] of [
        [model(listed), {}, 200],
        [predict(listed), { method: "POST", body: JSON.stringify(body) }, 200],
        [predict(listed), { method: "POST", body: "{}" }, 400],
    ]) {
        const call = await page.fetch(url, options);
        await isBlocked(page, call, "MissingAllowOriginHeader");
        assert.equal(call.request.status, status);
    }
});
await check(elsewhere, "refused: another port of a host below a wildcard's", async (page) => {
    await isRefusedBeforehand(page, await page.predict(predict(listed), body));
});
await check(without, "refused: a page without an origin", async (page) => {
    const call = await page.predict(predict(listed), body);
    assert.equal(call.preflight.sent.origin, "null");
    await isRefusedBeforehand(page, call);
});

await check(allowed, "a large reply arrives as gzip", (page) => isGzip(page, predict(listed)));
await check(allowed, "a large reply arrives as gzip over HTTP/2", (page) => isGzip(page, overTls));

await check(allowed, "tokens: a page can read that it needs one", async (page) => {
    const call = await page.predict(predict(guarded), body);
    assert.equal(call.status, 401);
    assert.equal(typeof call.json.error, "string");
});
for (const [name, value] of [["Authorization", `Bearer ${token}`], ["X-API-Key", token]]) {
    await check(allowed, `tokens: one in ${name} lets a page in, and its preflight has none`, async (page) => {
        const call = await page.predict(predict(guarded), body, { [name]: value });
        assert.equal(call.preflight.status, 200);
        assert.ok(!JSON.stringify(call.preflight.sent).includes(token));
        assert.equal(call.status, 200);
        assert.deepEqual(call.json, predictions);
    });
}
await check(allowed, "tokens: a page can read that its own is not for this model", async (page) => {
    const call = await page.predict(predict(guarded, "echo"), body, { Authorization: `Bearer ${token}` });
    assert.equal(call.status, 403);
    assert.equal(typeof call.json.error, "string");
});
await check(refused, "tokens: one does not let a page of another origin in", async (page) => {
    const call = await page.predict(predict(guarded), body, { Authorization: `Bearer ${token}` });
    await isRefusedBeforehand(page, call);
});

await check(allowed, "TLS: preflight and request go over HTTP/2", async (page) => {
    const call = await page.predict(overTls, body);
    assert.deepEqual([call.preflight.protocol, call.request.protocol], ["h2", "h2"]);
    assert.deepEqual(call.json, predictions);
});
await check(refused, "TLS: other origins are refused there, too", async (page) => {
    const call = await page.predict(overTls, body);
    assert.equal(call.preflight.protocol, "h2");
    await isRefusedBeforehand(page, call);
});

for (const [origin, name] of [[allowed, "one origin"], [refused, "another"]]) {
    await check(origin, `--cors: pages of ${name} predict, and read errors and the status`, async (page) => {
        const call = await page.predict(predict(any), body);
        assert.equal(call.request.headers["access-control-allow-origin"], "*");
        assert.deepEqual(call.json, predictions);
        assert.equal((await page.fetch(predict(any), { method: "POST", body: "{}" })).status, 400);
        assert.equal((await page.fetch(model(any))).status, 200);
    });
}
await check(refused, "--cors: no header but Content-Type, as in TensorFlow Serving", async (page) => {
    const call = await page.predict(predict(any), body, { "X-Request-Timeout": "20" });
    await isBlocked(page, call, "HeaderDisallowedByPreflightResponse");
});
await check(without, "--cors: a page without an origin cannot predict, as there", async (page) => {
    assert.equal((await page.fetch(model(any))).status, 200);
    const call = await page.predict(predict(any), body);
    assert.equal(call.preflight.status, 400);
    await isBlocked(page, call, "PreflightInvalidStatus");
});
await check(without, "--cors-origin '*': a page without an origin predicts", async (page) => {
    const call = await page.predict(predict(everybody), body, { "X-Request-Timeout": "20" });
    assert.equal(call.preflight.sent.origin, "null");
    assert.equal(call.request.headers["access-control-allow-origin"], "*");
    assert.deepEqual(call.json, predictions);
});

// The browser's connections are open still: the bridges must be able to end them.
await check(allowed, "the bridges end by themselves", async () => {
    assert.deepEqual(await stopBridges(), [0, 0, 0, 0, 0]);
});
await browser.close();
console.log(failures ? `${failures} failed` : "all passed");
process.exit(failures ? 1 : 0);
