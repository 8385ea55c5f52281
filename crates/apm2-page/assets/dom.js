"use strict";
// Makes elements. All text that the page shows passes through `text`, and nothing is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

// Characters that control, hide or reorder text: those that the command escapes on a terminal. U+FE0E and U+FE0F select the
// text or emoji form of a character and occur in ordinary text.
const UNSAFE = /(?![\ufe0e\ufe0f])[\p{Cc}\p{Default_Ignorable_Code_Point}\u2028\u2029\ufff9-\ufffb]/gu;

function escaped(character) {
  const code = character.codePointAt(0);
  const digits = (length) => code.toString(16).padStart(length, "0");
  if (character === "\n") return "\\n";
  if (character === "\r") return "\\r";
  if (character === "\t") return "\\t";
  if (code < 0x80) return `\\x${digits(2)}`;
  return code < 0x10000 ? `\\u${digits(4)}` : `\\U${digits(8)}`;
}

// The text with what cannot be seen written out.
const visible = (value) => String(value).replace(UNSAFE, escaped);

// The same for several lines: line feeds and tabs stay.
const visibleLines = (value) => String(value).replace(UNSAFE, (one) => (one === "\n" || one === "\t" ? one : escaped(one)));

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : visible(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : visible(child));
  }
  return node;
}

// An HTML element. A function among the attributes listens to the event of its name.
const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);

const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

const byId = (id) => document.getElementById(id);

// Replaces the content. What was scrolled in it stays where it was.
function put(id, ...children) {
  const box = byId(id);
  const places = [...box.querySelectorAll(".scroll, pre")].map((one) => [one.scrollTop, one.scrollLeft]);
  box.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  if (!places.flat().some(Boolean)) return;
  box.querySelectorAll(".scroll, pre").forEach((one, place) => { if (places[place]) [one.scrollTop, one.scrollLeft] = places[place]; });
}

const reveal = (id, isShown) => { byId(id).hidden = !isShown; };

// A table. A column is `{name, kind, cell}`; `cell` gives the content for a row.
function table(caption, columns, rows, rowAttributes) {
  const head = columns.map((column) => el("th", { scope: "col", class: column.kind, "aria-sort": column.sorted }, column.title || column.name));
  const line = (row) => el("tr", rowAttributes ? rowAttributes(row) : {}, columns.map((column, place) =>
    el(place === 0 ? "th" : "td", { class: column.kind, scope: place === 0 ? "row" : null }, column.cell(row))));
  const body = rows.length > 0 ? rows.map(line) : el("tr", {}, el("td", { colspan: columns.length }, "none"));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", { "aria-label": caption }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

const pairs = (entries) => el("dl", { class: "pairs" }, entries.filter(Boolean).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
