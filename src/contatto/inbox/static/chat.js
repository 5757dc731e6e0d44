// The customer's chat. What is written is kept in this browser until the server has taken it, and sent again
// after a reload or a lost connection. The id that the browser gives to a message makes a repeat harmless.
import { forgetUnsent, keepUnsent, loadDraft, loadQueue, saveDraft } from "./chat-store.js";
import { createLog } from "./chat-log.js";
import { shrink, toBlob } from "./chat-photos.js";
import { createSigns } from "./chat-signs.js";
import { address, token } from "./chat-address.js";
import { localTime } from "/static/ui/times.js";

const body = document.body;
const account = body.dataset.account;
const field = document.getElementById("dm-text");
const button = document.getElementById("dm-send");
const offline = document.getElementById("dm-offline");
const photo = document.getElementById("dm-photo");
const asks = document.getElementById("dm-asks"); // helps to begin, and goes with the first message
const log = createLog(body.dataset, { onRetry: (id) => retry(id), photoUrl: (id) => address(`photos/${encodeURIComponent(id)}`) });
const signs = createSigns();

// what the server says of a photo that it did not take, in the page's own words
const REFUSALS = { not_a_photo: "notAPhoto", photo_too_large: "photoTooLarge", too_large: "photoTooLarge" };

const refusal = (item) => body.dataset[REFUSALS[item.why]] ?? "";

// the server took nothing, and says after how many seconds it will
class Slowed extends Error {
  constructor(response) {
    super("429");
    this.waitMs = 1000 * (Number(response.headers.get("Retry-After")) || 30);
  }
}

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

function later(waitMs = 0) {
  clearTimeout(timer);
  timer = setTimeout(flush, waitMs || pause);
  if (!waitMs) pause = Math.min(pause * 2, 30000);
}

async function post(item) {
  const blob = item.photo && toBlob(item.photo.url);
  const response = await fetch(blob ? address("photos", { client_message_id: item.id }) : address("messages"), {
    method: "POST",
    credentials: "same-origin",
    headers: { "Content-Type": blob ? blob.type : "application/json", ...(token && { "X-CSRF-Token": token }) },
    body: blob || JSON.stringify({ client_message_id: item.id, text: item.text }),
    signal: AbortSignal.timeout(blob ? 60000 : 20000),
  });
  // refused for good: no repeat will change the answer
  if (response.status >= 400 && response.status < 500 && ![408, 425, 429].includes(response.status)) {
    return { refused: true, code: (await response.json().catch(() => ({}))).code };
  }
  if (response.status === 429) throw new Slowed(response);
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
        item.why = answer.code;
        giveUp(item);
      } else {
        queue = queue.filter((one) => one !== item);
        forgetUnsent(account, item);
        log.accept(item.id, answer.message_id);
        document.dispatchEvent(new Event("chat:said"));
      }
    }
  } catch (error) {
    const waitMs = error instanceof Slowed ? error.waitMs : 0;
    const at = new Date(Date.now() + waitMs).toISOString();
    const says = waitMs ? body.dataset.slowed.replace("{time}", localTime(at, "time")) : "";
    for (const item of queue) if (!item.refused) log.state(item.id, "waiting", says);
    setOffline(!waitMs);
    later(waitMs);
  } finally {
    sending = false;
  }
}

// What no repeat can change says why and can be taken away; anything else waits to be sent again.
function giveUp(item) {
  item.refused = true;
  keepUnsent(account, item);
  log.state(item.id, refusal(item) ? "refused" : "failed", refusal(item));
}

function retry(id) {
  const item = queue.find((one) => one.id === id);
  if (!item) return;
  if (refusal(item)) {
    queue = queue.filter((one) => one !== item);
    forgetUnsent(account, item);
    return log.remove(id);
  }
  item.refused = false;
  keepUnsent(account, item);
  flush();
}

function send(text, photo) {
  const clean = text.trim();
  if (!clean && !photo) return;
  const item = { id: newId(), text: clean, at: new Date().toISOString(), ...(photo && { photo }), ...(photo?.why && { why: photo.why }) };
  queue.push(item);
  keepUnsent(account, item);
  log.mine(item);
  if (item.why) giveUp(item);
  signs.sent();
  asks?.remove();
  flush();
}

function take(message) {
  last = Math.max(last, Number(message.seq) || 0);
  if (message.from === "customer") asks?.remove();
  else {
    signs.arrived();
    // the site around us shows that something came; it is told no more than that
    if (window.parent !== window) window.parent.postMessage("contatto:message", "*");
  }
  log.show(message);
}

// What is new in the thread. Of a message that is unsent here only the answer may have been lost.
async function catchUp() {
  const unsent = queue.map((item) => item.id).slice(0, 40).join(",");
  const response = await fetch(address("messages", { after: last, ...(unsent && { unsent }) }), { credentials: "same-origin" });
  if (!response.ok) throw new Error(String(response.status));
  const { messages, read_at: readAt, ids } = await response.json();
  for (const [id, messageId] of Object.entries(ids)) log.name(id, messageId);
  for (const message of messages) take(message);
  for (const item of queue.filter((one) => log.hasArrived(ids[one.id]))) forgetUnsent(account, item);
  queue = queue.filter((one) => !log.hasArrived(ids[one.id]));
  log.read(readAt);
  return ids;
}

function listen(wait = 1000) {
  const source = new EventSource(address("stream", { after: last }));
  source.addEventListener("open", () => {
    wait = 1000;
    catchUp().then(() => setOffline(false)).then(flush).catch(() => {});
  });
  source.addEventListener("message", (event) => {
    try { take(JSON.parse(event.data)); } catch { /* a heartbeat */ }
  });
  source.addEventListener("read", (event) => log.read(JSON.parse(event.data).read_at));
  source.addEventListener("typing", () => signs.businessTypes());
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(Math.min(wait * 2, 30000)), wait);
  });
}

function ready() {
  button.disabled = !field.value.trim();
}

field.value ||= loadDraft(account); // what was typed before this ran stays
ready();
field.addEventListener("input", () => {
  saveDraft(account, field.value);
  if (field.value.trim()) signs.typing();
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
photo?.addEventListener("change", async () => {
  const files = [...photo.files];
  photo.value = "";
  for (const file of files) send("", await shrink(file));
  field.focus();
});
window.addEventListener("online", () => {
  pause = 1000;
  catchUp().then(() => setOffline(false)).then(flush).catch(() => {});
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && window.parent !== window && !document.querySelector("dialog[open]")) window.parent.postMessage("contatto:close", "*");
});
window.addEventListener("offline", () => setOffline(true));

// The history comes first, so that messages still waiting here stand below it.
async function start() {
  let ids = {};
  try {
    ids = await catchUp();
  } catch {
    setOffline(true);
  }
  for (const item of queue) {
    log.mine(item);
    if (ids[item.id]) log.name(item.id, ids[item.id]);
    if (item.refused) giveUp(item);
  }
  flush();
  listen();
}
start();
