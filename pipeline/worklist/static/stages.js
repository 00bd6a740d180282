// The line of stages and the sources, drawn.

import { el, svg } from "./dom.js";
import { plural, shortSpan } from "./words.js";

const LATE = 5;
const WIDTH = 180;
const HEIGHT = 36;

/** Sources, the stages, the list: one box each. */
export function lineOf(seen) {
  const silent = seen.sources.filter((one) => one.state === "silent").length;
  const learning = seen.sources.filter((one) => one.state === "learning").length;
  const first = box("sources", silent ? "warn" : "calm", String(seen.sources.length), `${silent ? `${silent} silent` : "none is silent"}${learning ? `, ${learning} being learned` : ""}`);
  const last = box("list", seen.list.degraded ? "warn" : "calm", `${seen.list.open.toLocaleString("en-GB")} open`,
    `${seen.list.overdue} overdue, ${seen.list.degraded} without the model, ${seen.list.provisional} still arriving`);
  return [first, ...seen.stages.map((stage) => stageBox(stage, seen.trail_s)), last];
}

function stageBox(stage, every) {
  const late = stage.seconds >= LATE;
  const level = late ? "bad" : "calm";
  const state = stage.standing_still ? "stands still" : late ? "behind" : "keeps up";
  const records = stage.records ? `${plural(stage.records, "record")} waiting` : "nothing waits";
  const studies = stage.studies ? `, ${plural(stage.studies, "study", "studies")} affected` : "";
  return box(stage.name, level, seconds(stage.seconds), `${state}: ${records}${studies}`, spark(stage.trail, late, every), late && partitions(stage));
}

function box(name, level, big, more, ...rest) {
  return el("li", { "data-level": level, "data-stage": name }, el("h3", {}, name), el("div.big", {}, big), el("p.more", {}, more), rest);
}

function partitions(stage) {
  const worst = stage.partitions.slice(0, 4);
  const rows = worst.map((one) => el("tr", {}, el("td", {}, `${one.topic}-${one.partition}`), el("td", {}, `${one.records.toLocaleString("en-GB")}, ${seconds(one.seconds)}`)));
  const left = stage.partitions.length - worst.length;
  if (left > 0) rows.push(el("tr", {}, el("td", {}, `${left} more`), el("td", {}, "")));
  return el("table", {}, el("tbody", {}, rows));
}

/** The worst lag of each interval; the dashed line is where "behind" begins. */
function spark(trail, late, every) {
  if (trail.length < 2) return svg("svg", { class: "spark" });
  const top = Math.max(2 * LATE, ...trail);
  const x = (index) => (index / (trail.length - 1)) * WIDTH;
  const y = (value) => HEIGHT - (value / top) * (HEIGHT - 2) - 1;
  const points = trail.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const words = `Seconds behind over the last ${shortSpan(Math.max(trail.length * every, 60) * 1000)}, at most ${seconds(Math.max(...trail))}`;
  return svg("svg", { class: late ? "spark late" : "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": words },
    svg("line", { class: "limit", x1: 0, x2: WIDTH, y1: y(LATE), y2: y(LATE) }),
    svg("polygon", { class: "area", points: `0,${HEIGHT} ${points} ${WIDTH},${HEIGHT}` }),
    svg("polyline", { class: "trace", points }));
}

function seconds(value) {
  if (value < 120) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
  return shortSpan(value * 1000);
}

export function sourcesOf(sources, now) {
  if (!sources.length) return el("p.calm", {}, "Nothing has arrived yet.");
  const rows = sources.map((one) => el("tr", { "data-state": one.state },
    el("td", {}, one.name, el("small", {}, one.words)), el("td", {}, ago(now - Date.parse(one.last))), el("td", {}, hours(one.hourly))));
  return el("table", {}, el("thead", {}, el("tr", {}, ["source", "last message", "24 hours"].map((word) => el("th", { scope: "col" }, word)))), el("tbody", {}, rows));
}

function ago(ms) {
  return ms < 60_000 ? `${Math.max(0, Math.round(ms / 1000))} s ago` : `${shortSpan(ms)} ago`;
}

function hours(counts) {
  const top = Math.max(1, ...counts);
  const total = counts.reduce((sum, count) => sum + count, 0);
  return svg("svg", { class: "hours", viewBox: "0 0 120 22", role: "img", "aria-label": `${total.toLocaleString("en-GB")} in 24 hours` },
    counts.map((count, index) => {
      const height = count ? Math.max((count / top) * 22, 1) : 0;
      return svg("rect", { x: index * 5, y: 22 - height, width: 4, height, class: index === counts.length - 1 ? "now" : null });
    }));
}
