// What the checks are made with: bridges, pages of several origins, and a browser whose network
// events are written down. Every process and file that is started or made here ends with this one.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { EventEmitter, on, once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { inspect } from "node:util";

const [chromium, tfbridge, driver] = process.argv.slice(2);
const { chromium: launcher } = createRequire(resolve(driver, "package.json"))("playwright-core");

/// How long anything may take that is waited for.
const PATIENCE = 10_000;

/// A directory of this run, for tokens and certificates.
export const directory = mkdtempSync(join(driver, "run-"));
const bridges = [];
process.on("exit", () => {
    bridges.forEach((bridge) => bridge.kill("SIGKILL"));
    rmSync(directory, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));

/// What a command of the bridge prints.
export const tfbridgeSays = (...words) => execFileSync(tfbridge, words, { encoding: "utf8", stdio: "pipe" });

/// Starts the demo with these flags and answers with the address of its port.
export async function startBridge(...flags) {
    const words = ["demo", "--listen", "127.0.0.1:0", "--log", "warn", ...flags];
    const bridge = spawn(tfbridge, words, { stdio: ["ignore", "pipe", "inherit"] });
    bridges.push(bridge);
    let printed = "";
    const options = { signal: AbortSignal.timeout(PATIENCE), close: ["end"] };
    for await (const [text] of on(bridge.stdout, "data", options)) {
        printed += text;
        const address = /127\.0\.0\.1:\d+/.exec(printed);
        if (address) return address[0];
    }
    throw new Error(`the bridge ended before it served: ${flags.join(" ")}`);
}

/// Asks all bridges to stop, and gives their exit codes.
export function stopBridges() {
    return Promise.all(bridges.map(async (bridge) => {
        const end = once(bridge, "exit", { signal: AbortSignal.timeout(PATIENCE) });
        bridge.kill("SIGTERM");
        return (await end)[0];
    }));
}

/// Serves an empty page on a port of its own, and answers with the port. At `/sandbox`, the page
/// has no origin.
export async function servePage() {
    const server = createServer((request, response) => {
        response.setHeader("Content-Type", "text/html");
        if (request.url === "/sandbox") response.setHeader("Content-Security-Policy", "sandbox allow-scripts");
        response.end("<!doctype html><title>A page</title><link rel=icon href=data:,>");
    });
    server.unref();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return server.address().port;
}

/// Makes a certificate that only this run's browser trusts, and answers with the bridge's flags.
export function makeCertificate() {
    const [cert, key] = [join(directory, "cert.pem"), join(directory, "key.pem")];
    const words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 2 -subj /CN=bridge";
    const files = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", cert, "-keyout", key];
    execFileSync("openssl", [...words.split(" "), ...files], { stdio: "pipe" });
    const spki = new X509Certificate(readFileSync(cert)).publicKey.export({ type: "spki", format: "der" });
    return {
        flags: ["--tls-cert", cert, "--tls-key", key],
        trusted: createHash("sha256").update(spki).digest("base64"),
    };
}

/// Starts the browser, which believes one certificate and finds every host below pages.test here.
export function startBrowser(trusted) {
    return launcher.launch({
        executablePath: chromium,
        args: [
            "--no-sandbox",
            "--disable-gpu",
            "--no-proxy-server",
            "--host-resolver-rules=MAP *.pages.test 127.0.0.1",
            `--ignore-certificate-errors-spki-list=${trusted}`,
        ],
    });
}

/// A page in a profile of its own, which knows nothing of the others' preflights.
export class Page {
    #page;
    #exchanges = new Map();
    #lines = [];
    #news = new EventEmitter();

    static async open(browser, url) {
        const page = new Page();
        page.#page = await (await browser.newContext()).newPage();
        page.#page.on("console", (message) => {
            page.#lines.push(message.text());
            page.#news.emit("news");
        });
        await page.#page.goto(url);
        await page.#watch(await page.#page.context().newCDPSession(page.#page));
        return page;
    }

    /// Fetches from within the page, and tells what the page gets to see, an answer or a failure,
    /// beside what went over the network: the request, and as many preflights as must come.
    async fetch(url, options = {}, preflights = 0) {
        this.#exchanges.clear();
        this.#lines.length = 0;
        const seen = await this.#page.evaluate(async ([url, options]) => {
            try {
                const response = await fetch(url, options);
                const headers = Object.fromEntries(response.headers);
                return { status: response.status, headers, json: await response.json() };
            } catch (error) {
                return { failure: error.name };
            }
        }, [url, options]);
        const all = () => [...this.#exchanges.values()].filter((exchange) => exchange.isOver);
        const asked = () => all().filter(({ method, status }) => method === "OPTIONS" && status);
        const isAnswer = ({ status, corsError }) => status || corsError;
        const sent = () => all().find((exchange) => exchange.method !== "OPTIONS" && isAnswer(exchange));
        await this.#until(() => sent() && asked().length >= preflights, "the request and its preflight");
        const count = [...this.#exchanges.values()].filter(({ method }) => method === "OPTIONS").length;
        assert.equal(count, preflights, "preflights");
        return { ...seen, request: sent(), preflight: asked()[0] };
    }

    /// The same with JSON to predict from, which must not be sent before a preflight, unless the
    /// browser remembers one.
    predict(url, body, headers = {}, { preflights = 1, ...options } = {}) {
        const all = { "Content-Type": "application/json", ...headers };
        const post = { method: "POST", headers: all, body: JSON.stringify(body), ...options };
        return this.fetch(url, post, preflights);
    }

    /// Waits until the console has said this since the last request.
    consoleSays(text) {
        return this.#until(() => this.#lines.some((line) => line.includes(text)), `the console's "${text}"`);
    }

    async #until(holds, what) {
        const signal = AbortSignal.timeout(PATIENCE);
        while (!holds()) {
            await once(this.#news, "news", { signal }).catch(() => {
                throw new Error(`waited in vain for ${what}: ${inspect([...this.#exchanges.values()])}`);
            });
        }
    }

    async #watch(session) {
        const note = (event, tell) => session.on(event, (details) => {
            const exchange = this.#exchanges.get(details.requestId) ?? {};
            this.#exchanges.set(details.requestId, Object.assign(exchange, tell(details)));
            this.#news.emit("news");
        });
        note("Network.requestWillBeSent", ({ request }) => ({ method: request.method }));
        // The headers as they were sent and received, those too that the page may not see.
        note("Network.requestWillBeSentExtraInfo", ({ headers }) => ({ sent: lowerCase(headers) }));
        note("Network.responseReceivedExtraInfo", ({ statusCode, headers }) => ({
            status: statusCode,
            headers: lowerCase(headers),
        }));
        note("Network.responseReceived", ({ response }) => ({ protocol: response.protocol }));
        note("Network.loadingFinished", ({ encodedDataLength }) => ({ isOver: true, bytes: encodedDataLength }));
        note("Network.loadingFailed", ({ corsErrorStatus }) => ({
            isOver: true,
            corsError: corsErrorStatus?.corsError,
        }));
        await session.send("Network.enable");
    }
}

const lowerCase = (headers) =>
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
