// On every page: times that say how long ago, and a menu that filters at once.

import { tellTimes } from "./common.js";
import { remember } from "./live.js";

remember();
tellTimes();
setInterval(tellTimes, 10_000);

const filters = document.getElementById("filters");
filters?.addEventListener("change", (event) => {
  if (event.target.matches("select")) filters.requestSubmit();
});
// Fields that are empty say nothing, and need not stand in the address.
for (const form of document.querySelectorAll('form[role="search"]')) {
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (!value) formData.delete(name);
  });
}
