// What all pages share: the API, times, notices and the question before something is deleted.

/** The API's answer to a request that went wrong (RFC 9457). */
export class Problem extends Error {
  constructor(body, status) {
    super(body.detail ?? `The server answered ${status}.`);
    this.hint = body.hint ?? "";
    this.isRetryable = body.retryable ?? status >= 500;
  }
}

/** The server cannot be reached. */
export class Unreachable extends Error {
  constructor() {
    super("The server does not answer.");
    this.hint = "Nothing was changed as far as this page knows. Try again when it is back.";
    this.isRetryable = true;
  }
}

export const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

/** Call the API; null when the answer has no body. */
export async function api(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Unreachable();
  }
  const told = answer.status === 204 ? null : await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(told, answer.status);
  return told;
}

/** Do something for each, a few at a time; the errors of those that it did not work for. */
export async function forEach(items, work, lanes = 4) {
  const left = [...items];
  const errors = [];
  const lane = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) {
      await work(item).catch((error) => errors.push(error));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return errors;
}

// --- words ---------------------------------------------------------------------------------------------------

export const number = (count) => count.toLocaleString("en");
export const counted = (count, one) => `${number(count)} ${one}${count === 1 ? "" : "s"}`;

export function size(bytes) {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1023.5 && unit < units.length - 1; unit += 1) bytes /= 1024;
  if (unit === 0) return counted(bytes, "byte");
  return `${bytes < 9.95 ? bytes.toFixed(1) : bytes.toFixed(0)} ${units[unit]}`;
}

const STEPS = [[60, "second"], [60, "minute"], [24, "hour"], [7, "day"]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function ago(when) {
  let away = (when - Date.now()) / 1000;
  if (Math.abs(away) < 5) return "just now";
  for (const [limit, unit] of STEPS) {
    if (Math.abs(away) < limit) return relative.format(Math.round(away), unit);
    away /= limit;
  }
  return new Date(when).toLocaleDateString(undefined, { dateStyle: "medium" });
}

/** Say times as people do, with the exact one, in the reader's zone, under the pointer. */
export function tellTimes(within = document) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const when = Date.parse(time.dateTime);
    const text = ago(when);
    if (time.textContent !== text) time.textContent = text;
    if (!time.title) time.title = new Date(when).toLocaleString(undefined, { dateStyle: "full", timeStyle: "medium" });
  }
}

/** An element with attributes and contents; texts are texts, never HTML. */
export function element(name, attributes = {}, ...contents) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...contents);
  return made;
}

// --- telling and asking --------------------------------------------------------------------------------------

const notices = document.getElementById("notices");

/** Tell something above the page, until it is closed, or, if it is good news, for a while. */
export function notice(text, { hint = "", isBad = false } = {}) {
  const close = element("button", { type: "button", class: "small" }, "Close");
  const told = element("div", { class: `notice${isBad ? " bad" : ""}` }, element("div", {}, element("strong", {}, text), ...(hint ? [element("p", {}, hint)] : [])), close);
  close.addEventListener("click", () => told.remove());
  notices.replaceChildren(told);
  if (!isBad) setTimeout(() => told.remove(), 8000);
}

export const complain = (error) => notice(error.message, { hint: error.hint, isBad: true });

const dialog = document.getElementById("confirm");

/** Ask before something that cannot be undone; true when it is wanted. */
export function confirmed({ title, contents, yes }) {
  document.getElementById("confirm-title").textContent = title;
  document.getElementById("confirm-text").replaceChildren(...contents);
  dialog.querySelector('[data-answer="yes"]').textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  dialog.querySelector('[data-answer="no"]').focus();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true });
  });
}

dialog.addEventListener("click", (event) => {
  const answer = event.target.dataset?.answer;
  if (answer) dialog.close(answer);
});

const MOST_NAMES = 8;

/** Ask about documents that are to be deleted: each `{name, size, chunks}`. */
export function deletionConfirmed(documents) {
  const names = documents.slice(0, MOST_NAMES).map((each) => element("li", {}, each.name));
  if (documents.length > MOST_NAMES) names.push(element("li", {}, `and ${number(documents.length - MOST_NAMES)} more`));
  const chunks = documents.reduce((sum, each) => sum + each.chunks, 0);
  const bytes = documents.reduce((sum, each) => sum + each.size, 0);
  const many = counted(documents.length, "document");
  return confirmed({
    title: `Delete ${many}?`,
    contents: [
      element("ul", {}, ...names),
      element("p", {}, `What was sent (${size(bytes)}), the text, ${counted(chunks, "chunk")}, and all attempts go for good. Searches find nothing of it from that moment on.`),
    ],
    yes: `Delete ${many}`,
  });
}

/** What a row, or a document's buttons, say of their document. */
export const documentOf = ({ dataset }) => ({
  id: dataset.key,
  name: dataset.name,
  status: dataset.status,
  size: Number(dataset.size),
  chunks: Number(dataset.chunks),
});
