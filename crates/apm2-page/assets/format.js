// Figures and times as text.

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

const view = { isLocal: false };

const two = (number) => String(number).padStart(2, "0");

function parts(ms) {
  const date = new Date(ms);
  const get = (name) => date[(view.isLocal ? "get" : "getUTC") + name]();
  return {
    day: `${get("FullYear")}-${two(get("Month") + 1)}-${two(get("Date"))}`,
    minute: `${two(get("Hours"))}:${two(get("Minutes"))}`,
    second: two(get("Seconds")),
    milli: String(get("Milliseconds")).padStart(3, "0"),
  };
}

const zoneName = () => (view.isLocal ? "local time" : "UTC");

function timeText(ms) {
  const time = parts(ms);
  return `${time.day} ${time.minute}:${time.second}`;
}

// A time as an element with the exact time as its title.
const time = (ms) => (ms === null || ms === undefined ? "-" : el("time", { class: "time", datetime: new Date(ms).toISOString(), title: new Date(ms).toISOString() }, timeText(ms)));

// The text of a tick of an axis with this distance between its ticks.
function tickText(ms, step) {
  const at = parts(ms);
  if (step >= DAY) return at.day;
  if (at.minute === "00:00" && at.second === "00" && step >= MINUTE) return at.day.slice(5);
  if (step >= MINUTE) return at.minute;
  return step >= 1000 ? `${at.minute}:${at.second}` : `${at.minute}:${at.second}.${at.milli}`;
}

function duration(ms) {
  if (ms === null || ms === undefined) return "-";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const units = [["d", DAY], ["h", HOUR], ["min", MINUTE], ["s", 1000]];
  const first = units.findIndex(([, size]) => ms >= size);
  const [unit, size] = units[first];
  const whole = Math.floor(ms / size);
  const next = units[first + 1];
  const rest = next ? Math.floor((ms % size) / next[1]) : 0;
  return rest > 0 ? `${whole} ${unit} ${rest} ${next[0]}` : `${whole} ${unit}`;
}

const count = (number) => (number === null || number === undefined ? "-" : Number(number).toLocaleString("en-US"));

const counted = (number, noun, nouns = `${noun}s`) => `${count(number)} ${number === 1 ? noun : nouns}`;

function bytes(number) {
  if (number === null || number === undefined) return "-";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  let value = number;
  while (value >= 1024 && place < units.length - 1) { value /= 1024; place += 1; }
  return place === 0 ? `${value} B` : `${value.toFixed(1)} ${units[place]}`;
}

// Hundredths of a percent of one core.
const cpu = (value) => (value === null || value === undefined ? "-" : `${(value / 100).toFixed(1)} %`);

const share = (value) => (value === null || value === undefined ? "-" : `${(Math.floor(value * 1000) / 10).toFixed(1)} %`);

// Millionths of a US dollar.
const money = (micros) => (micros === null || micros === undefined ? "-" : `$${(micros / 1e6).toFixed(micros < 10_000_000 ? 4 : 2)}`);

const MARKS = { good: "●", bad: "✕", warn: "▲", calm: "○" };

// The state as a shape and a word, so that it does not depend on colour.
const state = (process) => [el("span", { class: `mark ${process.tone}`, "aria-hidden": "true" }, MARKS[process.tone] || MARKS.calm), process.status];
