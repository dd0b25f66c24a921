// One document: followed until it is final, and steered.

import { api, complain, deletionConfirmed, documentOf } from "./common.js";
import { Events, refresh, refreshSoon, showProgress } from "./live.js";

const { document: id } = document.querySelector("[data-document]").dataset;
const head = document.getElementById("head");
const status = () => head.querySelector("[data-status]").dataset.status;
const isFinal = () => ["COMPLETED", "FAILED"].includes(status());

const events = new Events({
  path: `/documents/${id}/events`,
  onDocument: refreshSoon,
  onProgress: (event) => showProgress(head, event),
  onLook: refresh,
  isOver: isFinal,
});
// The server ends the stream when the document is final; somebody may have begun anew since.
const follow = () => isFinal() || events.start();
follow();
document.addEventListener("visibilitychange", async () => {
  if (document.hidden || !isFinal()) return;
  await refresh();
  follow();
});

const ACTS = {
  retry: () => api("POST", `/documents/${id}/retry`),
  cancel: () => api("POST", `/documents/${id}/cancel`),
  delete: async (shown) => {
    if (!(await deletionConfirmed([shown]))) return;
    await api("DELETE", `/documents/${id}`);
    location.assign("/ui/documents");
  },
};

head.addEventListener("click", async ({ target }) => {
  const { act } = target.dataset;
  if (!act) return;
  target.disabled = true;
  try {
    await ACTS[act](documentOf(target.closest("[data-key]")));
    if (act !== "delete") {
      await refresh();
      follow();
    }
  } catch (error) {
    complain(error);
  } finally {
    target.disabled = false;
  }
});
