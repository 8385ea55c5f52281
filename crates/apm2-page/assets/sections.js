// The sections of the page other than the timeline.

// Rows of a table of use.
const USE_SHOWN_MAX = 20;

const link = (process) => el("button", { type: "button", class: "link name", title: process.name, click: () => select(process.key) }, process.name);

// A process by its key and name: a link, if the page has it.
function named(doc, one) {
  const process = doc.processes.find((other) => other.key === one.key);
  return process ? link(process) : el("strong", { class: "name" }, one.name);
}

const andMore = (more) => (more > 0 ? ` and ${count(more)} more` : null);

// Names that are shown at once; the others open.
const NAMES_SHOWN = 6;

// The processes of a request: the first ones, and the others on demand.
function processNames(doc, request) {
  const names = (some) => some.map((one, place) => [place > 0 ? ", " : null, named(doc, one)]);
  const others = request.processes.slice(NAMES_SHOWN);
  const unlisted = request.more > 0 ? ` and ${count(request.more)} more, see \`apm2-ledger timeline --limit all\`` : null;
  return [names(request.processes.slice(0, NAMES_SHOWN)),
    others.length > 0 ? el("details", {}, el("summary", {}, andMore(others.length + request.more).trim()), names(others), unlisted) : unlisted];
}

// Where the parts of an answer are that are left out.
function elsewhere(fact) {
  if (!fact.more_in) return null;
  const text = fact.more > 0 ? `${andMore(fact.more).trim()}, see ` : "all names: ";
  return el("p", { class: "help" }, text, el("a", { href: `#${fact.more_in}` }, byId(`${fact.more_in}-title`).textContent));
}

// The address of an answer on the page.
const factId = (fact) => `fact-${fact.question.toLowerCase().replace(/[^a-z]+/g, "-").replace(/-$/, "")}`;

function drawHead(doc) {
  byId("title").textContent = app.isLive ? "Processes, live" : "Process report";
  document.title = app.isLive ? "apm2-ledger: live" : "apm2-ledger: process report";
  put("subtitle", el("span", {}, `${doc.ledger.path} · `), time(doc.period.from_ms), " to ", time(doc.period.to_ms), el("span", {}, ` ${zoneName()} (${duration(doc.period.to_ms - doc.period.from_ms)}) · ${counted(doc.ledger.events, "event")}`));
  put("notices", doc.notices.map((text) => el("p", { class: "notice" }, withTimes(text))));
  put("made", el("span", {}, `Made by apm2-ledger ${doc.program} at `), time(doc.made_at_ms), el("span", {}, ` ${zoneName()}; document version ${doc.version}.`));
}

// A part of an answer: the process, the answer, and below the time, the cause and the last line.
function factPart(doc, part) {
  const times = part.at_ms === null ? null : [timeIn(doc.period, part.at_ms), part.until_ms === null ? null : [" to ", timeIn(doc.period, part.until_ms)]];
  const hasBoth = times && part.details !== "";
  return el("div", { class: "part" },
    el("p", { class: "answer" }, part.process ? [named(doc, part.process), " "] : null, part.answer),
    times || part.details ? el("p", { class: "help" }, times, hasBoth ? ": " : null, part.details) : null,
    part.last_line === null ? null : el("p", { class: "help" }, "last line: ", el("q", {}, part.last_line)),
    part.parts.length > 0 ? el("ul", {}, part.parts.map((one) => el("li", {}, factPart(doc, one))), part.more > 0 ? el("li", {}, andMore(part.more).trim()) : null) : null);
}

function drawFacts(doc) {
  if (doc.processes.length === 0) {
    put("facts", el("p", {}, doc.ledger.events === 0 ? "Nothing is recorded in this ledger yet. `apm2-ledger run -- COMMAND` records a first process." : "No process was recorded in this period. A longer one, such as --since '7 days ago', may have some."));
    return;
  }
  put("facts", doc.facts.map((fact) => el("div", { class: `fact ${fact.tone}`, id: factId(fact) },
    el("h3", {}, el("a", { href: `#${factId(fact)}` }, fact.question)),
    fact.answer === "" ? null : el("p", { class: "answer" }, fact.answer),
    fact.parts.map((part) => factPart(doc, part)),
    elsewhere(fact))));
}

