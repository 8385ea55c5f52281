// The state of the page, and what follows from its changes.

// The version of the document that this script reads.
const DOCUMENT_VERSION = 3;

const app = { document: null, isLive: false, canControl: false, selected: null, filter: "", only: "all", sort: { name: "", isDown: false } };

function draw() {
  const doc = app.document;
  drawHead(doc);
  drawFacts(doc);
  const hasProcesses = doc.processes.length > 0;
  reveal("timeline", hasProcesses);
  reveal("processes", hasProcesses);
  if (hasProcesses) { drawTimeline(doc); drawProcesses(doc); }
  drawProcess(doc);
  drawRestarts(doc);
  drawUse(doc);
  drawAgents(doc);
  drawWatch(doc);
  drawEvidence(doc);
}

// Shows a document. A view of the whole period stays one.
function take(doc) {
  if (doc.version !== DOCUMENT_VERSION) {
    put("notices", el("p", { class: "notice" }, `This page reads documents of version ${DOCUMENT_VERSION}, and this one is of version ${doc.version}.`));
    return;
  }
  const before = app.document;
  const wasWhole = !before || (timeline.from <= before.period.from_ms && timeline.to >= before.period.to_ms);
  app.document = doc;
  app.canControl = Boolean(doc.can_control);
  if (wasWhole) { timeline.from = doc.period.from_ms; timeline.to = doc.period.to_ms; }
  redraw();
  if (!before) followAddress();
}

// Draws, and gives the focus to the element that has the place of the one that had it.
function redraw() {
  const focused = document.activeElement;
  const section = focused && focused.closest("main section");
  const alike = (one) => [...one.querySelectorAll(focused.tagName)].filter((other) => other.textContent === focused.textContent && other.ariaLabel === focused.ariaLabel);
  const place = section ? alike(section).indexOf(focused) : -1;
  draw();
  if (place < 0 || focused.isConnected) return;
  const found = alike(section)[place];
  if (found) found.focus({ preventScroll: true });
}

// The address of a process on the page, so that it can be linked.
const addressOf = (key) => `#process=${encodeURIComponent(key)}`;

function select(key) {
  if (location.hash !== addressOf(key)) history.pushState(null, "", addressOf(key));
  if (key !== app.selected) put("process-body");
  app.selected = key;
  drawTimeline(app.document);
  drawProcesses(app.document);
  drawProcess(app.document);
  byId("process").focus({ preventScroll: true });
  byId("process").scrollIntoView({ block: "nearest" });
}

// Selects the process that the address names, if the page has it.
function followAddress() {
  const [, name] = location.hash.match(/^#process=(.+)$/) || [];
  if (!name || !app.document) return;
  let key = null;
  try { key = decodeURIComponent(name); } catch { return; }
  if (key !== app.selected && app.document.processes.some((one) => one.key === key)) select(key);
}

function choose() {
  app.filter = byId("filter").value;
  app.only = byId("only").value;
  drawTimeline(app.document);
  drawProcesses(app.document);
}

const THEMES = ["system", "light", "dark"];

function nextTheme() {
  const now = document.documentElement.dataset.theme || "system";
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  byId("theme").textContent = `Theme: ${next}`;
}

function nextZone() {
  view.isLocal = !view.isLocal;
  byId("zone").textContent = view.isLocal ? "Times: local" : "Times: UTC";
  if (app.document) draw();
}

function begin() {
  byId("theme").addEventListener("click", nextTheme);
  byId("zone").addEventListener("click", nextZone);
  byId("zone").textContent = "Times: UTC";
  byId("filter").addEventListener("input", choose);
  byId("only").addEventListener("change", choose);
  timelineControls();
  legend();
  window.addEventListener("popstate", followAddress);
  window.addEventListener("hashchange", followAddress);
  window.addEventListener("beforeprint", () => {
    if (!app.document) return;
    byId("legend").open = true;
    drawStories(app.document);
    if (app.document.processes.length > 0) drawTimeline(app.document);
  });
  const data = byId("data").textContent;
  app.isLive = data.trim() === "";
  if (app.isLive) { byId("live").textContent = "Connecting"; reveal("live", true); follow(); } else take(JSON.parse(data));
}

begin();
