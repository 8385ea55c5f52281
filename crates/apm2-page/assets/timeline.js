// The timeline: one lane for each process, as SVG.

const STATES = ["absent", "stopped", "running", "starting", "stopping", "unhealthy", "waiting", "terminated", "down"];
const CLASSES = ["success", "start", "restart", "stop_request", "stop", "unhealthy", "kill", "failed_start", "crash", "refusal"];

const STATE_WORDS = {
  stopped: "stopped, succeeded or never started", running: "running", starting: "starting, not yet ready", stopping: "stopping",
  unhealthy: "running, health check fails", waiting: "down, restart is scheduled", terminated: "killed after its stop timeout", down: "down: failed or given up",
};
const CLASS_WORDS = {
  success: "succeeded", start: "started", restart: "restarted by the policy", stop_request: "stop requested", stop: "stopped", unhealthy: "health check failed too often",
  kill: "killed after a stop", failed_start: "start failed", crash: "crashed", refusal: "restart refused: stays down",
};

// The place of a state in its lane: from the top, and its height. The shape tells states apart without colour.
const SHAPES = {
  stopped: [11, 2], running: [4, 16], starting: [9, 11], stopping: [9, 11], unhealthy: [4, 16], waiting: [9, 6], terminated: [10, 5], down: [8, 8],
};

const MARK_PATHS = {
  success: "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
  start: "M-1.5-9h3v18h-3z",
  restart: "M0-7L5 2H-5z",
  stop_request: "M-1-6h2v12h-2z",
  stop: "M-4-4h8v8h-8z",
  unhealthy: "M0-6L6 0 0 6-6 0z",
  kill: "M-5-5h10v10h-10z",
  failed_start: "M0 7L6-4H-6z",
  crash: "M-6-4l2-2 4 4 4-4 2 2-4 4 4 4-2 2-4-4-4 4-2-2 4-4z",
  refusal: "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0zM-4-1.5v3h8v-3z",
};

// What is said of the states at a time without a daemon. The command has the same sentence.
const NO_DAEMON_THEN = "No daemon ran then, so this is what was recorded last.";

// Distance within which marks are drawn as one.
const NEAR_PX = 9;

// A view is not shorter than this.
const SHORTEST_MS = 50;

const LANE_PX = 24;

const timeline = { from: 0, to: 1, cursor: null, width: 800, drag: null };

const bucketStart = (doc, bucket) => doc.period.from_ms + (bucket * (doc.period.to_ms - doc.period.from_ms)) / doc.period.buckets;

const x = (ms) => ((ms - timeline.from) / (timeline.to - timeline.from)) * timeline.width;

