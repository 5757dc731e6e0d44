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
