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
const time = (ms, text = timeText) => (ms === null || ms === undefined ? "-" : el("time", { class: "time", datetime: new Date(ms).toISOString(), title: `${timeText(ms)}.${parts(ms).milli} ${zoneName()}` }, text(ms)));

// A time of a period, without its day if the whole period is in one day.
function timeIn(period, ms) {
  const isOneDay = parts(period.from_ms).day === parts(period.to_ms).day;
  return time(ms, isOneDay ? (at) => timeText(at).slice(11) : timeText);
}

// The text of a tick of an axis with this distance between its ticks.
function tickText(ms, step) {
  const at = parts(ms);
  if (step >= DAY) return at.day;
  if (at.minute === "00:00" && at.second === "00" && step >= MINUTE) return at.day.slice(5);
  if (step >= MINUTE) return at.minute;
  return step >= 1000 ? `${at.minute}:${at.second}` : `${at.minute}:${at.second}.${at.milli}`;
}

// The two largest units, as the commands print a duration: 3h 12m, 1s 250ms.
function duration(ms) {
  if (ms === null || ms === undefined) return "-";
  let rest = Math.floor(ms);
  const units = [];
  for (const [unit, size] of [["day", DAY], ["h", HOUR], ["m", MINUTE], ["s", 1000], ["ms", 1]]) {
    const number = Math.floor(rest / size);
    if (number > 0) units.push(`${number}${unit}${unit === "day" && number > 1 ? "s" : ""}`);
    rest %= size;
  }
  return units.slice(0, 2).join(" ") || "0s";
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

// Millionths of a US dollar: rounded to a cent, or exact if it is less than one.
const money = (micros) => (micros === null || micros === undefined ? "-" : `$${(micros / 1e6).toFixed(micros > 0 && micros < 10_000 ? 6 : 2)}`);

// A text with the times in it as elements, in the zone of the page.
const withTimes = (text) => String(text).split(/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)/).map((part, place) => (place % 2 === 1 && !Number.isNaN(Date.parse(part)) ? time(Date.parse(part)) : part));

const MARKS = { good: "●", bad: "✕", warn: "▲", calm: "○" };

// The state as a shape and a word, so that it does not depend on colour.
const state = (process) => [el("span", { class: `mark ${process.tone}`, "aria-hidden": "true" }, MARKS[process.tone] || MARKS.calm), process.status];
