// The patient's last hours on one axis, drawn as small charts under each other: vitals, labs, and what happened.

import { el, svg } from "./dom.js";
import { moment } from "./words.js";

const WIDTH = 400;
const LEFT = 62;
const RIGHT = 90;
const HEIGHT = 26;
const HOUR = 3_600_000;
const FLAGS = { HH: "critically high", LL: "critically low", AA: "critically abnormal", H: "high", L: "low", A: "abnormal" };
const SHAPES = { image: "■", order: "◇", report: "✎", adt: "▸" };

/** The charts and the list of events. `readyAt`: when this study's first image was there, drawn through all of them. */
export function drawTimeline({ series, marks, retracted }, { now, readyAt }) {
  if (!series.length && !marks.length) return [el("p.small", {}, "Nothing is known of this patient’s vitals or labs.")];
  const start = startOf(series, now);
  const x = (at) => LEFT + ((at - start) / (now - start)) * (WIDTH - LEFT - RIGHT);
  return [
    series.length ? charts(series, { x, start, now, readyAt }) : el("p.small", {}, "No vitals or labs yet."),
    retracted ? el("p.small", {}, `${retracted} retracted ${retracted === 1 ? "value is" : "values are"} not shown.`) : null,
    events(marks, now),
  ].filter(Boolean);
}

function startOf(series, now) {
  const times = series.flatMap(({ points }) => points.map((point) => Date.parse(point.at)));
  const first = Math.min(...times.filter((at) => now - at <= 72 * HOUR), now - HOUR / 4);
  const grain = now - first > HOUR ? HOUR : HOUR / 4;
  return now - Math.ceil((now - first) / grain) * grain;
}

function charts(series, { x, start, now, readyAt }) {
  const height = series.length * HEIGHT + 18;
  const image = svg("svg", { class: "timeline", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": spoken(series, now) });
  const bottom = height - 16;
  for (const at of ticks(start, now)) {
    image.append(
      svg("line", { class: "grid", x1: x(at), x2: x(at), y1: 0, y2: bottom }),
      svg("text", { x: x(at), y: height - 3, "text-anchor": "middle" }, moment(at, now)),
    );
  }
  series.forEach((one, index) => image.append(...chart(one, index * HEIGHT, { x, start, now })));
  const ready = Date.parse(readyAt);
  if (ready > start) image.append(svg("line", { class: "study-line", x1: x(ready), x2: x(ready), y1: 0, y2: bottom }, svg("title", {}, "first image of this study")));
  return image;
}

function chart({ label, unit, kind, points }, top, { x, start, now }) {
  const shown = points.filter((point) => Date.parse(point.at) >= start);
  const last = points.at(-1);
  const values = shown.map((point) => point.value);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const y = (value) => top + HEIGHT - 6 - (high > low ? (value - low) / (high - low) : 0.5) * (HEIGHT - 12);
  const spots = shown.map((point) => ({ ...point, x: x(Date.parse(point.at)), y: y(point.value) }));
  return [
    svg("text", { x: 0, y: top + HEIGHT / 2 + 4, class: kind === "lab" ? "lab" : "" }, label),
    spots.length > 1 ? svg("polyline", { class: "trace", points: spots.map((s) => `${s.x.toFixed(1)},${s.y.toFixed(1)}`).join(" ") }) : null,
    ...spots.map((spot) => dot(spot, { kind, label, unit, now })),
    svg("text", { class: "last", x: WIDTH, y: top + HEIGHT / 2 + 4, "text-anchor": "end" }, `${worded(last)} ${unit}`.trim()),
  ].filter(Boolean);
}

// Flagged values are triangles, labs rings, vitals dots: the shape says what the colour says.
function dot(spot, { kind, label, unit, now }) {
  const { x, y } = spot;
  const critical = ["HH", "LL", "AA"].includes(spot.flag);
  const words = [`${label} ${worded(spot)} ${unit} ${told(spot, now)}`, FLAGS[spot.flag], spot.corrected && "corrected", spot.source].filter(Boolean).join(", ");
  const title = svg("title", {}, words);
  if (critical) return svg("path", { class: "flagged", d: `M${x} ${y - 4.5}l4.5 8h-9z` }, title);
  if (kind === "lab") return svg("circle", { class: "lab-dot", cx: x, cy: y, r: 2.6 }, title);
  return svg("circle", { class: "dot", cx: x, cy: y, r: 1.8 }, title);
}

// A source may have told a date alone.
const told = ({ at, when }, now) => (when ? `of ${when}` : `at ${moment(at, now)}`);

const worded = (point) => `${point.comparator ?? ""}${point.value}${["HH", "LL", "AA"].includes(point.flag) ? " !" : ""}`;

function spoken(series, now) {
  const words = series.map(({ label, unit, points }) => `${label} ${points.slice(-4).map((point) => point.value).join(", ")} ${unit}, last ${told(points.at(-1), now)}`);
  return `Vitals and labs, oldest first: ${words.join("; ")}`;
}

function ticks(start, now) {
  const hours = (now - start) / HOUR;
  const step = [1 / 12, 0.25, 0.5, 1, 2, 3, 6, 12, 24].find((h) => hours / h <= 4) ?? 24;
  const found = [];
  for (let at = Math.ceil(start / (step * HOUR)) * step * HOUR; at < now - step * HOUR * 0.2; at += step * HOUR) found.push(at);
  return found;
}

function events(marks, now) {
  if (!marks.length) return null;
  const latest = marks.slice(-12).reverse();
  return el("ul.events", {}, latest.map((mark) => el("li", {}, el("time", { datetime: mark.at }, moment(mark.at, now)), el("span", {}, `${SHAPES[mark.kind] ?? "·"} ${mark.label}`))));
}
