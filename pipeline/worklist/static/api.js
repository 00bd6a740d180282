// Calls to the JSON API. Every answer sets the clock; every failure is a Problem with words for a person.

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || "The server did not answer.");
    this.status = status;
    this.body = body;
  }
}

export class Api {
  #etags = new Map();

  constructor(clock) {
    this.clock = clock;
  }

  /** The document, or null when it is the same as last time (only where `remember` is set). within: milliseconds. */
  async get(path, { remember = false, within = 8000 } = {}) {
    const headers = {};
    if (remember && this.#etags.get("path") === path) headers["If-None-Match"] = this.#etags.get("etag");
    const response = await this.#call(path, { headers, cache: "no-store" }, within);
    if (response.status === 304) return null;
    const body = await response.json();
    if (remember) this.#etags = new Map([["path", path], ["etag", response.headers.get("ETag")]]);
    return body;
  }

  async post(path, body = undefined) {
    const headers = { "X-Readfirst-Request": "page" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    return (await this.#call(path, { method: "POST", headers, body: body && JSON.stringify(body) })).json();
  }

  /** The next `remember` asks anew. */
  forget() {
    this.#etags.clear();
  }

  async #call(path, options, within = 8000) {
    const started = performance.now();
    let response;
    try {
      response = await fetch(path, { ...options, signal: AbortSignal.timeout(within) });
    } catch {
      throw new Problem(0, { detail: "The server cannot be reached." });
    }
    const now = response.headers.get("X-Readfirst-Now");
    if (now) this.clock.sync(now, performance.now() - started);
    if (response.ok || response.status === 304) return response;
    const isJson = (response.headers.get("Content-Type") || "").includes("json");
    throw new Problem(response.status, isJson ? await response.json() : {});
  }
}

export const studyPath = (uid, rest = "") => `/api/worklist/${encodeURIComponent(uid)}${rest}`;
