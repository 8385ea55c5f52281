// The report and the live page in a real browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

import { Ledger } from "./ledger.mjs";

const ARGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const ledger = new Ledger();
let browser;

before(async () => {
  ledger.fill();
  ledger.run("report", "-o", ledger.path("page.html"));
  browser = await chromium.launchPersistentContext(ledger.path("profile"), { executablePath: "/usr/bin/chromium", args: ARGS, viewport: { width: 1280, height: 900 } });
});

after(async () => {
  if (browser) await browser.close();
  ledger.remove();
});

// A page whose console stays empty.
async function open(address) {
  const page = await browser.newPage();
  page.said = [];
  page.on("console", (message) => page.said.push(message.text()));
  page.on("pageerror", (error) => page.said.push(String(error)));
  await page.goto(address);
  return page;
}

async function close(page) {
  assert.deepEqual(page.said, [], "the console is clean");
  assert.equal(await page.evaluate("window.ran"), undefined, "no hostile script ran");
  await page.close();
}

async function violations(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })");
  const serious = found.violations.filter((one) => one.impact === "serious" || one.impact === "critical");
  return serious.map((one) => `${one.id}: ${one.nodes.map((node) => `${node.html.slice(0, 200)} ${node.failureSummary}`).slice(0, 3).join(" | ")}`);
}

const report = () => `file://${ledger.path("page.html")}`;
const names = (page) => page.locator("#processes-table tbody th").allTextContents();

test("the summary answers, and a process tells its story", async () => {
  const page = await open(report());
  const facts = await page.locator("#facts").textContent();
  for (const words of ["What is down now?", "What failed first?hostile exit code 3", "When did no daemon run?"]) assert.ok(facts.includes(words), `${words} in ${facts}`);
  assert.deepEqual((await names(page)).sort(), ["broken", "flaky", "hostile", "steady"]);
  await page.locator(".fact", { hasText: "What is down now?" }).locator("button", { hasText: "broken" }).click();
  assert.equal(await page.locator("#process-title").textContent(), "broken");
  const lines = await page.locator("#processes-table .name").evaluateAll((all) => all.map((one) => Math.round(one.getBoundingClientRect().height / parseFloat(getComputedStyle(one).lineHeight))));
  assert.ok(lines.every((height) => height <= 1), `names do not break across lines: ${lines}`);
  await page.locator("#processes-table button", { hasText: "broken" }).first().click();
  assert.match(await page.locator("#process").textContent(), /It exited with code 7/);
  assert.equal((await page.locator("#process pre").textContent()).trim(), "oops");
  assert.match(await page.locator("#evidence").textContent(), /The ledger is sound/);
  await close(page);
});

