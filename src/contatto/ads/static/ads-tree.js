// Chosen rows of the Ads Manager: they stay chosen when the table is fetched anew, as long as they are in it.
const picked = new Set();
const every = () => [...document.querySelectorAll(".tree input[name=rows]")];
const boxes = () => every().filter((box) => box.getClientRects().length > 0); // on a phone some rows are tucked away

function showPicked() {
  const all = boxes();
  for (const box of every()) box.checked = picked.has(box.value);
  const on = all.filter((box) => box.checked).length;
  const page = document.querySelector("[data-pick-page]");
  if (page) {
    page.closest("[data-needs-script]").hidden = false;
    page.checked = on > 0 && on === all.length;
    page.indeterminate = on > 0 && !page.checked;
  }
  const count = document.querySelector("#bulk [data-picked]");
  if (count) {
    count.dataset.picked ||= count.textContent;
    count.textContent = `${count.dataset.picked}: ${on.toLocaleString(document.documentElement.lang)}`;
  }
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-pick-page]")) {
    for (const box of boxes()) picked[event.target.checked ? "add" : "delete"](box.value);
  } else if (event.target.matches(".tree input[name=rows]")) {
    picked[event.target.checked ? "add" : "delete"](event.target.value);
  } else return;
  showPicked();
});

// A row that is folded away or filtered out is not worked on, so it is not chosen any more.
function dropHidden() {
  const shown = new Set(boxes().map((box) => box.value));
  for (const value of picked) if (!shown.has(value)) picked.delete(value);
  showPicked();
}
document.addEventListener("htmx:after:swap", dropHidden);
window.matchMedia("(max-width: 48rem)").addEventListener("change", dropHidden);

// The browser may have kept ticks over a reload or the way back.
window.addEventListener("pageshow", () => {
  for (const box of boxes()) if (box.checked) picked.add(box.value);
  showPicked();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" && event.target.matches("#bulk .input")) {
    event.preventDefault();
    event.target.parentElement.querySelector("button").click();
    return;
  }
  if (event.key.toLowerCase() !== "x" || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input:not([type=checkbox]), textarea, select")) return;
  const box = document.querySelector(".tree [data-current] input[name=rows]");
  if (!box) return;
  event.preventDefault();
  box.click();
});
