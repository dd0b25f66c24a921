// Files, folders and texts, each followed from its first byte until it is COMPLETED or FAILED.

import { Problem, Unreachable, api, counted, element, number, size, sleep } from "./common.js";
import { Events, answered } from "./live.js";

const LANES = 3; // Of the six connections that a browser has for a server; events and looks need some, too.
const AGAIN_MS = [1000, 2000, 5000];
const LOOK_AT = 20; // Documents that are looked at in one go, when no event tells of them.
const LOOK_EVERY_MS = 10_000;
const MOST_EARLY = 5000;
// Where the bar stands: until here bytes are sent, from there on the stages follow.
const SENT = 40;
const STAGES = { queued: [40, 40], retry_wait: [40, 40], parsing: [45, 55], chunking: [55, 60], embedding: [60, 95], storing: [95, 99] };
const WORDS = { queued: "waits for a worker", retry_wait: "waits for its next try" };

const form = document.getElementById("upload");
const field = (id) => document.getElementById(id);
const items = [];
const byId = new Map();
const early = new Map(); // The last event of documents that this page does not know yet.

// --- an item -------------------------------------------------------------------------------------------------

class Item {
  constructor({ name, file, text, fields }) {
    Object.assign(this, { name, file, text, fields, id: null, state: "waiting", error: null });
    this.node = field("item").content.firstElementChild.cloneNode(true);
    this.bar = this.node.querySelector("progress");
    this.bar.setAttribute("aria-label", `Progress of ${name}`);
    this.node.querySelector(".item-name").textContent = name;
    this.node.querySelector(".item-size").textContent = size(file ? file.size : new Blob([text]).size);
    this.say("waits");
  }

  get isFinal() {
    return ["done", "failed", "gone"].includes(this.state);
  }

  say(text, percent) {
    this.node.querySelector(".item-state").textContent = text;
    if (percent !== undefined) this.bar.value = percent;
  }

  become(state) {
    this.state = state;
    this.node.classList.toggle("done", state === "done");
    this.node.classList.toggle("failed", state === "failed");
    this.node.querySelector(".item-more").replaceChildren();
    tellTally();
  }

  // Sending

