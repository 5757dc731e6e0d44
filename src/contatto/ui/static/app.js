// What every page needs: the CSRF header, times, copy buttons, menus, dialogs, colours, and calm failure messages.
import "./keyboard.js";
import { localizeTimes } from "./times.js";
import { toast, word } from "./words.js";

const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

document.addEventListener("htmx:config:request", (event) => {
  const { request } = event.detail.ctx;
  if (request.method !== "GET" && token) request.headers["X-CSRF-Token"] = token;
});

function inBackground(ctx) {
  return ctx?.sourceElement?.getAttribute?.("hx-trigger")?.includes("live:") ?? false;
}

document.addEventListener("htmx:response:error", (event) => {
  if (inBackground(event.detail.ctx)) return;
  const said = event.detail.ctx.response.headers.get("X-Message");
  toast(said ? decodeURIComponent(said) : word("failed"), { kind: "bad", seconds: 9 });
});
document.addEventListener("htmx:error", (event) => {
  // a refresh that failed in the background will be made again by the next event
  if (!inBackground(event.detail.ctx)) toast(word("offline"), { kind: "bad", seconds: 9 });
});
// A live refresh may change the element before the answer arrives, so scripts read its data as the request began.
document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
  ctx.data = { ...ctx.sourceElement?.dataset };
});
// an element with data-then="x" tells the others on the page once its request is through
document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail;
  const next = ctx.data?.then;
  // not later: the swap may take the element away, and its events would no longer get here
  if (next && ctx.response.status < 400) setTimeout(() => document.body.dispatchEvent(new CustomEvent(next)));
});

// A morph must neither put the server's time text back nor close what a reader opened.
document.addEventListener("DOMContentLoaded", () => {
  window.htmx?.registerExtension("keep-what-the-reader-sees", {
    htmx_before_morph_node(_element, { oldNode, newNode }) {
      if (oldNode.matches?.("[data-keep]")) return false;
      if (oldNode.matches?.("time[data-local]") && oldNode.dateTime === newNode.dateTime) return false;
      if (oldNode.matches?.("time[data-countdown], time[data-due]") && oldNode.dateTime === newNode.dateTime) return false;
      if (oldNode.matches?.("[data-day]") && oldNode.dataset.day === newNode.dataset?.day) return false;
      return true;
    },
    htmx_before_morph_attr(element, { attrName }) {
      return !(attrName === "open" && element.matches("details, dialog"));
    },
  });
});
document.addEventListener("htmx:after:swap", () => localizeTimes());
localizeTimes();
setInterval(localizeTimes, 30000);

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.dataset.done = "";
    toast(word("copied"), { seconds: 2 });
    setTimeout(() => delete button.dataset.done, 2000);
  } catch {
    toast(word("copyFailed"), { kind: "bad" });
  }
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-copy], [data-open-dialog], [data-close], [data-theme-set]");
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target) || target?.dataset.openDialog) menu.open = false;
  }
  if (!target) return;
  if ("copy" in target.dataset) copy(target);
  else if (target.dataset.openDialog) document.getElementById(target.dataset.openDialog)?.showModal();
  else if ("close" in target.dataset) target.closest("dialog")?.close();
  else setTheme(target.dataset.themeSet);
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details[data-menu][open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

function setTheme(choice) {
  window.contattoTheme.set(choice);
  showTheme();
}
function showTheme() {
  const choice = window.contattoTheme.read();
  for (const button of document.querySelectorAll("[data-theme-set]")) {
    button.setAttribute("aria-pressed", String(button.dataset.themeSet === choice));
  }
}
showTheme();

// The server may open a dialog for readers without scripts; with scripts it becomes a real modal one.
// Who has begun to type in it stays in that field: opening it anew would move the focus to the autofocus one.
for (const dialog of document.querySelectorAll("dialog[open][data-modal]")) {
  const focused = document.activeElement;
  dialog.close();
  dialog.showModal();
  if (dialog.contains(focused)) focused.focus();
}
// A double click must not send a form twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm || form.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
  if (event.defaultPrevented || form.method !== "post" || form.hasAttribute("hx-post")) return;
  setTimeout(() => {
    for (const button of form.querySelectorAll("button:not([type=button])")) button.disabled = true;
  });
});
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const button of document.querySelectorAll("form[method=post] button[disabled]:not([data-disabled])")) button.disabled = false;
});