function shownProcesses(doc) {
  const wanted = app.filter.trim().toLowerCase();
  const accepts = {
    all: () => true,
    down: (process) => process.is_down,
    trouble: (process) => process.crashes > 0 || process.refusals > 0 || process.is_down || process.restarts > 0,
    agents: (process) => process.agent !== null,
  };
  return doc.processes.filter((process) => accepts[app.only](process) && (wanted === "" || visible(process.name).toLowerCase().includes(wanted) || visible(process.status).toLowerCase().includes(wanted)));
}

const COLUMNS = [
  { name: "Process", value: (one) => one.name, cell: (one) => link(one) },
  { name: "State", value: (one) => one.status, cell: state },
  { name: "Restarts", kind: "number", value: (one) => one.restarts, cell: (one) => count(one.restarts) },
  { name: "Crashes", kind: "number", value: (one) => one.crashes, cell: (one) => count(one.crashes) },
  { name: "Up", kind: "number", value: (one) => one.up_share ?? -1, cell: (one) => share(one.up_share) },
  { name: "Down, unplanned", kind: "number", value: (one) => one.outage_ms, cell: (one) => (one.outage_ms > 0 ? duration(one.outage_ms) : "-") },
  { name: "Processor, most", kind: "number", value: (one) => one.cpu_max ?? -1, cell: (one) => cpu(one.cpu_max) },
  { name: "Memory, most", kind: "number", value: (one) => one.memory_max ?? -1, cell: (one) => bytes(one.memory_max) },
  { name: "Cost", kind: "number", value: (one) => (one.agent && one.agent.cost_micros) ?? -1, cell: (one) => money(one.agent && one.agent.cost_micros) },
];

function sortBy(name) {
  app.sort = app.sort.name === name ? { name, isDown: !app.sort.isDown } : { name, isDown: name !== "Process" && name !== "State" };
  drawProcesses(app.document);
  const button = [...byId("processes-table").querySelectorAll("th button")].find((one) => one.dataset.column === name);
  if (button) button.focus();
}

function drawProcesses(doc) {
  const shown = shownProcesses(doc);
  const sorting = COLUMNS.find((column) => column.name === app.sort.name);
  if (sorting) {
    const order = (one, other) => (sorting.value(one) < sorting.value(other) ? -1 : sorting.value(one) > sorting.value(other) ? 1 : 0);
    shown.sort((one, other) => (app.sort.isDown ? -1 : 1) * order(one, other));
  }
  const columns = COLUMNS.map((column) => {
    const isSorted = column.name === app.sort.name;
    const arrow = isSorted ? (app.sort.isDown ? " ↓" : " ↑") : "";
    return { ...column, sorted: isSorted ? (app.sort.isDown ? "descending" : "ascending") : null, title: el("button", { type: "button", "data-column": column.name, click: () => sortBy(column.name) }, column.name + arrow) };
  });
  const all = doc.processes.length + doc.processes_left_out;
  put("processes-note", el("span", {}, shown.length === all ? `${count(all)} in the period.` : `${count(shown.length)} of ${count(all)} in the period are shown.`));
  put("processes-table", table("Processes", columns, shown, (one) => ({ class: one.key === app.selected ? "selected" : null })));
}

function output(lastOutput) {
  const stream = (name, text) => (text === "" ? null : [el("h3", {}, `Last lines of ${name}, run ${count(lastOutput.run)}`), pre(text)]);
  const cut = lastOutput.left_out_bytes > 0 ? el("p", { class: "help" }, `${bytes(lastOutput.left_out_bytes)} before these lines were left out of this page.`) : null;
  return [stream("stderr", lastOutput.stderr), stream("stdout", lastOutput.stdout), cut];
}

function pre(text) {
  const box = el("pre", { tabindex: "0" });
  box.append(visibleLines(text));
  return box;
}

function story(process) {
  if (!process.story) return [el("p", { class: "help" }, `The story of this process is not on this page; \`apm2-ledger why ${process.name}\` tells it.`)];
  return [
    el("p", {}, withTimes(process.story.headline)),
    el("ol", { class: "story" }, process.story.causes.map((cause) => el("li", {}, withTimes(cause.text), el("span", { class: "help" }, ` [event ${cause.seq}]`)))),
    process.story.is_cut ? el("p", { class: "help" }, "Earlier causes were left out.") : null,
  ];
}

