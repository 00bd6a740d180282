// Reasons, risk and history of one study, as tables and bars.

import { el, svg } from "./dom.js";
import { localTimes, moment, plural, shortSpan, sooner, sourceWords } from "./words.js";

const KINDS = { order: "order", deadline: "order", appointment: "clinic", "stroke-clock": "order and arrival", news2: "vitals", "critical-lab": "lab", "lab-flag": "lab", indication: "order", risk: "model", image: "image model", rejection: "rejection note", report: "report", hold: "reader", override: "reader" };

/** Every reason with its time, source, the minutes it moves the deadline, and what would change it. */
export function reasons(rows, { asOf, now }) {
  const local = (text) => localTimes(text, asOf, now);
  const body = rows.map((row) =>
    el(
      row.binding ? "tr.binding" : "tr", {},
      el(
        "td", {}, local(row.label), " ",
        row.binding ? el("span.tag", {}, "sets the deadline") : "",
        row.stale ? [" ", el("span.tag.stale", {}, "◷ stale")] : "",
        row.reverts_when ? el("small", {}, `Changes with ${local(row.reverts_when)}`) : "",
      ),
      el("td", {}, row.when ?? (row.at ? moment(row.at, now) : "–"), el("small", {}, [KINDS[row.kind] ?? row.kind, sourceWords(row.source)].filter(Boolean).join(", "))),
      el("td.num", {}, shift(row.minutes)),
    ),
  );
  return el(
    "table.reasons", {},
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "What"), el("th", { scope: "col" }, "When"), el("th.num", { scope: "col" }, "Due"))),
    el("tbody", {}, body),
  );
}

/** How much sooner, or (by a reader's own act only) later. */
function shift(minutes) {
  const words = sooner(Math.abs(minutes));
  return words ? [el("b", {}, words), el("small", {}, minutes > 0 ? "sooner" : "later")] : "–";
}

/** The model's answer: a probability of what, how sure, and what pulled it up or down. `further`: stands below that. */
export function contributions(study, now, further) {
  const risk = study.assessment;
  if (!risk || risk.probability === undefined || risk.probability === null) {
    const words = study.degraded ? "The model did not answer: order target, physiology rules and age alone rank this study. It will be scored when the model is back." : "Not scored yet: rules alone for the moment.";
    return [el("p", {}, words), missing(study)].filter(Boolean);
  }
  const scorer = { triton: "Triton", onnxruntime: "in-process, because Triton did not answer" }[risk.scorer] ?? risk.scorer;
  const words = el("p.risk-words", {}, el("strong", {}, `${Math.round(risk.probability * 100)} %`), ` ${risk.outcome ?? "risk"}, estimated`);
  const source = el("p.small", {}, `${risk.model ?? "model"} ${risk.model_version ?? ""} (${scorer})${risk.scored_at ? ` at ${moment(risk.scored_at, now)}` : ""}; ${Math.round((risk.coverage ?? 0) * 100)} % of its inputs were known.${unseen(risk.unseen)}`);
  const parts = risk.contributions ?? [];
  return [words, ...(parts.length ? [...bars(parts), further] : []), missing(study), source].filter(Boolean);
}

/** Why the model was not given a film that there is. */
function unseen(reason) {
  if (!reason) return "";
  return reason === "late" ? " Its chest film is not prepared yet: a score with it follows." : ` It was not given the chest film (${reason}).`;
}

const missing = (study) => (study.missing.length ? el("p.small", {}, `Not known: ${study.missing.join(", ")}.`) : null);

function bars(parts) {
  const widest = Math.max(...parts.map((part) => Math.abs(part.change)));
  const rows = parts.map((part) => {
    const width = (Math.abs(part.change) / widest) * 62;
    const up = part.change >= 0;
    return [
      el("span", {}, part.label),
      svg("svg", { width: 130, height: 12, viewBox: "0 0 130 12", "aria-hidden": "true", class: "bars" },
        svg("line", { class: "axis", x1: 65, x2: 65, y1: 0, y2: 12 }),
        svg("rect", { class: up ? "up" : "down", x: up ? 65 : 65 - width, y: 2, width, height: 8 })),
      el("span.n", {}, points(part.change)),
    ];
  });
  return [
    el("p.small", {}, "What raises (▸ right) and lowers (◂ left) the estimate, in percentage points against not knowing the value. That it was measured at all counts too, so even a bad one may lower it:"),
    el("div.contrib", {}, rows),
  ];
}

function points(change) {
  const size = Math.abs(change) * 100;
  return `${change >= 0 ? "+" : "−"}${size < 0.95 ? size.toFixed(1) : Math.round(size)}`;
}

const SHOWN_FROM = 0.0005; // what rounds to 0.1 points

/** How much each single reading moved the estimate, the strongest first; or why that cannot be told. */
export function readings(told, now) {
  if (told.why_not) return [el("p.small", {}, told.why_not)];
  const asOf = Date.parse(told.as_of);
  const shown = told.readings.filter((one) => Math.abs(one.change) >= SHOWN_FROM);
  const rest = told.readings.length - shown.length;
  const rows = shown.map((one) => el("tr", {}, el("td", {}, measured(one)), el("td", {}, taken(one, asOf, now)), el("td.num", {}, points(one.change))));
  const head = el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Reading"), el("th", { scope: "col" }, "When"), el("th.num", { scope: "col" }, "Points")));
  const beside = [
    rest && (shown.length ? `${plural(rest, "further reading")} moved it by less than 0.1.` : "No single reading moved it by 0.1 points."),
    !told.readings.length && "None of what moved it is a reading.",
    told.newer && `${plural(told.newer, "value")} came since this score.`,
  ];
  const below = el("p.small", {}, beside.filter(Boolean).join(" "));
  if (!shown.length) return [below];
  const meant = `In points, what one reading alone did to the ${Math.round(told.probability * 100)} %, by what was known at ${moment(asOf, now)}. Other readings of its kind stay${told.film ? ", and so does the chest film" : ""}, so these need not add up.`;
  return [el("p.small", {}, meant), el("table.readings", {}, head, el("tbody", {}, rows)), below];
}

function measured({ label, value, unit, older }) {
  const words = (values) => `${label} ${values} ${unit}`.trim().replaceAll(" ", "\u00a0");
  if (!older) return words(value);
  return [words(older.low === older.high ? older.low : `${older.low}–${older.high}`), " ", el("small", {}, `${older.count} older, together`)];
}

/** When, and how old it was then; a source may have told a date alone. */
function taken({ at, when, older }, asOf, now) {
  if (when) return when;
  if (older) return `since ${moment(older.since, now)}`;
  const age = asOf - Date.parse(at);
  return [moment(at, now), " ", age >= 60_000 ? el("small", {}, `${shortSpan(age)} old`) : ""];
}

/** Every recorded change of rank, newest first. */
export function history(changes, now) {
  if (!changes.length) return el("p.small", {}, "The rank has not changed.");
  const body = changes.slice(0, 20).map((change) => el("tr", {}, el("td", {}, moment(change.at, now)), el("td", {}, `due ${moment(change.due_at, now)}`), el("td", {}, localTimes(change.cause, change.at, now), el("small", {}, localTimes(change.why, change.at, now)))));
  return el("table", {}, el("thead", {}, el("tr", {}, ["At", "Deadline", "Because"].map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, body));
}