function patterns() {
  return svg("svg", { width: 0, height: 0, "aria-hidden": "true", class: "patterns" }, svg("defs", {},
    svg("pattern", { id: "hatched", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, svg("line", { x1: 0, y1: 0, x2: 0, y2: 7, class: "hatch-line" })),
    svg("pattern", { id: "dotted", width: 7, height: 6, patternUnits: "userSpaceOnUse", y: 9 }, svg("circle", { cx: 3, cy: 3, r: 2, class: "dot" })),
    svg("pattern", { id: "waves", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(-45)" }, svg("line", { x1: 0, y1: 0, x2: 0, y2: 6, class: "wave-line" }))));
}

// The picture of a lane. It is as wide as its place on the screen, and is stretched in print.
const plot = (height, ...children) => svg("svg", { viewBox: `0 0 ${timeline.width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, children);

// The paths of the states of a lane. Spans are triples: first bucket, last bucket, number of the state.
function statePaths(doc, spans) {
  const found = {};
  for (let place = 0; place < spans.length; place += 3) {
    const name = STATES[spans[place + 2]];
    const shape = SHAPES[name];
    if (!shape) continue;
    const left = Math.max(0, x(bucketStart(doc, spans[place])));
    const right = Math.min(timeline.width, x(bucketStart(doc, spans[place + 1] + 1)));
    if (right <= left) continue;
    const width = Math.max(1, right - left);
    found[name] = `${found[name] || ""}M${left.toFixed(1)} ${shape[0]}h${width.toFixed(1)}v${shape[1]}h-${width.toFixed(1)}z`;
  }
  return Object.entries(found).flatMap(([name, d]) => [
    svg("path", { d, class: `s-${name}` }),
    name === "unhealthy" ? svg("path", { d, fill: "url(#waves)" }) : null,
  ]);
}

function markTitle(marks) {
  const [at, kind, seq, run, text] = marks.reduce((most, mark) => (mark[1] > most[1] ? mark : most));
  const others = marks.reduce((sum, mark) => sum + mark[5], 0) - 1;
  const detail = text ? `, ${text}` : "";
  return `${timeText(at)} ${CLASS_WORDS[CLASSES[kind]]}${detail} (run ${run}, event ${seq})${others > 0 ? ` and ${counted(others, "other mark")} near it` : ""}`;
}

// The marks of a lane; those that would overlap are one, with the shape of the most important.
function markShapes(marks) {
  const groups = [];
  for (const mark of marks) {
    const at = x(mark[0]);
    if (at < -NEAR_PX || at > timeline.width + NEAR_PX) continue;
    const last = groups[groups.length - 1];
    if (last && at - last.at < NEAR_PX) last.marks.push(mark);
    else groups.push({ at, marks: [mark] });
  }
  return groups.map(({ at, marks: near }) => {
    const kind = CLASSES[Math.max(...near.map((mark) => mark[1]))];
    return svg("path", { d: MARK_PATHS[kind], class: `m m-${kind}`, "fill-rule": "evenodd", transform: `translate(${at.toFixed(1)} 12)` }, svg("title", {}, markTitle(near)));
  });
}

function gapShapes(doc, height) {
  return doc.gaps.map((gap) => {
    const left = Math.max(0, x(gap.from_ms));
    const right = Math.min(timeline.width, Math.max(x(gap.to_ms), x(gap.from_ms) + 2));
    return right > left ? svg("rect", { x: left.toFixed(1), y: 0, width: (right - left).toFixed(1), height, class: "hatch" }) : null;
  });
}

function ticks() {
  const steps = [1, 10, 100, 1000, 5000, 15_000, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 28 * DAY, 91 * DAY, 364 * DAY];
  const wanted = ((timeline.to - timeline.from) / timeline.width) * 85;
  const step = steps.find((size) => size >= wanted) || steps[steps.length - 1];
  // Ticks are at whole hours and days of the shown zone.
  const shift = view.isLocal ? new Date(timeline.from).getTimezoneOffset() * MINUTE : 0;
  const found = [];
  for (let at = Math.ceil((timeline.from - shift) / step) * step + shift; at <= timeline.to; at += step) found.push(at);
  return { step, found };
}

function axis() {
  const { step, found } = ticks();
  return plot(LANE_PX, found.map((at) => [
    svg("line", { x1: x(at).toFixed(1), x2: x(at).toFixed(1), y1: 17, y2: LANE_PX, class: "grid" }),
    svg("text", { x: x(at).toFixed(1), y: 14, "text-anchor": x(at) < 30 ? "start" : x(at) > timeline.width - 30 ? "end" : "middle" }, tickText(at, step)),
  ]));
}

// How many processes were alive, as an area.
function aliveLane(doc) {
  const most = Math.max(1, ...doc.alive);
  const slice = (doc.period.to_ms - doc.period.from_ms) / Math.max(1, doc.alive.length);
  let d = "";
  doc.alive.forEach((number, place) => {
    const left = Math.max(0, x(doc.period.from_ms + place * slice));
    const right = Math.min(timeline.width, x(doc.period.from_ms + (place + 1) * slice));
    const top = 32 - (number / most) * 28;
    if (right > left && number > 0) d += `M${left.toFixed(1)} 32V${top.toFixed(1)}H${right.toFixed(1)}V32z`;
  });
  return el("div", { class: "lane alive" }, el("span", {}, `alive, up to ${count(most)}`),
    plot(34, gapShapes(doc, 34), svg("path", { d, class: "area" })));
}

function lane(doc, process) {
  const isSelected = app.selected === process.key;
  return el("div", { class: isSelected ? "lane selected" : "lane", "data-key": process.key },
    el("button", { type: "button", "aria-pressed": isSelected ? "true" : "false", title: `${process.name}: ${process.status}`, click: () => select(process.key) }, process.name),
    plot(LANE_PX, gapShapes(doc, LANE_PX), statePaths(doc, process.spans), markShapes(process.marks)));
}

function plotLeft() {
  const plot = byId("lanes").querySelector(".axis svg");
  return plot ? plot.getBoundingClientRect().left - byId("lanes").getBoundingClientRect().left - byId("lanes").clientLeft : 0;
}

function drawTimeline(doc) {
  const box = byId("lanes");
  const top = box.scrollTop;
  const focused = document.activeElement && document.activeElement.closest("#lanes .lane");
  const key = focused && focused.dataset.key;
  const name = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--name")) * parseFloat(getComputedStyle(document.documentElement).fontSize);
  timeline.width = Math.max(120, box.clientWidth - name);
  const shown = shownProcesses(doc);
  box.replaceChildren(patterns(),
    el("div", { class: "lane axis" }, el("span", {}, zoneName()), axis()),
    aliveLane(doc), ...shown.map((process) => lane(doc, process)));
  box.scrollTop = top;
  if (key) { for (const row of box.querySelectorAll(".lane")) if (row.dataset.key === key) row.querySelector("button").focus({ preventScroll: true }); }
  drawCursor();
  const isWhole = timeline.from <= doc.period.from_ms && timeline.to >= doc.period.to_ms;
  for (const id of ["zoom-out", "earlier", "later", "whole"]) byId(id).disabled = isWhole;
  byId("zoom-in").disabled = timeline.to - timeline.from <= SHORTEST_MS;
}

function drawCursor() {
  const box = byId("lanes");
  box.querySelectorAll(".cursor").forEach((line) => line.remove());
  if (timeline.cursor === null || timeline.cursor < timeline.from || timeline.cursor > timeline.to) return;
  const line = el("div", { class: "cursor" });
  line.style.left = `${plotLeft() + x(timeline.cursor)}px`;
  line.style.height = `${box.scrollHeight}px`;
  box.append(line);
}

// Shows the time from `from` to `to`, within the period.
function show(doc, from, to) {
  const { from_ms: first, to_ms: last } = doc.period;
  const length = Math.min(Math.max(SHORTEST_MS, to - from), last - first);
  timeline.from = Math.min(Math.max(first, from), last - length);
  timeline.to = timeline.from + length;
  drawTimeline(doc);
}

function zoom(doc, factor, around) {
  const length = (timeline.to - timeline.from) * factor;
  const center = around === undefined ? (timeline.from + timeline.to) / 2 : around;
  const part = (center - timeline.from) / (timeline.to - timeline.from);
  show(doc, center - length * part, center + length * (1 - part));
}

const pan = (doc, part) => show(doc, timeline.from + (timeline.to - timeline.from) * part, timeline.to + (timeline.to - timeline.from) * part);

const whole = (doc) => show(doc, doc.period.from_ms, doc.period.to_ms);

// The state of a process in the bucket that contains the time.
function stateAt(doc, process, ms) {
  const bucket = Math.min(doc.period.buckets - 1, Math.floor(((ms - doc.period.from_ms) / (doc.period.to_ms - doc.period.from_ms)) * doc.period.buckets));
  for (let place = 0; place < process.spans.length; place += 3) {
    if (process.spans[place] <= bucket && bucket <= process.spans[place + 1]) return STATES[process.spans[place + 2]];
  }
  return "absent";
}

// Says which processes were alive at the time.
function answerMoment(doc, ms) {
  timeline.cursor = ms;
  if (ms < doc.period.from_ms || ms > doc.period.to_ms) {
    put("answer", "That time is outside of the period of this page.");
    drawCursor();
    return;
  }
  const alive = ["running", "starting", "stopping", "unhealthy"];
  const running = doc.processes.filter((process) => alive.includes(stateAt(doc, process, ms)));
  const names = running.slice(0, 12).map((process) => process.name).join(", ");
  const more = running.length > 12 ? ` and ${count(running.length - 12)} more` : "";
  const gap = doc.gaps.find((one) => one.from_ms <= ms && ms <= one.to_ms);
  const unwatched = gap ? ` ${NO_DAEMON_THEN}` : "";
  const width = (doc.period.to_ms - doc.period.from_ms) / doc.period.buckets;
  const exact = width >= 2000 ? ` (to ${duration(width)})` : "";
  put("answer", el("span", {}, `At ${timeText(ms)} ${zoneName()}${exact}: ${running.length === 0 ? "nothing was running." : `${counted(running.length, "process", "processes")} alive: ${names}${more}.`}${unwatched}`));
  if (ms < timeline.from || ms > timeline.to) show(doc, ms - (timeline.to - timeline.from) / 2, ms + (timeline.to - timeline.from) / 2);
  drawCursor();
}

function legend() {
  const picture = (...children) => svg("svg", { "aria-hidden": "true" }, children);
  const ofState = (name) => el("div", {}, picture(svg("path", { d: `M2 ${SHAPES[name][0]}h40v${SHAPES[name][1]}h-40z`, class: `s-${name}` }),
    name === "unhealthy" ? svg("path", { d: `M2 ${SHAPES[name][0]}h40v${SHAPES[name][1]}h-40z`, fill: "url(#waves)" }) : null), STATE_WORDS[name]);
  const ofMark = (name) => el("div", {}, picture(svg("path", { d: MARK_PATHS[name], class: `m m-${name}`, "fill-rule": "evenodd", transform: "translate(22 12)" })), CLASS_WORDS[name]);
  put("legend-items", Object.keys(SHAPES).map(ofState), CLASSES.map(ofMark), el("div", {}, picture(svg("rect", { x: 2, y: 0, width: 40, height: 24, class: "hatch" })), "no daemon ran"));
}

function timelineControls() {
  const box = byId("lanes");
  const on = (id, act) => byId(id).addEventListener("click", () => act(app.document));
  on("zoom-in", (doc) => zoom(doc, 0.5));
  on("zoom-out", (doc) => zoom(doc, 2));
  on("earlier", (doc) => pan(doc, -0.5));
  on("later", (doc) => pan(doc, 0.5));
  on("whole", whole);
  byId("moment").addEventListener("change", (event) => {
    const value = event.target.value;
    const ms = Date.parse(view.isLocal ? value : `${value}Z`);
    if (Number.isFinite(ms)) answerMoment(app.document, ms);
    else { timeline.cursor = null; put("answer"); drawCursor(); }
  });
  const keys = { "+": (doc) => zoom(doc, 0.5), "=": (doc) => zoom(doc, 0.5), "-": (doc) => zoom(doc, 2), ArrowLeft: (doc) => pan(doc, -0.25), ArrowRight: (doc) => pan(doc, 0.25), 0: whole };
  box.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act(app.document);
  });
  const timeAt = (event) => timeline.from + ((event.clientX - box.getBoundingClientRect().left - box.clientLeft - plotLeft()) / timeline.width) * (timeline.to - timeline.from);
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(app.document, event.deltaY > 0 ? 1.25 : 0.8, timeAt(event));
  }, { passive: false });
  box.addEventListener("pointerdown", (event) => {
    const row = event.target.closest(".lane");
    if (event.button !== 0 || !row || !event.target.closest("svg")) return;
    timeline.drag = { from: timeAt(event), x: event.clientX, key: row.dataset.key, range: null };
  });
  window.addEventListener("pointermove", (event) => {
    const drag = timeline.drag;
    if (!drag || Math.abs(event.clientX - drag.x) < 6) return;
    if (!drag.range) { drag.range = el("div", { class: "range" }); box.append(drag.range); }
    const [left, right] = [x(drag.from), x(timeAt(event))].map((at) => Math.min(Math.max(at, 0), timeline.width)).sort((one, other) => one - other);
    drag.range.style.left = `${plotLeft() + left}px`;
    drag.range.style.width = `${right - left}px`;
    drag.range.style.height = `${box.scrollHeight}px`;
  });
  window.addEventListener("pointerup", (event) => {
    const drag = timeline.drag;
    timeline.drag = null;
    if (!drag) return;
    if (drag.range) {
      drag.range.remove();
      const [from, to] = [drag.from, timeAt(event)].sort((one, other) => one - other);
      show(app.document, from, to);
    } else if (drag.key) select(drag.key);
  });
  window.addEventListener("pointercancel", () => { if (timeline.drag && timeline.drag.range) timeline.drag.range.remove(); timeline.drag = null; });
  let width = 0;
  new ResizeObserver(() => {
    if (app.document && box.clientWidth !== width) { width = box.clientWidth; drawTimeline(app.document); }
  }).observe(box);
}
