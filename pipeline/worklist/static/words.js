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
export function timeLeft(ms, words = span) {
  if (Math.abs(ms) < MINUTE) return "due now";
  return ms < 0 ? `over by ${words(-ms)}` : `due in ${words(ms)}`;
}

/** "due in 1:59 h", for a narrow column */
export const shortTimeLeft = (ms) => timeLeft(ms, shortSpan);

export const urgency = (ms) => (ms < 0 ? "late" : ms < 15 * MINUTE ? "soon" : "calm");

export const clockTime = (ms) => hms.format(ms);

/** "09:12", with the day where it is not today's */
export function moment(text, now) {
  const at = typeof text === "number" ? text : Date.parse(text);
  const date = day.format(at);
  return date === day.format(now) ? hm.format(at) : `${date} ${hm.format(at)}`;
}

export const plural = (n, one, many = `${one}s`) => `${n.toLocaleString("en-GB")} ${n === 1 ? one : many}`;

/** With a capital at its beginning. */
export const sentence = (words) => words[0].toUpperCase() + words.slice(1);

/** How much sooner, in words; null for nothing worth a word. */
export const sooner = (minutes) => (minutes >= 0.5 ? span(Math.max(Math.round(minutes), 1) * MINUTE) : null);

const UTC_TIME = /(\d{4}-[01]\d-[0-3]\d )?([01]\d:[0-5]\d|2[0-3]:[0-5]\d)Z/g;
const HOUR = 60 * MINUTE;

/**
 * The UTC times that the ranking stage writes into its sentences ("K 6.8 at 09:12Z"), in the department's zone.
 * A time without a date is at most half a day older than `asOf`.
 */
export function localTimes(text, asOf, now) {
  const around = Date.parse(asOf) - 6 * HOUR;
  if (Number.isNaN(around)) return text;
  return text.replace(UTC_TIME, (told, date, time) => {
    const at = date ? Date.parse(`${date.trim()}T${time}Z`) : nearest(time, around);
    return Number.isNaN(at) ? told : moment(at, now);
  });
}

function nearest(time, around) {
  const sameDay = Date.parse(`${new Date(around).toISOString().slice(0, 10)}T${time}Z`);
  return [-24 * HOUR, 0, 24 * HOUR].map((days) => sameDay + days).reduce((best, at) => (Math.abs(at - around) < Math.abs(best - around) ? at : best));
}

/** "MON529622|SIMHOSP" (application and facility of HL7's MSH-3, MSH-4) as "MON529622 (SIMHOSP)" */
export function sourceWords(source) {
  const [application, facility] = (source ?? "").split("|").map((part) => part.trim());
  if (!facility) return application;
  return application ? `${application} (${facility})` : facility;
}