  async send() {
    for (let tries = 0; ; tries += 1) {
      this.become("sending");
      try {
        const accepted = await this.post();
        answered(true);
        this.accepted(accepted);
        return;
      } catch (error) {
        if (!error.isRetryable) {
          this.failed({ message: error.message, hint: error.hint });
          return;
        }
        // The same again is the same document: sending it twice does no harm.
        answered(!(error instanceof Unreachable));
        this.say(`${error.message} Trying again…`, 0);
        await sleep(AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)]);
      }
    }
  }

  post() {
    const request = new XMLHttpRequest(); // fetch does not tell how much has been sent.
    request.open("POST", "/ingest");
    request.responseType = "json";
    let body;
    if (this.file) {
      body = new FormData();
      for (const [name, value] of Object.entries(this.fields)) body.append(name, name === "metadata" ? JSON.stringify(value) : value);
      body.append("file", this.file, this.file.name);
    } else {
      request.setRequestHeader("content-type", "application/json");
      body = JSON.stringify({ ...this.fields, text: this.text });
    }
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      this.say(loaded < total ? `sending, ${Math.floor((100 * loaded) / total)} %` : "sent", (SENT * loaded) / total);
    });
    return new Promise((resolve, reject) => {
      request.addEventListener("load", () => {
        if (request.status < 300) resolve(request.response);
        else reject(new Problem(request.response ?? {}, request.status));
      });
      request.addEventListener("error", () => reject(new Unreachable()));
      request.addEventListener("abort", () => reject(new Unreachable()));
      request.send(body);
    });
  }

  accepted({ document_id: id, status }) {
    this.id = id;
    byId.set(id, [...(byId.get(id) ?? []), this]);
    this.become("accepted");
    const known = early.get(id);
    early.delete(id);
    this.show(known ?? { status, stage: status === "PENDING" ? "queued" : null });
    if (!known && this.isFinal) this.look(); // Known already: its error, if it has one, is not in the answer.
  }

  // Following

  show({ status, stage, progress, error, deleted }) {
    if (deleted) {
      this.become("gone");
      this.say("deleted");
    } else if (status === "COMPLETED") {
      this.become("done");
      this.say("completed", 100);
      this.node.querySelector(".item-more").append(element("a", { href: `/ui/documents/${this.id}` }, "Open the document"));
    } else if (status === "FAILED") {
      this.failed(error ?? { message: "It failed.", hint: "" });
    } else {
      if (this.state !== "accepted") this.become("accepted");
      const [from, to] = STAGES[stage] ?? [SENT, SENT];
      const share = progress?.total ? progress.done / progress.total : 0;
      const told = progress?.total ? `, ${progress.unit} ${number(progress.done)} of ${number(progress.total)}` : "";
      this.say((WORDS[stage] ?? stage ?? "waits") + told, from + (to - from) * share);
    }
  }

  failed({ message, hint, code, retryable }) {
    this.become("failed");
    this.say("failed");
    const again = element("button", { type: "button", class: "small", "aria-label": `Retry ${this.name}` }, "Retry");
    if (this.id && retryable === false && code !== "cancelled") {
      again.classList.add("quiet");
      again.title = "A retry fails in the same way, unless something was changed meanwhile.";
    }
    again.addEventListener("click", () => this.retry());
    const told = element("div", { class: "failure" }, element("p", {}, element("strong", {}, message)), element("p", { class: "hint" }, hint ?? ""));
    const more = this.node.querySelector(".item-more");
    more.append(told, again);
    if (this.id) told.append(element("a", { href: `/ui/documents/${this.id}` }, "Open the document"));
  }

  async retry() {
    if (this.id === null) {
      this.become("waiting");
      this.say("waits", 0);
      sendNext();
      return;
    }
    try {
      this.show(await api("POST", `/documents/${this.id}/retry`));
    } catch (error) {
      this.failed(error);
    }
  }

  async look() {
    try {
      this.show(await api("GET", `/documents/${this.id}`));
      answered(true);
    } catch (error) {
      if (error instanceof Unreachable) answered(false);
      else if (!error.isRetryable) this.show({ deleted: true });
    }
  }
}

// --- sending, a few at a time --------------------------------------------------------------------------------

let lanes = 0;

function sendNext() {
  while (lanes < LANES) {
    const next = items.find((item) => item.state === "waiting");
    if (!next) return;
    lanes += 1;
    next.send().finally(() => {
      lanes -= 1;
      sendNext();
    });
  }
}

function add(sources) {
  if (!sources.length || !form.reportValidity()) return false;
  const fields = { collection: field("collection").value.trim() || "default" };
  const metadata = metadataSaid();
  if (Object.keys(metadata).length) fields.metadata = metadata;
  follow(fields.collection);
  const added = sources.map(({ path, title, ...source }) => {
    const own = { ...fields };
    if (path && field("by-path").checked) own.external_id = path;
    if (title) own.title = title;
    return new Item({ ...source, name: path || title || source.file?.name || "Pasted text", fields: own });
  });
  items.push(...added);
  field("items").append(...added.map(({ node }) => node));
  document.querySelector(".uploads").hidden = false;
  tellTally();
  sendNext();
  return true;
}

/** The pairs that are filled in; numbers, true and false are meant as such, so that they can be compared. */
function metadataSaid() {
  const said = {};
  for (const pair of document.querySelectorAll(".pair")) {
    const name = pair.querySelector("[data-name]").value.trim();
    const value = pair.querySelector("[data-value]").value.trim();
    if (name) said[name] = /^(-?\d+(\.\d+)?|true|false)$/.test(value) ? JSON.parse(value.replace(/^(-?)0+(?=\d)/, "$1")) : value;
  }
  return said;
}

// --- following -----------------------------------------------------------------------------------------------

const collections = new Set();
const events = new Events({
  onDocument: (event) => tell(event.document_id, event),
  onProgress: (event) => tell(event.document_id, { status: "PROCESSING", ...event }),
  onLook: lookAtSome,
});

