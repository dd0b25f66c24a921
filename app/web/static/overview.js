// The overview: made anew every two seconds while somebody looks. The server counts once a second at the most.

import { sleep } from "./common.js";
import { refresh } from "./live.js";

const EVERY_MS = 2000;

for (;;) {
  await sleep(EVERY_MS);
  if (!document.hidden) await refresh();
}
