// The live page: events come from the server, and the document is fetched again after changes.

// Latest events that are kept.
const EVENTS_MAX = 200;

// Shortest time between two fetches of the document.
const FETCH_PAUSE_MS = 1000;

// A document that took long to make is fetched less often, so that making it takes at most this part of the time.
const FETCH_PART = 10;

const live = { events: [], timer: null, isFetching: false, isStale: false };

function liveState(text, isLost) {
  const line = byId("live");
  line.hidden = false;
  line.className = isLost ? "lost" : "";
  if (line.textContent !== text) line.textContent = text;
}

async function fetchDocument() {
  if (live.isFetching) { live.isStale = true; return; }
  live.isFetching = true;
  live.isStale = false;
  let pause = FETCH_PAUSE_MS;
  try {
    const answer = await fetch("document.json", { cache: "no-store", credentials: "same-origin" });
    if (!answer.ok) throw new Error(await answer.text());
    const doc = await answer.json();
    pause = Math.max(pause, doc.made_in_ms * FETCH_PART);
    take(doc);
    liveState("Live", false);
  } catch (error) {
    liveState(`No data: ${visible(error.message).slice(0, 200)}`, true);
    live.isStale = true;
    pause = 5 * FETCH_PAUSE_MS;
  }
  live.timer = setTimeout(() => {
    live.timer = null;
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

function follow() {
  const source = new EventSource("events");
  source.addEventListener("open", () => { liveState("Live", false); fetchDocument(); });
  source.addEventListener("error", () => liveState("Connection lost, trying again", true));
  source.addEventListener("change", (message) => {
    live.events.unshift(JSON.parse(message.data));
    live.events.length = Math.min(live.events.length, EVENTS_MAX);
    drawEvents();
    fetchDocument();
  });
  // Events were left out because this page did not read fast enough.
  source.addEventListener("resync", () => { live.events = []; drawEvents(); fetchDocument(); });
}

function ask(action, process) {
  const dialog = byId("ask");
  byId("ask-title").textContent = visible(`${action} ${process.name}?`);
  byId("reason").value = "";
  dialog.returnValue = "no";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "yes") return;
    const body = JSON.stringify({ action, process: process.name, reason: byId("reason").value });
    try {
      const answer = await fetch("control", { method: "POST", headers: { "Content-Type": "application/json" }, credentials: "same-origin", body });
      const text = await answer.text();
      put("notices", el("p", { class: "notice" }, text));
    } catch (error) {
      put("notices", el("p", { class: "notice" }, error.message));
    }
  };
  dialog.showModal();
  byId("reason").focus();
}
