// Lists at the composer: a slash at its start opens the saved replies, an at sign in a note the members.
// Arrows choose, Enter or Tab puts one in.
let chosen = -1;

const KINDS = {
  "saved-replies": {
    asked: (text) => /^\/(\S*)$/.exec(text)?.[1],
    put: (field, item) => { field.value = item.dataset.text.replaceAll("{name}", field.dataset.name ?? ""); },
  },
  "known-members": {
    asked: (text) => /(?:^|\s)@([^@\n]{0,40})$/.exec(text)?.[1],
    put: (field, item) => { field.value = `${field.value.replace(/@[^@\n]{0,40}$/, "")}@${item.dataset.text} `; },
  },
};

function listOf(field) {
  return field?.dataset?.picks && field.form?.querySelector(".saved");
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

function fill(field, list, word) {
  const all = [...document.getElementById(field.dataset.picks).content.cloneNode(true).children];
  const fits = (item) => `${item.dataset.shortcut ?? ""} ${item.dataset.text.toLowerCase()}`.includes(word.toLowerCase());
  const fitting = all.filter((item) => !item.dataset.text || fits(item));
  list.replaceChildren(...fitting);
  list.hidden = !fitting.length;
  mark(list, 0);
}

function put(field, list) {
  const item = shown(list)[chosen];
  if (!item) return;
  KINDS[field.dataset.picks].put(field, item);
  list.hidden = true;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
}

document.addEventListener("input", (event) => {
  const list = listOf(event.target);
  if (!list) return;
  const word = KINDS[event.target.dataset.picks].asked(event.target.value.slice(0, event.target.selectionEnd));
  if (word === undefined) list.hidden = true;
  else fill(event.target, list, word);
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
