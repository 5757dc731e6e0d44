// Keeps what is typed into a form as a draft on the server, a moment after the last key.
const form = document.querySelector("form[data-draft]");
const state = document.querySelector("[data-draft-state]");
const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
const PAUSE_MS = 700;
const AGAIN_MS = 10000;
let timer = 0;
let sending = null; // the save that is under way
let isDirty = false;
let isLeaving = false;

function say(name) {
  const text = state?.dataset[name] ?? "";
  if (state && state.textContent !== text) state.textContent = text;
}

function send(options = {}) {
  const body = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (typeof value === "string" && name !== "csrf_token") body.append(name, value);
  isDirty = false;
  return fetch(form.dataset.draft, { method: "PUT", body, headers: { "X-CSRF-Token": token }, ...options });
}

function saveSoon(after = PAUSE_MS) {
  clearTimeout(timer);
  timer = setTimeout(save, after);
}

// One save at a time: a slow one must not arrive after a newer one.
function save() {
  if (sending || isLeaving) return;
  say("saving");
  sending = send().then((answer) => answer.ok, () => false).then((ok) => {
    sending = null;
    isDirty ||= !ok;
    say(ok ? "saved" : "failed");
    if (isDirty) saveSoon(ok ? PAUSE_MS : AGAIN_MS);
  });
}

function note(event) {
  if (!event.target.name) return;
  isDirty = true;
  saveSoon();
}

form?.addEventListener("input", note);
form?.addEventListener("change", note);

// A save that is under way would bring the draft back after the form has become the real thing.
form?.addEventListener("submit", (event) => {
  clearTimeout(timer);
  const isRepeated = isLeaving;
  isLeaving = true;
  if (isDirty && !sending) { // a refused form is not in its draft yet; what is made takes the draft along
    sending = send().catch(() => {}).then(() => { sending = null; });
  }
  if (!sending) return;
  event.preventDefault();
  if (isRepeated) return;
  const { submitter } = event;
  sending.then(() => form.requestSubmit(submitter));
});

addEventListener("pagehide", () => {
  clearTimeout(timer);
  if (isDirty && !isLeaving) send({ keepalive: true }).catch(() => {});
});
addEventListener("pageshow", () => { isLeaving = false; });
