// Keeps a page true: events where the server has them, a look every two seconds where it has not.

import { element, sleep, tellTimes } from "./common.js";

const POLL_MS = 2000;
const SILENT_MS = 40_000; // The server says something every 15 s; after this the connection is dead.
const AGAIN_MS = [300, 1000, 2000, 5000];
const ASK_FOR_EVENTS_MS = 60_000;
const GATHER_MS = 250; // A bulk import changes documents a hundred times a second; a page is made anew four times.

// --- is the server there? ------------------------------------------------------------------------------------

const banner = document.getElementById("connection");
let awaySince = null;

/** Note whether the server answered; told once it has been away for a moment. */
export function answered(isThere) {
  if (isThere) {
    awaySince = null;
    banner.hidden = true;
    return;
  }
  awaySince ??= Date.now();
  if (Date.now() - awaySince > 1000 && banner.hidden) {
    banner.textContent = "Sluice does not answer just now. This page goes on trying, and shows what it knew.";
    banner.hidden = false;
  }
}

const shown = () =>
  new Promise((wake) => {
    if (!document.hidden) return wake();
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      wake();
    };
    document.addEventListener("visibilitychange", look);
  });

// --- events --------------------------------------------------------------------------------------------------

/**
 * A stream of the server's events, taken up again wherever it was cut off.
 *
 * Read by `fetch`, since an EventSource does not say why it was refused. A page that is not looked at lets go of
 * its connection, as browsers have six for all pages of a server together.
 *
 * onDocument(event), onProgress(event): what the server tells.
 * onLook(): something may have been missed: look at everything.
 * isOver(): whether a stream that has come to its end is not to be opened again.
 */
export class Events {
  #cursor = null;
  #abort = null;
  #run = 0;
  #hasEvents = "events" in document.body.dataset;

  constructor({ path = "/events", params = [], onDocument, onProgress = () => {}, onLook, isOver = () => false }) {
    Object.assign(this, { path, params, onDocument, onProgress, onLook, isOver });
    document.addEventListener("visibilitychange", () => document.hidden && this.#abort?.abort());
  }

  /** Begin, or begin anew with other `params`; nothing is lost in between. */
  start(params = this.params) {
    this.params = params;
    this.#run += 1;
    this.#abort?.abort();
    this.#goOn(this.#run);
  }

  async #goOn(run) {
    let failures = 0;
    while (run === this.#run) {
      await shown();
      if (!this.#hasEvents) {
        await sleep(POLL_MS);
        await shown();
        if (run !== this.#run || this.isOver()) return;
        await this.onLook();
        continue;
      }
      try {
        await this.#listen();
        failures = 0;
        if (this.isOver()) return;
      } catch {
        if (run !== this.#run) return;
        if (!document.hidden) failures += 1;
        if (failures > 1) answered(false);
      }
      await sleep(AGAIN_MS[Math.min(failures, AGAIN_MS.length - 1)] * (0.75 + Math.random() / 2));
    }
  }

  async #listen() {
    const abort = new AbortController();
    this.#abort = abort;
    const query = new URLSearchParams(this.params);
    const headers = this.#cursor === null ? {} : { "last-event-id": this.#cursor };
    const answer = await fetch(`${this.path}?${query}`, { headers, cache: "no-store", signal: abort.signal });
    if (answer.status === 404) {
      this.#hasEvents = false;
      setTimeout(() => (this.#hasEvents = true), ASK_FOR_EVENTS_MS);
      return;
    }
    if (answer.status === 410) {
      this.#cursor = null; // What came after it is not known any more.
      return;
    }
    if (!answer.ok) throw new Error(`events: ${answer.status}`);
    answered(true);
    let silence;
    const listenOn = () => {
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENT_MS);
    };
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      let rest = "";
      for (;;) {
        listenOn();
        const { value, done } = await reader.read();
        if (done) return;
        const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) this.#take(block);
      }
    } finally {
      clearTimeout(silence);
    }
  }

