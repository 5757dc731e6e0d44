// Rows that arrive while one looks at the Leads Center light up once; a changed filter lights nothing.
function ids() {
  return new Set([...document.querySelectorAll("#lead-rows > tr")].map((row) => row.id));
}
let known = ids();

document.addEventListener("htmx:after:swap", (event) => {
  const now = ids();
  if (event.detail.ctx.sourceElement?.id === "lead-results") {
    for (const id of now) {
      if (!known.has(id)) document.getElementById(id)?.classList.add("is-new");
    }
  }
  known = now;
});

// The saved views and past work follow the list: their request carries what the list shows now.
const FOLLOWING = { "lead-views": "/leads/views", "lead-jobs": "/leads/jobs" };
document.addEventListener("htmx:config:request", (event) => {
  const { sourceElement, request } = event.detail.ctx;
  const path = FOLLOWING[sourceElement?.id];
  if (!path) return;
  const query = document.getElementById("lead-results")?.dataset.query;
  request.action = query ? `${path}?${query}` : path;
});

// The counts of the chips are those of the rows that were fetched with them; the navigation counts anew at the same time.
document.addEventListener("htmx:after:swap", (event) => {
  if (event.detail.ctx.sourceElement?.id !== "lead-results") return;
  const counts = JSON.parse(document.getElementById("lead-results").dataset.counts);
  for (const [status, count] of Object.entries(counts)) {
    const shown = document.querySelector(`#lead-filters .chip:has([value="${status}"]) .chip__n`);
    if (shown) shown.textContent = Number(count).toLocaleString(document.documentElement.lang);
  }
  setTimeout(() => document.body.dispatchEvent(new CustomEvent("leads:counted")));
});

// The selection outlives a live refresh: what was ticked is ticked again. X ticks the row that J and K marked.
const picked = new Set();
const boxes = () => [...document.querySelectorAll("#lead-rows input[name=ids]")];

function showPicked() {
  const all = document.querySelector("[data-pick-all]");
  const count = document.querySelector("[data-picked]");
  const page = document.querySelector("[data-pick-page]");
  const total = document.getElementById("lead-total")?.dataset.total;
  for (const box of boxes()) box.checked = picked.has(box.value);
  if (page) {
    const on = boxes().filter((box) => box.checked).length;
    page.checked = on > 0 && on === boxes().length;
    page.indeterminate = on > 0 && !page.checked;
  }
  if (count) count.textContent = `${count.dataset.picked || (count.dataset.picked = count.textContent)}: ${all?.checked ? total : picked.size}`;
  const amount = document.querySelector("[data-all-count]");
  if (amount && total) amount.textContent = Number(total).toLocaleString(document.documentElement.lang);
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-pick-page]")) {
    for (const box of boxes()) picked[event.target.checked ? "add" : "delete"](box.value);
  } else if (event.target.matches("#lead-rows input[name=ids]")) {
    picked[event.target.checked ? "add" : "delete"](event.target.value);
  } else if (!event.target.matches("[data-pick-all]")) return;
  showPicked();
});
document.addEventListener("htmx:after:swap", (event) => {
  if (event.detail.ctx.sourceElement?.id === "lead-filters") picked.clear();
  const query = document.getElementById("lead-results")?.dataset.query;
  const field = document.querySelector("#bulk [data-query]");
  if (field && query !== undefined) field.value = query;
  showPicked();
});
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "x" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox]), textarea, select") || document.querySelector("dialog[open]")) return;
  const box = document.querySelector("#lead-rows [data-current] input[name=ids]");
  if (!box) return;
  event.preventDefault();
  box.click();
});

// A job may end before this page's stream is open. Whatever ends while one looks, the rows are fetched anew.
let running = null;
document.addEventListener("htmx:after:swap", () => {
  const jobs = [...document.querySelectorAll("#lead-jobs .job")];
  if (!jobs.length) return;
  const now = new Set(jobs.filter((job) => job.dataset.running === "true").map((job) => job.id));
  const ended = running === null || [...running].some((id) => !now.has(id));
  running = now;
  if (ended) setTimeout(() => document.body.dispatchEvent(new CustomEvent("leads:changed")));
});