function agentPairs(agent) {
  return pairs([
    ["Agent", agent.kind], agent.model && ["Model", agent.model], agent.session && ["Session", agent.session], ["Activity", agent.activity],
    ["Turns", count(agent.turns)], ["Tool calls", count(agent.tool_calls)], ["Input tokens", count(agent.input_tokens)], ["Output tokens", count(agent.output_tokens)],
    ["Cost in the period", money(agent.cost_micros)],
  ]);
}

function drawProcess(doc) {
  const process = doc.processes.find((one) => one.key === app.selected);
  reveal("process", Boolean(process));
  if (!process) return;
  byId("process-title").textContent = visible(process.name);
  const ends = process.ends.length > 0 ? [el("h3", {}, "How its runs ended"), table("Ends of runs", [
    { name: "End", cell: (end) => end.text }, { name: "Runs", kind: "number", cell: (end) => count(end.count) },
  ], process.ends)] : [];
  put("process-body",
    app.canControl ? el("p", { class: "buttons" }, ["start", "stop", "restart"].map((action) => el("button", { type: "button", click: () => ask(action, process) }, action[0].toUpperCase() + action.slice(1)))) : null,
    el("p", {}, state(process), el("span", { class: "help" }, ` · ${process.command}`)),
    el("div", { class: "columns" },
      el("div", {}, el("h3", {}, "Why it is in this state"), story(process), process.last_output ? output(process.last_output) : null),
      el("div", {}, process.agent ? [el("h3", {}, "Agent"), agentPairs(process.agent)] : null, ends,
        process.memory ? [el("h3", {}, "Memory and processor"), chart(doc, process.memory, "Memory", bytes), chart(doc, process.cpu, "Processor", cpu)] : null)));
}

function drawRestarts(doc) {
  const rows = doc.processes.filter((one) => one.restarts > 0 || one.crashes > 0 || one.refusals > 0).sort((one, other) => other.restarts - one.restarts || other.crashes - one.crashes);
  reveal("restarts", rows.length > 0);
  put("restarts-body", table("Restarts and causes", [
    { name: "Process", cell: link }, { name: "Restarts", kind: "number", cell: (one) => count(one.restarts) }, { name: "Crashes", kind: "number", cell: (one) => count(one.crashes) },
    { name: "Given up", kind: "number", cell: (one) => count(one.refusals) },
    { name: "How its runs ended", kind: "text", cell: (one) => one.ends.map((end) => `${end.text}${end.count > 1 ? ` (${count(end.count)} times)` : ""}`).join(", ") },
    { name: "Longest outage", kind: "number", cell: (one) => (one.longest_outage_ms > 0 ? duration(one.longest_outage_ms) : "-") },
  ], rows), doc.refusals.length > 0 ? [el("h3", {}, "Restarts that were refused"), table("Refused restarts", [
    { name: "Time", cell: (one) => time(one.at_ms) }, { name: "Process", cell: (one) => named(doc, one.process) }, { name: "Why", kind: "text", cell: (one) => one.text },
  ], doc.refusals)] : null);
}

function drawUse(doc) {
  const measured = doc.processes.filter((one) => one.memory).sort((one, other) => other.memory_max - one.memory_max);
  reveal("use", measured.length > 0);
  if (measured.length === 0) return;
  put("use-body", table("Memory and processor over the period", [
    { name: "Process", cell: link },
    { name: "Memory over the period", cell: (one) => spark(one.memory, `memory, at most ${bytes(one.memory_max)}`) }, { name: "Memory, mean", kind: "number", cell: (one) => bytes(one.memory_mean) }, { name: "Most", kind: "number", cell: (one) => bytes(one.memory_max) },
    { name: "Processor over the period", cell: (one) => spark(one.cpu, `processor, at most ${cpu(one.cpu_max)}`) }, { name: "Processor, mean", kind: "number", cell: (one) => cpu(one.cpu_mean) }, { name: "Most", kind: "number", cell: (one) => cpu(one.cpu_max) },
  ], measured.slice(0, USE_SHOWN_MAX)), measured.length > USE_SHOWN_MAX ? el("p", { class: "help" }, `The ${USE_SHOWN_MAX} that used most memory, of ${count(measured.length)}.`) : null);
}

