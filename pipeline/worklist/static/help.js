// The keys and the marks, explained in one place; shown in the help and in the empty detail pane.

import { el } from "./dom.js";

export const KEYS = [
  ["j / k", "next, previous row (arrows too)"],
  ["Enter", "open the study"],
  ["Esc", "close it; leave the list or filter"],
  ["n", "next case: claim the most urgent"],
  ["c", "claim"],
  ["r", "release"],
  ["a", "acknowledge: seen why it is urgent"],
  ["e", "alerts that nobody has acknowledged"],
  ["h", "set aside, or back to the list"],
  ["m", "move up or down, with a reason"],
  [".", "apply waiting changes"],
  ["/", "filter"],
  ["p", "privacy: blur names"],
  ["t", "dark or light"],
  ["v", "view: columns, sound, notifications"],
  ["?", "this help"],
];

const MARKS = [
  ["alert", "alert", "told, and nobody has acknowledged"],
  ["provisional", "provisional", "images are still arriving"],
  ["stale", "stale data", "a value is older than it should be"],
  ["degraded", "no model", "ranked by order target, rules and age alone"],
  ["missing", "2 missing", "inputs that are not known"],
  ["unmatched", "unmatched", "no order, or no known patient"],
  ["rejected", "rejected", "an image that counts no more"],
  ["conflict", "conflict", "two versions of one image"],
  ["moved-up", "moved up", "a reader set the deadline"],
  ["same-patient", "1 more", "other studies of this patient wait"],
  ["twin", "same name", "another patient on the list has this name"],
];

export function legend() {
  return [
    el("h3", {}, "Keys"),
    el("dl.keys", {}, KEYS.map(([key, words]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, words)))),
    el("h3", {}, "Marks"),
    el("dl.mark-key", {}, MARKS.map(([kind, word, words]) => el("div", {}, el("dt.mark", { "data-kind": kind }, word), el("dd", {}, words)))),
  ];
}

export function helpBody() {
  return [
    ...legend(),
    el("h3", {}, "How the list moves"),
    el("p", {}, "The earliest deadline comes first. While your pointer or the keyboard focus is on a row, no row moves: changes wait above the list until you apply them or leave it, at most a minute after your last movement. Rows that moved carry ▲ or ▼ and the number of places for some seconds."),
    el("p", {}, "A double left edge means due within 15 minutes; a thick one with “!” means overdue."),
  ];
}
