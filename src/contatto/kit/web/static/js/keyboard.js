// Keys: J and K walk the rows of the page, Alt+J and Alt+K also while typing; L, R, / and ? act.
function typing(target) {
  return target.isContentEditable || target.matches("input:not([type=radio], [type=checkbox]), textarea, select");
}

function rows() {
  return [...document.querySelectorAll("[data-rows] [data-row]")];
}

function step(by, open) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.matches("[data-current], :focus, :focus-within"));
  const next = all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + by))];
  const link = next.matches("a") ? next : next.querySelector("a");
  for (const row of all) row.toggleAttribute("data-current", row === next);
  link.focus();
  next.scrollIntoView({ block: "nearest" });
  if (open) link.click();
}

const actions = {
  j: () => step(1, document.querySelector("[data-rows=open]") !== null),
  k: () => step(-1, document.querySelector("[data-rows=open]") !== null),
  l: () => document.querySelector("[data-key=mark-lead]")?.click(),
  r: () => document.querySelector("[data-key=reply]")?.focus(),
  "/": () => document.querySelector("[data-key=search]")?.focus(),
  "?": () => document.getElementById("help")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  if (event.altKey) {
    // the physical key: Alt changes the letter on some keyboards
    const by = { KeyJ: 1, KeyK: -1 }[event.code];
    if (!by) return;
    event.preventDefault();
    step(by, true);
    return;
  }
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const action = actions[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
});
