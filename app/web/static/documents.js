// The list: always as it is now, with something to be done about one, some or all of a page.

import { api, complain, counted, deletionConfirmed, documentOf, forEach, notice } from "./common.js";
import { Events, refresh, refreshSoon, showProgress } from "./live.js";

const list = document.getElementById("list");
const bar = document.getElementById("selection");
const chosen = new Set();

if (list) {
  const params = new URLSearchParams(location.search);
  const asked = params.getAll("collection").map((name) => ["collection", name]);
  new Events({
    params: asked,
    onDocument: refreshSoon,
    onProgress: (event) => showProgress(rowOf(event.document_id), event),
    onLook: refresh,
  }).start();
}

const rowOf = (id) => document.querySelector(`#rows > [data-key="${CSS.escape(id)}"]`);
const rows = () => [...document.querySelectorAll("#rows > [data-key]")];
const chosenDocuments = () => rows().map(documentOf).filter(({ id }) => chosen.has(id));

// --- choosing ------------------------------------------------------------------------------------------------

function showChoice() {
  const all = rows();
  for (const id of [...chosen]) if (!all.some((row) => row.dataset.key === id)) chosen.delete(id);
  for (const row of all) {
    const isChosen = chosen.has(row.dataset.key);
    row.classList.toggle("chosen", isChosen);
    row.querySelector(".pick input").checked = isChosen;
  }
  const everything = document.getElementById("pick-all");
  if (everything) {
    everything.checked = chosen.size > 0 && chosen.size === all.length;
    everything.indeterminate = chosen.size > 0 && chosen.size < all.length;
  }
  const documents = chosenDocuments();
  bar.hidden = documents.length === 0;
  document.getElementById("selected").textContent = documents.length ? `${documents.length} selected` : "";
  bar.querySelector('[data-act="retry"]').disabled = !documents.some((each) => each.status === "FAILED");
  bar.querySelector('[data-act="cancel"]').disabled = !documents.some(isUnderWay);
}

const isUnderWay = ({ status }) => status === "PENDING" || status === "PROCESSING";

list?.addEventListener("change", ({ target }) => {
  const ids = target.id === "pick-all" ? rows().map((row) => row.dataset.key) : [target.value];
  for (const id of ids) target.checked ? chosen.add(id) : chosen.delete(id);
  showChoice();
});
document.addEventListener("refreshed", showChoice);
showChoice(); // Browsers remember what was ticked before a reload; we do not.

// --- doing ---------------------------------------------------------------------------------------------------

async function retry(documents) {
  const failed = documents.filter(({ status }) => status === "FAILED");
  if (failed.length === 1) {
    await api("POST", `/documents/${failed[0].id}/retry`); // Rings for it; the other way takes a few seconds.
  } else {
    await api("POST", "/documents/retry", { document_ids: failed.map(({ id }) => id) });
  }
  notice(`${counted(failed.length, "document")} queued again.`);
}

async function each(documents, work, done) {
  const errors = await forEach(documents, work);
  if (errors.length < documents.length) notice(`${counted(documents.length - errors.length, "document")} ${done}.`);
  if (errors.length) throw errors[0];
}

const ACTS = {
  retry,
  cancel: (documents) =>
    each(documents.filter(isUnderWay), ({ id }) => api("POST", `/documents/${id}/cancel`), "cancelled"),
  delete: async (documents) => {
    if (!(await deletionConfirmed(documents))) return false;
    await each(documents, ({ id }) => api("DELETE", `/documents/${id}`), "deleted");
  },
  none: async () => {},
};

async function act(name, documents) {
  try {
    if ((await ACTS[name](documents)) === false) return;
    chosen.clear();
    document.getElementById("main").focus({ preventScroll: true }); // The button that was pressed goes.
  } catch (error) {
    complain(error);
  }
  showChoice();
  refresh();
}

bar.addEventListener("click", ({ target }) => {
  if (target.dataset.act) act(target.dataset.act, chosenDocuments());
});
list?.addEventListener("click", ({ target }) => {
  if (target.dataset.act) act(target.dataset.act, [documentOf(target.closest("[data-key]"))]);
});
