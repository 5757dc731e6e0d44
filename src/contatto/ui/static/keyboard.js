// Keys: J and K walk the rows of the page; letters act unless one types; with Alt they act while typing too.
import { openPalette } from "./palette.js";

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

function press(...keys) {
  const target = keys.map((key) => document.querySelector(`[data-key=${key}]`)).find(Boolean);
  if (!target) return false;
  if (target.matches("summary")) {
    target.parentElement.open = true;
    // a field comes first, wherever it stands: who goes on typing must not press an item of the menu
    const field = target.parentElement.querySelector("textarea, input:not([type=hidden])");
    (field ?? target.parentElement.querySelector(".menu__item") ?? target).focus();
  } else if (target.matches("textarea, input")) target.focus();
  else target.click();
  return true;
}

function nextTab() {
  const tabs = [...document.querySelectorAll("[data-tab]")];
  const at = tabs.findIndex((tab) => tab.getAttribute("aria-current") === "page");
  tabs[(at + 1) % tabs.length]?.click();
}

// Only what the navigation offers to this member.
function visit(path) {
  if (document.querySelector(`#nav a[href="${path}"]`)) location.assign(path);
}

// The physical key with Alt, because Alt changes the letter on some keyboards.
const withAlt = {
  KeyJ: () => step(1, true),
  KeyK: () => step(-1, true),
  KeyP: () => press("note"),
  KeyL: () => press("reply"),
  KeyE: () => press("resolve", "reopen"),
  KeyM: () => press("snooze"),
  KeyO: () => document.querySelector("[data-toggle-contact]")?.click(),
  KeyN: nextTab,
  KeyC: () => visit("/inbox"),
  KeyV: () => visit("/leads"),
  KeyR: () => visit("/reports"),
  KeyS: () => visit("/settings"),
};

const actions = {
  j: () => step(1, document.querySelector("[data-rows=open]") !== null),
  k: () => step(-1, document.querySelector("[data-rows=open]") !== null),
  l: () => document.querySelector("[data-key=mark-lead]")?.click(),
  r: () => document.querySelector("[data-key=reply]")?.focus(),
  "/": () => document.querySelector("[data-key=search]")?.focus(),
  a: () => press("assign"),
  "#": () => press("label"),
  "?": () => document.getElementById("help")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.metaKey && event.code === "KeyK") {
    event.preventDefault();
    openPalette();
    return;
  }
  if (event.defaultPrevented || event.metaKey || document.querySelector("dialog[open]")) return;
  if (event.ctrlKey && event.altKey && event.code === "KeyE") {
    event.preventDefault();
    const next = document.querySelector("[data-row][data-current]")?.closest("li")?.nextElementSibling?.querySelector("a");
    if (press("resolve") && next) document.body.addEventListener("inbox:changed", () => next.click(), { once: true });
    return;
  }
  if (event.ctrlKey && !event.altKey && event.code === "KeyK") {
    event.preventDefault();
    openPalette();
    return;
  }
  if (event.ctrlKey) return;
  if (event.altKey) {
    const act = withAlt[event.code];
    if (!act) return;
    event.preventDefault();
    act();
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
