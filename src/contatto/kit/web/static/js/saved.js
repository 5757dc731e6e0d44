// Saved replies: a slash at the start of the composer opens the list; arrows choose, Enter or Tab puts one in.
let chosen = -1;

function listOf(field) {
  return field?.form?.querySelector(".saved");
}

function shown(list) {
  return [...list.querySelectorAll("[role=option]")];
}

function mark(list, at) {
  const all = shown(list);
  chosen = all.length ? (at + all.length) % all.length : -1;
  all.forEach((item, index) => item.setAttribute("aria-selected", String(index === chosen)));
  all[chosen]?.scrollIntoView({ block: "nearest" });
}

function fill(field, list) {
  const word = field.value.slice(1).toLowerCase();
  const source = document.getElementById("saved-replies");
  const all = [...source.content.cloneNode(true).children];
  const fitting = all.filter((item) => !item.dataset.shortcut || `${item.dataset.shortcut} ${item.dataset.text.toLowerCase()}`.includes(word));
  list.replaceChildren(...fitting);
  list.hidden = !fitting.length;
  mark(list, 0);
}

function put(field, list) {
  const item = shown(list)[chosen];
  if (!item) return;
  field.value = item.dataset.text.replaceAll("{name}", field.dataset.name ?? "");
  list.hidden = true;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
}

document.addEventListener("input", (event) => {
  const list = listOf(event.target);
  if (!list || event.target.name !== "text") return;
  if (/^\/\S*$/.test(event.target.value)) fill(event.target, list);
  else list.hidden = true;
});

// before the composer hears of Enter
document.addEventListener("keydown", (event) => {
  const list = listOf(event.target);
  if (!list || list.hidden) return;
  const moves = { ArrowDown: 1, ArrowUp: -1 };
  if (event.key in moves) mark(list, chosen + moves[event.key]);
  else if (event.key === "Enter" || event.key === "Tab") put(event.target, list);
  else if (event.key === "Escape") list.hidden = true;
  else return;
  event.preventDefault();
  event.stopPropagation();
}, { capture: true });

document.addEventListener("mousedown", (event) => {
  const item = event.target.closest(".saved [role=option]");
  if (!item) return;
  event.preventDefault();
  const list = item.closest(".saved");
  mark(list, shown(list).indexOf(item));
  put(list.closest("form").elements.text, list);
});