test("a process and an answer have addresses", async () => {
  const page = await open(report());
  await page.locator("#processes-table button", { hasText: "broken" }).first().click();
  const address = await page.evaluate("location.href");
  assert.match(address, /#process=[0-9a-f-]+%2F0$/);
  await page.locator("#processes-table button", { hasText: "flaky" }).first().click();
  await page.goBack();
  assert.equal(await page.locator("#process-title").textContent(), "broken");
  await page.locator(".fact h3 a", { hasText: "What failed first?" }).click();
  assert.match(await page.evaluate("location.href"), /#fact-what-failed-first$/);
  await close(page);
  const linked = await open(address);
  assert.equal(await linked.locator("#process-title").textContent(), "broken");
  await close(linked);
  const unknown = await open(`${report()}#process=%E0%A4%A`);
  assert.ok(await unknown.locator("#process").isHidden());
  await close(unknown);
});

test("hostile text is shown and not executed", async () => {
  const page = await open(report());
  await page.locator("#processes-table button", { hasText: "hostile" }).first().click();
  const output = await page.locator("#process pre").textContent();
  assert.ok(output.includes("</script><script>window.ran = 1</script>"), output);
  assert.ok(output.includes("\\u202eevil\\u200b{{data}}"), output);
  const shown = await page.evaluate("document.body.innerText");
  assert.doesNotMatch(shown, /[\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff]/u);
  assert.equal(await page.locator("img").count(), 0);
  // What the policy forbids stays forbidden, also for code that would be in the page.
  const ran = await page.evaluate(() => {
    const script = document.createElement("script");
    try { script.textContent = "window.ran = 1"; document.body.append(script); } catch { /* Trusted Types */ }
    script.remove();
    return window.ran;
  });
  assert.equal(ran, undefined);
  page.said = page.said.filter((text) => !/Content Security Policy|TrustedScript|Trusted Type|trusted/i.test(text));
  await close(page);
});

test("the timeline zooms by buttons, keys and a drag, and says what ran at a time", async () => {
  const page = await open(report());
  const view = () => page.evaluate("[timeline.from, timeline.to]");
  const [from, to] = await view();
  await page.locator("#lanes").focus();
  await page.keyboard.press("+");
  const zoomed = await view();
  assert.ok(zoomed[1] - zoomed[0] < to - from);
  await page.keyboard.press("ArrowRight");
  assert.ok((await view())[0] > zoomed[0]);
  await page.keyboard.press("0");
  assert.deepEqual(await view(), [from, to]);
  const lane = page.locator("#lanes .lane[data-key] svg").first();
  await lane.scrollIntoViewIfNeeded();
  const box = await lane.boundingBox();
  await page.mouse.move(box.x + box.width * 0.2, box.y + 10);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 10, { steps: 4 });
  await page.mouse.up();
  const dragged = await view();
  assert.ok(dragged[0] > from && dragged[1] < to, `${dragged}`);
  await page.locator("#whole").click();
  const at = await page.evaluate("new Date(Math.floor((app.document.period.from_ms + 1500) / 1000) * 1000).toISOString().slice(0, 19)");
  await page.locator("#moment").fill(at);
  assert.match(await page.locator("#answer").textContent(), /1 process alive: hostile/);
  await close(page);
});

test("filters and sorting choose what is shown", async () => {
  const page = await open(report());
  await page.locator("#filter").fill("FLAK");
  assert.deepEqual(await names(page), ["flaky"]);
  assert.equal(await page.locator("#lanes .lane[data-key]").count(), 1);
  await page.locator("#filter").fill("");
  await page.locator("#only").selectOption("trouble");
  assert.deepEqual((await names(page)).sort(), ["broken", "hostile"]);
  await page.locator("#only").selectOption("all");
  await page.locator("th button", { hasText: "Crashes" }).click();
  assert.equal(await page.locator("th[aria-sort=descending]").count(), 1);
  assert.deepEqual((await names(page)).slice(0, 2).sort(), ["broken", "hostile"]);
  await close(page);
});

test("no serious violation of accessibility, light and dark, wide and narrow", async () => {
  for (const [scheme, width] of [["light", 1280], ["dark", 1280], ["light", 390]]) {
    const page = await open(report());
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: scheme });
    await page.locator("#processes-table button", { hasText: "broken" }).first().click();
    await page.locator("#legend summary").click();
    assert.deepEqual(await violations(page), [], `${scheme}, ${width}`);
    assert.ok(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), `${width}: nothing is wider than the page`);
    await page.close();
  }
});

test("the theme can be switched by hand", async () => {
  const page = await open(report());
  const ground = () => page.evaluate("getComputedStyle(document.body).backgroundColor");
  await page.locator("#theme").click();
  const light = await ground();
  await page.locator("#theme").click();
  assert.notEqual(await ground(), light);
  await close(page);
});

test("the live page shows a restart as it happens, and asks for a stop", async () => {
  const page = await open(await ledger.serve("--allow-control"));
  await page.locator("#live", { hasText: "Live" }).waitFor();
  assert.ok(!page.url().includes("token"), page.url());
  const row = page.locator("#processes-table tr", { hasText: "flaky" });
  await row.waitFor();
  assert.equal(await row.locator("td").nth(1).textContent(), "0");
  process.kill(ledger.pidOf("flaky"), "SIGKILL");
  await page.locator("#events-body", { hasText: "running -> crashed" }).waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll("#processes-table tr")].some((one) => one.cells[0].textContent === "flaky" && one.cells[2].textContent === "1"));
  await row.locator("button").first().click();
  await page.locator("#process button", { hasText: "Stop" }).click();
  await page.locator("#reason").fill("<b>maintenance</b>");
  await page.locator("#ask-yes").click();
  await page.locator("#events-body", { hasText: "web page: <b>maintenance</b>" }).first().waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll("#processes-table tr")].some((one) => one.cells[0].textContent === "flaky" && one.cells[1].textContent.includes("stopped")));
  await page.locator("#asked", { hasText: "flaky: stop" }).waitFor();
  await page.locator("#evidence", { hasText: "Not verified by this page" }).waitFor();
  await page.locator("#verify").click();
  await page.locator("#evidence", { hasText: "The ledger is sound" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await otherServers(page);
  await close(page);
});

// Another server of this machine, which the same browser opens, gets no cookie.
async function otherServers(own) {
  const asked = [];
  const other = createServer((request, response) => { asked.push(request.headers); response.end("<!DOCTYPE html><title>other</title>"); });
  await new Promise((listening) => other.listen(0, "127.0.0.1", listening));
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${other.address().port}/`);
  const status = await page.evaluate((address) => fetch(address, { mode: "no-cors", credentials: "include" }).then(() => "read", () => "refused"), `${own.url()}document.json`);
  assert.equal(status, "refused");
  await page.close();
  other.close();
  assert.ok(asked.length > 0 && asked.every((headers) => headers.cookie === undefined), JSON.stringify(asked));
}