  #take(block) {
    const said = { event: "message", data: [] };
    for (const line of block.split("\n")) {
      const [, field, value] = /^(\w+):? ?(.*)$/s.exec(line) ?? [];
      if (field === "data") said.data.push(value);
      else if (field === "event" || field === "id") said[field] = value;
    }
    if (said.event === "ready") this.onLook();
    else if (said.event === "document") this.onDocument(JSON.parse(said.data.join("\n")));
    else if (said.event === "progress") this.onProgress(JSON.parse(said.data.join("\n")));
    if (said.id) this.#cursor = said.id;
  }
}

// --- the page, made anew -------------------------------------------------------------------------------------

// As the server made them, before scripts touched them: what is the same there needs no change here.
const made = new WeakMap();

/** Remember how the server made these. */
export function remember(within = document) {
  for (const part of within.querySelectorAll("[data-live]")) made.set(part, shell(part));
  for (const row of within.querySelectorAll("[data-keyed] > [data-key]")) made.set(row, row.outerHTML);
}

/** A part's HTML without the rows of its list. */
function shell(part) {
  const copy = part.cloneNode(true);
  copy.querySelector("[data-keyed]")?.replaceChildren();
  return copy.outerHTML;
}

function swap(part, fresh) {
  const list = part.querySelector("[data-keyed]");
  const html = shell(fresh);
  if (made.get(part) === html) {
    if (list) merge(list, fresh.querySelector("[data-keyed]"));
    return;
  }
  part.replaceChildren(...fresh.childNodes);
  made.set(part, html);
  for (const row of part.querySelectorAll("[data-keyed] > [data-key]")) made.set(row, row.outerHTML);
}

function merge(list, fresh) {
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const focusedRow = focused?.closest("[data-key]");
  const known = new Map([...list.children].map((row) => [row.dataset.key, row]));
  let place = list.firstElementChild;
  for (const row of [...fresh.children]) {
    const html = row.outerHTML;
    let mine = known.get(row.dataset.key);
    known.delete(row.dataset.key);
    if (mine === undefined || made.get(mine) !== html) {
      made.set(row, html);
      if (mine === place) place = row;
      if (mine) mine.replaceWith(row);
      if (mine && mine === focusedRow) giveFocusBack(mine, row, focused);
      mine = row;
    }
    if (mine === place) place = place.nextElementSibling;
    else list.insertBefore(mine, place);
  }
  for (const row of known.values()) row.remove();
}

const PRESSABLE = "a, button, input";

function giveFocusBack(old, row, focused) {
  const position = [...old.querySelectorAll(PRESSABLE)].indexOf(focused);
  (row.querySelectorAll(PRESSABLE)[position] ?? row.querySelector(PRESSABLE))?.focus();
}

let running = null;
let isAsked = false;

async function look() {
  try {
    const answer = await fetch(location.pathname + location.search, { cache: "no-store" });
    if (answer.status === 404) return location.reload(); // Deleted: the server has a page that says so.
    answered(answer.ok);
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (other) swap(part, other);
    }
    tellTimes();
    document.dispatchEvent(new Event("refreshed"));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    answered(false);
  }
}

/** Ask the server for this page again, and change what has changed. One at a time, however many ask. */
export function refresh() {
  isAsked = true;
  running ??= (async () => {
    try {
      while (isAsked) {
        isAsked = false;
        await look();
      }
    } finally {
      running = null;
    }
  })();
  return running;
}

let isSoon = false;

/** The same in a moment, for all that happens until then. */
export function refreshSoon() {
  if (isSoon) return;
  isSoon = true;
  setTimeout(() => {
    isSoon = false;
    refresh();
  }, GATHER_MS);
}

/** Show how far a stage has come, where `within` shows a stage. */
export function showProgress(within, { stage, progress }) {
  const told = within?.querySelector("[data-stage]");
  if (!told || !progress) return;
  const name = stage ? stage[0].toUpperCase() + stage.slice(1) : "Working";
  const total = progress.total ? ` of ${progress.total.toLocaleString("en")}` : "";
  told.querySelector("span").textContent = `${name}, ${progress.unit} ${progress.done.toLocaleString("en")}${total}`;
  const bar = element("progress", { "aria-label": "Progress of this stage" });
  if (progress.total) Object.assign(bar, { max: progress.total, value: progress.done });
  told.querySelector("progress").replaceWith(bar);
}
