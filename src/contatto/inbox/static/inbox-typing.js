// Who writes just now: the customer, or another member in the same thread. Nothing of it is kept.
const TELL_EVERY_MS = 3000;
const SHOWN_FOR_MS = 6000;
const csrf = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
let told = 0;
let hide = 0;

function lineOf(conversation) {
  return document.querySelector(`[data-typing="${CSS.escape(conversation ?? "")}"]`);
}

function show(line, name) {
  const [customer, member] = [line.querySelector("[data-typing-customer]"), line.querySelector("[data-typing-member]")];
  customer.hidden = Boolean(name);
  member.hidden = !name;
  member.textContent = member.dataset.typingMember.replace("{name}", name);
  line.hidden = false;
  const log = line.closest("[data-stick]");
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 120) log.scrollTop = log.scrollHeight;
  clearTimeout(hide);
  hide = setTimeout(() => { line.hidden = true; }, SHOWN_FOR_MS);
}

document.body.addEventListener("live:customer_typing", ({ detail }) => {
  const line = lineOf(detail.conversation_id);
  if (line) show(line, "");
});
document.body.addEventListener("live:member_typing", ({ detail }) => {
  const line = lineOf(detail.conversation_id);
  if (line && detail.member_id !== document.querySelector("[data-me]")?.dataset.me) show(line, detail.name);
});
document.body.addEventListener("live:message_received", ({ detail }) => {
  const line = lineOf(detail.conversation_id);
  if (line) line.hidden = true;
});

document.addEventListener("submit", (event) => {
  if (event.target.matches("form[data-composer]")) told = 0;
});
document.addEventListener("input", (event) => {
  const form = event.target.closest?.("form[data-composer]");
  if (!form || form.dataset.composer.startsWith("note.") || event.target.name !== "text" || !event.target.value.trim()) return;
  if (Date.now() - told < TELL_EVERY_MS) return;
  told = Date.now();
  fetch(`/inbox/${form.dataset.composer}/typing`, { method: "POST", headers: { "X-CSRF-Token": csrf, "HX-Request": "true" } }).catch(() => {});
});
