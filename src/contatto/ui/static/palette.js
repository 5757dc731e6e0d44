// The command palette: pages, what can be done on this page, and conversations. It opens with Ctrl and K.
const dialog = document.getElementById("palette");
const field = document.getElementById("palette-q");
const list = document.getElementById("palette-list");
const WAIT_MS = 150;
let chosen = 0;
let asked = 0;
let timer = 0;

const options = () => [...list.querySelectorAll("[role=option]")];
const plain = (text) => text.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "");

function mark(at) {
  const all = options();
  chosen = all.length ? (at + all.length) % all.length : 0;
  all.forEach((item, index) => item.setAttribute("aria-selected", String(index === chosen)));
  const now = all[chosen];
  if (now) field.setAttribute("aria-activedescendant", now.id);
  else field.removeAttribute("aria-activedescendant");
  now?.scrollIntoView({ block: "nearest" });
}

function option(title, { href = "", icon, hint = "", act } = {}) {
  const item = document.createElement("li");
  item.setAttribute("role", "option");
  if (href) item.dataset.href = href;
  if (icon) item.append(icon.cloneNode(true));
  const name = document.createElement("span");
  name.dir = "auto";
  name.textContent = title;
  item.append(name);
  if (hint) {
    const more = document.createElement("span");
    more.className = "muted small clip";
    more.dir = "auto";
    more.textContent = hint;
    item.append(more);
  }
  item.act = act;
  return item;
}

// Everything that a key can do on this page, under the name that it has there.
function actionsHere() {
  return [...document.querySelectorAll("main [data-key]")].filter((one) => one.offsetParent && !one.disabled).map((one) => {
    const label = one.labels?.[0]?.textContent ?? one.getAttribute("aria-label") ?? one.textContent;
    const act = () => (one.matches("summary") ? (one.parentElement.open = true, one.focus()) : one.matches("input, textarea") ? one.focus() : one.click());
    return option(label.replace(/\s+/g, " ").trim(), { icon: one.querySelector("svg") ?? undefined, act });
  }).filter((item) => item.textContent);
}

function group(title, items) {
  if (!items.length) return [];
  const head = document.createElement("li");
  head.setAttribute("role", "presentation");
  head.className = "palette__head";
  head.textContent = title;
  return [head, ...items];
}

function draw(talks) {
  const words = plain(field.value.trim());
  const fits = (item) => plain(item.textContent).includes(words);
  const pages = [...document.getElementById("palette-pages").content.cloneNode(true).querySelectorAll("li")];
  const { actions, pages: pagesTitle, talks: talksTitle, none } = list.dataset;
  const found = [...group(actions, actionsHere().filter(fits)), ...group(talksTitle, talks), ...group(pagesTitle, pages.filter(fits))];
  list.replaceChildren(...(found.length ? found : group(none, [document.createElement("li")])));
  options().forEach((item, index) => { item.id = `palette-${index}`; });
  mark(0);
}

async function search() {
  const words = field.value.trim();
  const mine = ++asked;
  if (words.length < 2) return;
  try {
    const response = await fetch(`/inbox/search?q=${encodeURIComponent(words)}`);
    if (!response.ok || mine !== asked) return;
    draw((await response.json()).found.map((one) => option(one.title, one)));
  } catch { /* pages and actions are there without a connection too */ }
}

function run(item) {
  if (!item) return;
  dialog.close();
  if (item.dataset.href) location.assign(item.dataset.href);
  else item.act?.();
}

export function openPalette() {
  if (!dialog || document.querySelector("dialog[open]")) return;
  field.value = "";
  dialog.showModal();
  draw([]);
  field.focus();
}

field?.addEventListener("input", () => {
  draw([]);
  clearTimeout(timer);
  timer = setTimeout(search, WAIT_MS);
});
dialog?.addEventListener("keydown", (event) => {
  const moves = { ArrowDown: 1, ArrowUp: -1 };
  if (event.key in moves) mark(chosen + moves[event.key]);
  else if (event.key === "Enter") run(options()[chosen]);
  else return;
  event.preventDefault();
  event.stopPropagation();
});
dialog?.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
  else run(event.target.closest("[role=option]"));
});