function drawAgents(doc) {
  const rows = doc.processes.filter((one) => one.agent).sort((one, other) => (other.agent.cost_micros ?? 0) - (one.agent.cost_micros ?? 0));
  reveal("agents", rows.length > 0);
  if (rows.length === 0) return;
  const figures = (of) => [
    { name: "Turns", kind: "number", cell: (one) => count(of(one).turns) }, { name: "Tool calls", kind: "number", cell: (one) => count(of(one).tool_calls) },
    { name: "Input tokens", kind: "number", cell: (one) => count(of(one).input_tokens) }, { name: "Output tokens", kind: "number", cell: (one) => count(of(one).output_tokens) }, { name: "Cost", kind: "number", cell: (one) => money(of(one).cost_micros) },
  ];
  const grouped = (title, groups) => (groups.length > 0 ? el("div", {}, el("h3", {}, `By ${title.toLowerCase()}`), table(`Use of agents by ${title.toLowerCase()}`, [{ name: title, cell: (one) => one.name }, ...figures((one) => one)], groups)) : null);
  put("agents-body", table("Agents", [
    { name: "Process", cell: link }, { name: "Agent", cell: (one) => one.agent.kind }, { name: "Model", cell: (one) => one.agent.model || "-" }, { name: "Activity", kind: "text", cell: (one) => one.agent.activity }, ...figures((one) => one.agent),
  ], rows), grouped("Model", doc.spending.by_model), grouped("Day", doc.spending.by_day));
}

function drawWatch(doc) {
  reveal("watch", doc.gaps.length > 0 || doc.unseen.length > 0 || doc.requests.length > 0);
  const noted = (all, listed) => (all > listed ? el("p", { class: "help" }, `${count(listed)} of ${count(all)} are listed.`) : null);
  const section = (title, columns, rows, all) => (rows.length > 0 ? [el("h3", {}, title), table(title, columns, rows), noted(all, rows.length)] : null);
  put("watch-body",
    section("When no daemon ran", [
      { name: "From", cell: (one) => time(one.from_ms) }, { name: "To", cell: (one) => (one.is_open ? "now" : time(one.to_ms)) }, { name: "Length", kind: "number", cell: (one) => duration(one.length_ms) },
      { name: "Why", kind: "text", cell: (one) => one.cause },
    ], doc.gaps, doc.gaps_count),
    section("What ended unseen", [
      { name: "Process", cell: (one) => named(doc, one.process) }, { name: "Last seen", cell: (one) => time(one.from_ms) }, { name: "Found", cell: (one) => time(one.to_ms) }, { name: "How it ended", kind: "text", cell: (one) => one.text || "-" },
    ], doc.unseen, doc.unseen_count),
    section("What persons asked for", [
      { name: "Time", cell: (one) => time(one.at_ms) }, { name: "Who", cell: (one) => one.who }, { name: "What", cell: (one) => one.what },
      { name: "Processes", kind: "text", cell: (one) => processNames(doc, one) }, { name: "Reason", kind: "text", cell: (one) => one.reason || "-" },
    ], doc.requests, doc.requests_count));
}

function evidenceParts(evidence) {
  return [el("p", {}, el("span", { class: `mark ${evidence.tone}`, "aria-hidden": "true" }, MARKS[evidence.tone]), evidence.verdict), pairs(evidence.facts.map((fact) => [fact.name, fact.value])),
    evidence.findings.length > 0 ? table("Findings", [{ name: "Events", cell: (one) => one.events }, { name: "Kind", cell: (one) => one.kind }, { name: "Finding", kind: "text", cell: (one) => one.message }], evidence.findings) : null];
}

function drawEvidence(doc) {
  reveal("evidence", app.isLive || doc.evidence !== null);
  put("evidence-body", app.isLive ? verification() : doc.evidence && evidenceParts(doc.evidence));
}

// All stories are in the print, where nothing can be selected.
function drawStories(doc) {
  const told = doc.processes.filter((one) => one.story);
  reveal("stories", told.length > 0);
  put("stories-body", told.flatMap((one) => [el("h3", {}, one.name), ...story(one), ...(one.last_output ? output(one.last_output).flat() : [])]));
}
