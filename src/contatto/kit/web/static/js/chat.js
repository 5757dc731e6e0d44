// The customer's chat. What is written is kept in this browser until the server has taken it, and sent again
// after a reload or a lost connection. The id that the browser gives to a message makes a repeat harmless.
import { forgetUnsent, keepUnsent, loadDraft, loadQueue, saveDraft } from "./chat-store.js";
import { createLog } from "./chat-log.js";

const body = document.body;
const account = body.dataset.account;
const base = `/chat/${encodeURIComponent(account)}`;
const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
const field = document.getElementById("dm-text");
const button = document.getElementById("dm-send");
const offline = document.getElementById("dm-offline");
const asks = document.getElementById("dm-asks"); // helps to begin, and goes with the first message
const log = createLog(body.dataset, (id) => retry(id));

let queue = loadQueue(account); // messages that the server has not taken yet, oldest first
let last = 0; // the highest seq that is shown
let sending = false;
let pause = 1000;
let timer = 0;

function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function setOffline(is) {
  offline.hidden = !is;
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(flush, pause);
  pause = Math.min(pause * 2, 30000);
}

async function post(item) {
  const response = await fetch(`${base}/messages`, {
    method: "POST",
    credentials: "same-origin",
    headers: { "Content-Type": "application/json", ...(token && { "X-CSRF-Token": token }) },
    body: JSON.stringify({ client_message_id: item.id, text: item.text }),
    signal: AbortSignal.timeout(20000),
  });
  // refused for good: no repeat will change the answer
  if (response.status >= 400 && response.status < 500 && ![408, 425, 429].includes(response.status)) return { refused: true };
  if (!response.ok) throw new Error(String(response.status));
  return response.json();
}

// One message at a time, so that their order is the order in which they were written.
async function flush() {
  if (sending) return;
  clearTimeout(timer);
  sending = true;
  try {
    for (let item; (item = queue.find((one) => !one.refused)); ) {
      log.state(item.id, "sending");
      const answer = await post(item);
      pause = 1000;
      setOffline(false);
      if (answer.refused) {
        item.refused = true;
        keepUnsent(account, item);
        log.state(item.id, "failed");
      } else {
        queue = queue.filter((one) => one !== item);
        forgetUnsent(account, item);
        log.accept(item.id, answer.message_id);
      }
    }
  } catch {
    for (const item of queue) if (!item.refused) log.state(item.id, "waiting");
    setOffline(true);
    later();
  } finally {
    sending = false;
  }
}

function retry(id) {
  const item = queue.find((one) => one.id === id);
  if (!item) return;
  item.refused = false;
  keepUnsent(account, item);
  flush();
}

function send(text) {
  const clean = text.trim();
  if (!clean) return;
  const item = { id: newId(), text: clean, at: new Date().toISOString() };
  queue.push(item);
  keepUnsent(account, item);
  log.mine(item);
  asks?.remove();
  flush();
}

function take(message) {
  last = Math.max(last, Number(message.seq) || 0);
  // the answer to a POST may be lost: the history then tells that the message did arrive
  if (message.client_message_id) {
    queue = queue.filter((one) => one.id !== message.client_message_id);
    forgetUnsent(account, { id: message.client_message_id });
  }
  if (message.from === "customer") asks?.remove();
  log.show(message);
}

async function catchUp() {
  const response = await fetch(`${base}/messages?after=${last}`, { credentials: "same-origin" });
  if (!response.ok) throw new Error(String(response.status));
  for (const message of (await response.json()).messages) take(message);
}

function listen(wait = 1000) {
  const source = new EventSource(`${base}/stream`);
  source.addEventListener("open", () => {
    wait = 1000;
    catchUp().then(() => setOffline(false)).then(flush).catch(() => {});
  });
  source.addEventListener("message", (event) => {
    try { take(JSON.parse(event.data)); } catch { /* a heartbeat */ }
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(Math.min(wait * 2, 30000)), wait);
  });
}

function ready() {
  button.disabled = !field.value.trim();
}

field.value = loadDraft(account);
ready();
field.addEventListener("input", () => {
  saveDraft(account, field.value);
  ready();
});
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  document.getElementById("dm-form").requestSubmit();
});
document.getElementById("dm-form").addEventListener("submit", (event) => {
  event.preventDefault();
  send(field.value);
  field.value = "";
  saveDraft(account, "");
  ready();
  field.focus();
});
for (const list of [asks, document.getElementById("dm-prompts")]) {
  list?.addEventListener("click", (event) => {
    const ask = event.target.closest("[data-ask]");
    if (!ask) return;
    send(ask.dataset.ask);
    field.focus();
  });
}
window.addEventListener("online", () => {
  pause = 1000;
  catchUp().then(() => setOffline(false)).then(flush).catch(() => {});
});
window.addEventListener("offline", () => setOffline(true));

// The history comes first, so that messages still waiting here stand below it.
async function start() {
  try {
    await catchUp();
  } catch {
    setOffline(true);
  }
  for (const item of queue) {
    log.mine(item);
    if (item.refused) log.state(item.id, "failed");
  }
  flush();
  listen();
}
start();