function follow(collection) {
  if (collections.has(collection)) return;
  collections.add(collection);
  events.start([...collections].map((name) => ["collection", name]));
}

function tell(id, event) {
  const known = byId.get(id);
  for (const item of known ?? []) item.show(event);
  if (known || !("status" in event) || !event.status) return;
  early.delete(id);
  early.set(id, event);
  if (early.size > MOST_EARLY) early.delete(early.keys().next().value);
}

const unfinished = () => items.filter((item) => item.id !== null && !item.isFinal);

/** Those that have waited longest; what they waited for is mostly over, so that the next look has others. */
async function lookAtSome() {
  await Promise.all(unfinished().slice(0, LOOK_AT).map((item) => item.look()));
}

setInterval(lookAtSome, LOOK_EVERY_MS); // An event that never came is made good.

// --- telling how it goes -------------------------------------------------------------------------------------

let isTold = true;

function tellTally() {
  const count = (state) => items.filter((item) => item.state === state).length;
  const failed = count("failed");
  const parts = [`${number(count("done"))} of ${counted(items.length, "document")} completed`];
  if (failed) parts.push(`${number(failed)} failed`);
  field("tally").textContent = parts.join(", ");
  field("clear").disabled = !items.some((item) => item.isFinal);
  if (!isTold) return;
  isTold = false; // People who listen get a sentence now and then, not one for each file.
  setTimeout(() => {
    isTold = true;
    field("told").textContent = field("tally").textContent;
  }, 1500);
}

field("clear").addEventListener("click", () => {
  for (const item of items.filter(({ isFinal }) => isFinal)) {
    item.node.remove();
    byId.delete(item.id);
    items.splice(items.indexOf(item), 1);
  }
  document.querySelector(".uploads").hidden = items.length === 0;
  tellTally();
  field("collection").focus();
});

addEventListener("beforeunload", (event) => {
  if (items.some(({ state }) => state === "waiting" || state === "sending")) event.preventDefault();
});

// --- choosing, dropping, pasting -----------------------------------------------------------------------------

const isHidden = (path) => path.split("/").some((part) => part.startsWith("."));

function addFiles(files) {
  add([...files].map((file) => ({ file, path: file.webkitRelativePath })).filter(({ path }) => !isHidden(path)));
}

for (const kind of ["files", "folder"]) {
  document.querySelector(`[data-choose="${kind}"]`).addEventListener("click", () => field(kind).click());
  field(kind).addEventListener("change", ({ target }) => {
    addFiles(target.files);
    target.value = ""; // The same file can be chosen again.
  });
}

/** All files below an entry, with their paths. */
async function* filesOf(entry) {
  const path = entry.fullPath.slice(1);
  if (isHidden(path)) return;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    yield { file, path: path.includes("/") ? path : "" };
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const each of some) yield* filesOf(each);
  }
}

const drop = field("drop");
let over = 0;
for (const [kind, change] of [["dragenter", 1], ["dragleave", -1]]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    over += change;
    drop.classList.toggle("over", over > 0);
  });
}
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => event.preventDefault()); // Beside the field, it would open the file.
drop.addEventListener("drop", async (event) => {
  over = 0;
  drop.classList.remove("over");
  // The entries can be had only until the first wait.
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  const plain = [...event.dataTransfer.files];
  if (!entries.length) return addFiles(plain);
  let found = [];
  for (const entry of entries) {
    for await (const source of filesOf(entry)) {
      found.push(source);
      if (found.length === 100) add(found.splice(0));
    }
  }
  add(found);
});

field("send-text").addEventListener("click", () => {
  const text = field("text").value;
  if (!text.trim()) return field("text").focus();
  if (add([{ text, title: field("text-title").value.trim() }])) {
    field("text").value = field("text-title").value = "";
  }
});

field("add-pair").addEventListener("click", () => {
  const pair = field("pair").content.firstElementChild.cloneNode(true);
  pair.querySelector("[data-remove]").addEventListener("click", () => {
    pair.remove();
    field("add-pair").focus();
  });
  field("metadata").append(pair);
  pair.querySelector("[data-name]").focus();
});

form.addEventListener("submit", (event) => event.preventDefault());
