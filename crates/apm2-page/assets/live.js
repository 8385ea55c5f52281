// The live page: events come from the server, and the document is fetched again after changes.

// Latest events that are kept.
const EVENTS_MAX = 200;

// Shortest time between two fetches of the document.
const FETCH_PAUSE_MS = 1000;

// A document that took long to make is fetched less often, so that making it takes at most this part of the time.
const FETCH_PART = 10;

// Pause before the events are asked for again, if the server refused.
const FOLLOW_PAUSE_MS = 5000;

// `problem` is why there is no document; `isOpen` is whether events arrive.
const live = { events: [], isFetching: false, isStale: false, isOpen: false, problem: "", evidence: null };

function drawLive() {
  const text = `${live.isOpen ? "" : "Connection lost, trying again. "}${live.problem && `No data: ${live.problem}`}`.trim();
  const line = byId("live");
  line.hidden = false;
  line.className = text ? "lost" : "";
  if (line.textContent !== (text || "Live")) line.textContent = text || "Live";
}

// What the server answers. An error has its words.
async function answerTo(path, options) {
  const answer = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  if (!answer.ok) throw new Error(visible((await answer.text()).trim() || answer.statusText).slice(0, 300));
  return answer;
}

async function fetchDocument() {
  if (live.isFetching) { live.isStale = true; return; }
  live.isFetching = true;
  live.isStale = false;
  let pause = FETCH_PAUSE_MS;
  try {
    const doc = await (await answerTo("document.json")).json();
    pause = Math.max(pause, doc.made_in_ms * FETCH_PART);
    take(doc);
    live.problem = "";
  } catch (error) {
    live.problem = error.message;
    live.isStale = true;
    pause = 5 * FETCH_PAUSE_MS;
  }
  drawLive();
  setTimeout(() => {
    live.isFetching = false;
    if (live.isStale) fetchDocument();
  }, pause);
}

function drawEvents() {
  reveal("events", live.events.length > 0);
  put("events-body", table("Latest events", [
    { name: "Time", cell: (one) => time(one.at_ms) }, { name: "Process", cell: (one) => one.name }, { name: "Event", cell: (one) => one.type }, { name: "Details", kind: "text", cell: (one) => one.text },
  ], live.events.slice(0, 30)));
}

function keepEvent(event) {
  live.events.unshift(event);
  live.events.length = Math.min(live.events.length, EVENTS_MAX);
  drawEvents();
}

// Some events did not arrive; the document has what they changed.
function missEvents() {
  if (live.events.length > 0) keepEvent({ at_ms: null, name: "-", type: "-", text: "Events are missing in this list." });
  fetchDocument();
}

function follow() {
  const source = new EventSource("events");
  source.addEventListener("open", () => { live.isOpen = true; drawLive(); missEvents(); });
  source.addEventListener("error", () => {
    live.isOpen = false;
    drawLive();
    // A browser does not ask again if it was refused, as for too many pages, or by a server that was started again.
    if (source.readyState === EventSource.CLOSED) { fetchDocument(); setTimeout(follow, FOLLOW_PAUSE_MS); }
  });
  source.addEventListener("change", (message) => { keepEvent(JSON.parse(message.data)); fetchDocument(); });
  source.addEventListener("resync", missEvents);
}

async function verify() {
  live.evidence = { isMade: false };
  drawEvidence(app.document);
  try {
    const found = await (await answerTo("evidence.json")).json();
    live.evidence = { isMade: true, at_ms: Date.now(), found };
  } catch (error) {
    live.evidence = { isMade: true, at_ms: Date.now(), found: { verdict: `The ledger was not verified: ${error.message}`, tone: "bad", facts: [], findings: [] } };
  }
  drawEvidence(app.document);
}

// What was verified on request, and the button for it.
function verification() {
  const made = live.evidence;
  const isBusy = made && !made.isMade;
  return [
    made ? null : el("p", {}, "Not verified by this page: that reads the whole ledger."),
    el("p", { class: "buttons" }, el("button", { type: "button", id: "verify", disabled: isBusy, click: verify }, isBusy ? "Verifying" : made ? "Verify again" : "Verify now")),
    made && made.isMade ? [el("p", {}, "Verified at ", time(made.at_ms), ` ${zoneName()}:`), evidenceParts(made.found)] : null,
  ];
}

function ask(action, process) {
  const dialog = byId("ask");
  byId("ask-title").textContent = visible(`${action} ${process.name}?`);
  byId("reason").value = "";
  dialog.returnValue = "no";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "yes") return;
    const body = JSON.stringify({ action, process: process.key, reason: byId("reason").value });
    let result;
    try {
      result = await (await answerTo("control", { method: "POST", headers: { "Content-Type": "application/json" }, body })).text();
    } catch (error) {
      result = error.message;
    }
    put("asked", el("p", { class: "notice" }, result));
  };
  dialog.showModal();
  byId("reason").focus();
}
