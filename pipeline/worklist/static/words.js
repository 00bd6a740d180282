// Times and spans as people say them, in the department's time zone.

const zone = document.documentElement.dataset.timeZone;
const hm = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
const hms = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short" });
const MINUTE = 60_000;

/** "14 min", "3 h 12 min", "2 d 4 h" */
export function span(ms) {
  const minutes = Math.floor(Math.abs(ms) / MINUTE);
  if (minutes < 1) return "under 1 min";
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** "3:12 h", for a narrow column */
export function shortSpan(ms) {
  const minutes = Math.max(0, Math.floor(ms / MINUTE));
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 60 * 24) return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")} h`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** "due in 12 min", "over by 4 min", "due now" */
export function timeLeft(ms) {
  if (ms < 0) return ms > -MINUTE ? "due now" : `over by ${span(ms)}`;
  return `due in ${span(ms)}`;
}

export const urgency = (ms) => (ms < 0 ? "late" : ms < 15 * MINUTE ? "soon" : "calm");

export const clockTime = (ms) => hms.format(ms);

/** "09:12", with the day where it is not today's */
export function moment(text, now) {
  const at = typeof text === "number" ? text : Date.parse(text);
  const date = day.format(at);
  return date === day.format(now) ? hm.format(at) : `${date} ${hm.format(at)}`;
}

export const plural = (n, one, many = `${one}s`) => `${n.toLocaleString("en-GB")} ${n === 1 ? one : many}`;

/** Minutes won on the order's own target, as a reason shows them. */
export const minutes = (n) => (n >= 0.5 ? `−${Math.round(n)} min` : "–");
