// What an image model said of the study's picture, and where in the picture it sees it.

import { el, svg } from "./dom.js";
import { moment, sentence } from "./words.js";

const SCORERS = { triton: "Triton", onnxruntime: "in-process, because Triton did not answer" };

const VERDICTS = { agree: "agrees", disagree: "disagrees", corrected: "corrects" };

/** The findings of the picture that stands for the study, or why there are none. `say` takes a reader's word on one of them. */
export function image(study, { pictures, feedback }, now, say) {
  const standing = pictures.find((picture) => picture.stands);
  const seen = standing ?? study.image;
  if (!seen) return [el("p", {}, unknown(study))];
  const source = el("p.small", {}, `${seen.head} ${seen.version}${seen.scorer ? ` (${SCORERS[seen.scorer]})` : ""} at ${moment(seen.at, now)}${seen.unlikeness === null ? "" : `; unlike its films ${seen.unlikeness.toFixed(2)}, looks at none above 1`}.`);
  if (seen.refused) return [el("p", {}, `Refused: the picture ${seen.refused === "out-of-distribution" ? seen.explanation : `cannot be judged (${seen.explanation ?? seen.refused})`}. Unknown is not normal.`), source];
  return [el("ul.findings", {}, seen.findings.map((one) => finding(one, feedback && standing ? (body) => say({ picture: standing.picture, finding: one.code, ...body }) : null))), source];
}

function unknown({ missing }) {
  const words = missing.find((name) => name.startsWith("image assessment")) ?? "image assessment";
  return `${sentence(words)}${words === "image assessment" ? ": not looked at yet" : ""}.`;
}

function finding(one, say) {
  const share = Math.round((one.ranks ? one.here : one.probability) * 100);
  const meant = one.ranks ? `, where ${Math.round(one.prevalence_here * 1000) / 10} % of such pictures have it` : ", told only: it moves nothing";
  const words = el("span", {}, el("strong", {}, `${share} %`), ` ${one.label}${meant}`);
  for (const said of one.said ?? []) words.append(el("small", {}, `${said.reader} ${VERDICTS[said.verdict]}${said.instead ? `: ${said.instead}` : ""}.`));
  if (say && one.ranks) words.append(asked(one, say)); // what is yet to come cannot be seen on a picture
  return el("li", {}, words, one.activation ? where(one) : "");
}

/** The map, for those who ask for it: whoever has not looked yet is not told where to look. */
function where({ code, activation }) {
  return el("details.fold", {}, el("summary", { "data-action": `where ${code}` }, "Where in the film"), map(activation), el("small", {}, `What speaks for it lies ${place(activation)}.`));
}

/** Whether the picture shows it: a reader's word, kept for learning. */
function asked(one, say) {
  const button = (verdict, label, title) => el("button", { type: "button", title, onclick: () => say({ verdict }) }, label);
  const form = el("form", {}, el("label", {}, "It shows ", el("input", { name: "instead", required: true, maxlength: 120, autocomplete: "off" })), el("button", { type: "submit" }, "Correct"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    say({ verdict: "corrected", instead: new FormData(form).get("instead") });
  });
  return el(
    "span.verdicts", { role: "group", "aria-label": `Your word on ${one.label}` },
    button("agree", "Agree", `The picture shows ${one.label}`),
    button("disagree", "Disagree", `The picture does not show ${one.label}`),
    el("details.resolving", { "data-alert": `finding ${one.code}` }, el("summary", {}, "Something else"), form),
  );
}

/** Places that speak for a finding (warm) and against it (cool); left and right as on the picture. */
function map(activation) {
  const { side, levels } = activation;
  const cell = (level, index) => svg("rect", { class: level < 0 ? "down" : "up", x: index % side, y: Math.floor(index / side), width: 1, height: 1, "fill-opacity": Math.abs(level) });
  return svg("svg", { class: "activation bars", width: 84, height: 84, viewBox: `0 0 ${side} ${side}`, role: "img", "aria-label": `Map of the picture: what speaks for it lies ${place(activation)}` }, levels.map(cell));
}

/** In words, where a map is highest. */
function place({ side, levels }) {
  const highest = levels.indexOf(Math.max(...levels));
  if (levels[highest] <= 0) return "nowhere in particular";
  const third = (at, names) => names[Math.floor((3 * (at + 0.5)) / side)];
  const words = `${third(Math.floor(highest / side), ["upper ", "", "lower "])}${third(highest % side, ["left", "middle", "right"])}`;
  return `mostly in the ${words} of the picture`;
}
