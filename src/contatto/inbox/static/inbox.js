// The inbox: keeps the thread at its end while one reads there, keeps drafts, sends with Enter, sends photos.
import { shrink, toBlob } from "./chat-photos.js";
import "./inbox-typing.js";
import { toast, word } from "/static/ui/words.js";

const DRAFT = "contatto.draft.";
const NEAR = 80;
const atEnd = new WeakMap();

function nearEnd(log) {
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
}

function settle() {
  for (const log of document.querySelectorAll("[data-stick]")) {
    if (!atEnd.has(log)) {
      atEnd.set(log, true);
      log.addEventListener("scroll", () => atEnd.set(log, nearEnd(log)), { passive: true });
    }
    if (atEnd.get(log)) log.scrollTop = log.scrollHeight;
  }
  for (const form of document.querySelectorAll("[data-composer]")) {
    if (form.dataset.ready) continue;
    form.dataset.ready = "1";
    form.elements.text.value ||= read(form.dataset.composer);
    form.elements.client_message_id.value = newId();
  }
}

function newId() {
  return crypto.randomUUID?.() ?? String(Math.random()).slice(2);
}

function read(id) {
  try { return localStorage.getItem(DRAFT + id) ?? ""; } catch { return ""; }
}
function keep(id, text) {
  try {
    if (text) localStorage.setItem(DRAFT + id, text);
    else localStorage.removeItem(DRAFT + id);
  } catch { /* without storage the text lives as long as the page */ }
}

document.addEventListener("input", (event) => {
  const form = event.target.closest("[data-composer]");
  if (form && event.target.name === "text") keep(form.dataset.composer, event.target.value);
});

document.addEventListener("keydown", (event) => {
  const form = event.target.closest?.("[data-composer]");
  if (!form || event.target.name !== "text" || event.defaultPrevented || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (form.elements.text.value.trim()) form.requestSubmit();
});

document.addEventListener("htmx:before:request", (event) => {
  const form = event.detail.ctx.sourceElement?.closest?.("[data-composer]");
  if (form) form.sent = form.elements.text.value;
});

document.addEventListener("htmx:after:request", (event) => {
  const { sourceElement: source, data, response } = event.detail.ctx;
  const form = source?.closest?.("[data-composer]");
  if (!form || response.status >= 400) return;
  for (const menu of form.querySelectorAll("details[data-menu][open]")) menu.open = false;
  if ("keepsText" in data) {
    form.elements.client_message_id.value = newId();
    return;
  }
  // what was typed while the message was on its way stays
  if (form.elements.text.value === form.sent) form.elements.text.value = "";
  keep(form.dataset.composer, form.elements.text.value);
  form.elements.client_message_id.value = newId();
  const log = form.closest(".thread")?.querySelector("[data-stick]");
  if (log) atEnd.set(log, true);
});

// The reader's own time becomes one that is the same everywhere.
document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-local-time]")) return;
  const then = new Date(event.target.value);
  event.target.form.elements.at.value = Number.isNaN(then.getTime()) ? "" : then.toISOString();
});
// without a time nothing is sent, and the field says why
document.addEventListener("htmx:before:request", (event) => {
  const field = event.detail.ctx.sourceElement?.closest?.("[data-later]")?.querySelector("[data-local-time]");
  if (!field) return;
  field.setCustomValidity(field.value ? "" : field.dataset.empty);
  if (!field.reportValidity()) event.preventDefault();
});
document.addEventListener("input", (event) => event.target.matches("[data-local-time]") && event.target.setCustomValidity(""));
// the usual wish: tomorrow at nine
document.addEventListener("toggle", (event) => {
  const field = event.target.matches?.("[data-later][open]") && event.target.querySelector("[data-local-time]");
  if (!field || field.value) return;
  const now = new Date();
  const then = new Date(now.getFullYear(), now.getMonth(), now.getDate() + 1, 9);
  field.value = new Date(then.getTime() - then.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}, { capture: true });

// a menu has done its work when what was chosen is through; labels are often chosen together
document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
  ctx.menu = ctx.sourceElement?.closest?.(".tools details[data-menu]"); // a refresh may remove the form from it
});
document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  const { sourceElement: form, menu, data, response } = ctx;
  if (!menu || response.status >= 400) return;
  if (!menu.id.startsWith("labels-")) menu.open = false;
  else if (form.matches(".tools__new")) form.reset();
  else if (data.labelOff) offerLabel(data, ctx.request.action);
});

// What was taken off can be put back; the pane hears of both by the live stream.
function offerLabel(data, action) {
  const path = action.replace(/\/[^/]+\/remove$/, "");
  const sent = new URLSearchParams({ name: data.labelOff, csrf_token: document.querySelector('meta[name="csrf-token"]').content });
  const undo = () => fetch(path, { method: "POST", body: sent }).then(
    (answer) => answer.ok || toast(word("failed"), { kind: "bad", seconds: 9 }),
    () => toast(word("offline"), { kind: "bad", seconds: 9 }),
  );
  toast(data.says, { label: data.undo, act: undo, seconds: 12 });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-toggle-contact]");
  if (!button) return;
  const panes = document.getElementById("panes");
  const open = panes.toggleAttribute("data-contact");
  const opener = document.querySelector(".thread__info");
  opener?.setAttribute("aria-expanded", String(open));
  if (open) panes.querySelector(".contact__close")?.focus();
  else opener?.focus();
});

document.addEventListener("change", async (event) => {
  const { photos } = event.target.dataset ?? {};
  if (!photos) return;
  const files = [...event.target.files];
  event.target.value = "";
  for (const file of files) await sendPhoto(photos, file);
});

async function sendPhoto(conversation, file) {
  const csrf = document.querySelector('meta[name="csrf-token"]').content;
  const { url } = await shrink(file);
  const blob = toBlob(url);
  const id = newId();
  try {
    const response = await fetch(`/inbox/${conversation}/photos?client_message_id=${id}`, {
      method: "POST",
      headers: { "Content-Type": blob.type, "X-CSRF-Token": csrf, "HX-Request": "true" },
      body: blob,
    });
    if (response.ok) return;
    toast(decodeURIComponent(response.headers.get("X-Message") ?? "") || word("failed"), { kind: "bad", seconds: 9 });
  } catch {
    toast(word("offline"), { kind: "bad", seconds: 9 });
  }
}

document.addEventListener("htmx:after:swap", settle);
settle();
