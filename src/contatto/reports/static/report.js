// The report page: printing, days of one's own, and the numbers of the day that one points at. All else works without.
const printing = () => document.querySelectorAll("[data-print]").forEach((button) => { button.hidden = false; });
printing();
document.addEventListener("htmx:after:swap", printing);

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) window.print();
  const open = document.querySelector(".filters__columns[open]");
  if (open && !open.contains(event.target)) open.open = false;
});

// paper is white
let screenTheme;
window.addEventListener("beforeprint", () => {
  screenTheme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
});
window.addEventListener("afterprint", () => {
  if (screenTheme) document.documentElement.dataset.theme = screenTheme;
  else delete document.documentElement.dataset.theme;
});

// whoever sets a day means just these days; before htmx hears of the change
document.addEventListener("change", (event) => {
  const period = event.target.form?.querySelector("[data-period]");
  if (period && event.target.matches("[data-own-day]")) period.value = "custom";
}, { capture: true });

// another choice of days shows in the two fields too
document.addEventListener("htmx:after:swap", () => {
  const report = document.getElementById("report");
  const fields = document.querySelectorAll("#filters [data-own-day]");
  if (!report || fields.length !== 2) return;
  [fields[0].value, fields[1].value] = [report.dataset.first, report.dataset.last];
});

function rowAt(plot, event) {
  const box = plot.querySelector(".plot__box").getBoundingClientRect();
  const rows = plot.querySelectorAll("[data-rows] tr");
  const along = (event.clientX - box.left) / box.width;
  const share = document.dir === "rtl" ? 1 - along : along;
  const at = Math.floor(share * rows.length);
  return { row: rows[at], at, count: rows.length };
}

function read(plot, event) {
  const { row, at, count } = rowAt(plot, event);
  const mark = plot.querySelector("[data-mark]");
  const words = plot.querySelector("[data-read]");
  if (!row) {
    mark.setAttribute("width", "0");
    words.textContent = "";
    return;
  }
  mark.setAttribute("x", String((1000 / count) * at));
  mark.setAttribute("width", String(1000 / count));
  const heads = [...plot.querySelectorAll("thead th")].map((head) => head.textContent);
  const cells = [...row.children].map((cell, n) => (n ? `${heads[n]} ${cell.textContent}` : cell.textContent));
  words.textContent = cells.join(" \u00b7 ");
}

document.addEventListener("pointermove", (event) => {
  const plot = event.target.closest?.("[data-plot]");
  if (plot && event.target.closest(".plot__frame")) read(plot, event);
});
document.addEventListener("pointerout", (event) => {
  const plot = event.target.closest?.("[data-plot]");
  if (plot && !plot.contains(event.relatedTarget)) plot.querySelector("[data-read]").textContent = "";
});
