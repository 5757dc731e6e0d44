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

// The saved views follow the list: their request carries what the list shows now.
document.addEventListener("htmx:config:request", (event) => {
  const { sourceElement, request } = event.detail.ctx;
  if (sourceElement?.id !== "lead-views") return;
  const query = document.getElementById("lead-results")?.dataset.query;
  request.action = query ? `/leads/views?${query}` : "/leads/views";
});
