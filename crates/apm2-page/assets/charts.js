// Memory and processor over the period.

// The line through the values of equal parts; a part without a value interrupts it.
function linePath(values, most, width, height) {
  const step = width / values.length;
  let d = "";
  let isOpen = false;
  values.forEach((value, place) => {
    if (value === null) { isOpen = false; return; }
    const at = `${(place * step + step / 2).toFixed(1)} ${(height - (value / most) * height).toFixed(1)}`;
    d += isOpen ? `L${at}` : `M${at}h0.1`;
    isOpen = true;
  });
  return d;
}

// A small picture of a series.
function spark(series, label) {
  const most = Math.max(1, ...series.max.filter((value) => value !== null));
  return svg("svg", { class: "spark", viewBox: "0 -2 150 28", preserveAspectRatio: "none", role: "img", "aria-label": label }, svg("path", { d: linePath(series.max, most, 150, 24), class: "stroke" }));
}

// A chart of a series with the mean and the greatest value of each part.
function chart(doc, series, words, text) {
  const [width, height] = [600, 90];
  const most = Math.max(1, ...series.max.filter((value) => value !== null));
  const label = `${words} from ${timeText(doc.period.from_ms)} to ${timeText(doc.period.to_ms)}, at most ${text(most)}`;
  return el("figure", { class: "figure" }, el("figcaption", { class: "help" }, `${words}: line mean, dashes greatest value; at most ${text(most)}`),
    svg("svg", { class: "chart", viewBox: `0 -4 ${width} ${height + 24}`, role: "img", "aria-label": label },
      svg("line", { x1: 0, x2: width, y1: height, y2: height, class: "grid" }), svg("line", { x1: 0, x2: width, y1: 0, y2: 0, class: "grid" }),
      svg("path", { d: linePath(series.max, most, width, height), class: "stroke most" }), svg("path", { d: linePath(series.mean, most, width, height), class: "stroke" }),
      svg("text", { x: 2, y: height + 16 }, timeText(doc.period.from_ms)), svg("text", { x: width - 2, y: height + 16, "text-anchor": "end" }, timeText(doc.period.to_ms))));
}
