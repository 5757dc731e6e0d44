// Rows that arrive while one looks at the Leads Center light up once; a changed filter lights nothing.
let byEvent = false;

document.addEventListener("htmx:before:request", (event) => {
  byEvent = event.detail.ctx.sourceElement?.id === "lead-results";
});

function ids() {
  return new Set([...document.querySelectorAll("#lead-rows > tr")].map((row) => row.id));
}
let known = ids();

document.addEventListener("htmx:after:swap", () => {
  const now = ids();
  if (byEvent) {
    for (const id of now) {
      if (!known.has(id)) document.getElementById(id)?.classList.add("is-new");
    }
  }
  known = now;
});
