// Draws the customer's messages. Text is only ever set as text.
import { dayName, localTime } from "./times.js";

const ICONS = { sending: 0, waiting: 0, sent: 1, failed: 2 };

export function createLog(words, onRetry) {
  const list = document.getElementById("dm-log");
  const main = document.getElementById("dm-main");
  const icons = document.getElementById("dm-state-icons").content.children;
  const drawn = new Map(); // message id or browser id -> element
  const early = new Set(); // ids that the stream brought before the POST was answered
  const days = new Map(); // ISO day -> its divider

  const nearEnd = () => main.scrollHeight - main.scrollTop - main.clientHeight < 120;

  function isoDay(at) {
    const then = new Date(at);
    if (Number.isNaN(then.getTime())) return "";
    return [then.getFullYear(), then.getMonth() + 1, then.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
  }

  // Messages stand in the order of the server's numbers; those that have none yet stand at the end.
  function place(item, seq) {
    item.dataset.seq = seq || "";
    const next = seq && [...list.querySelectorAll(".dm-msg")].find((other) => other !== item && !(Number(other.dataset.seq) && Number(other.dataset.seq) < seq));
    if (item.parentNode && (next || null) === item.nextElementSibling) return;
    if (!item.parentNode || next) list.insertBefore(item, next || null);
    const day = isoDay(item.dataset.at);
    if (!day) return;
    if (!days.has(day)) {
      const line = document.createElement("p");
      line.className = "dm-day";
      line.textContent = dayName(day);
      days.set(day, line);
    }
    list.insertBefore(days.get(day), [...list.querySelectorAll(".dm-msg")].find((other) => isoDay(other.dataset.at) === day));
  }

  function draw(from, text, at, seq) {
    const follow = nearEnd() || from === "customer";
    const item = document.createElement("div");
    item.className = `dm-msg dm-msg--${from === "customer" ? "customer" : "business"}`;
    item.dataset.at = at;
    const bubble = document.createElement("p");
    bubble.className = "dm-bubble";
    bubble.dir = "auto";
    const who = document.createElement("span");
    who.className = "sr-only";
    who.textContent = `${from === "customer" ? words.you : words.business}: `;
    const said = document.createElement("span");
    said.textContent = text;
    bubble.append(who, said);
    item.append(bubble);
    place(item, seq);
    if (follow) main.scrollTop = main.scrollHeight;
    return item;
  }

  function foot(item, state, id) {
    item.dataset.state = state;
    item.querySelector(".dm-foot")?.remove();
    const line = document.createElement(state === "failed" ? "button" : "p");
    line.className = "dm-foot";
    if (state === "failed") {
      line.type = "button";
      line.addEventListener("click", () => onRetry(id));
    }
    const text = document.createElement("span");
    text.textContent = state === "sent" ? `${words.sent} · ${localTime(item.dataset.at, "time")}` : words[state];
    line.append(icons[ICONS[state]].cloneNode(true), text);
    item.append(line);
    // only the newest message that arrived keeps its "sent" line
    if (state === "sent") {
      for (const other of list.querySelectorAll('.dm-msg[data-state="sent"] .dm-foot')) if (!item.contains(other)) other.remove();
    }
    if (nearEnd()) main.scrollTop = main.scrollHeight;
  }

  return {
    mine(item) {
      if (drawn.has(item.id)) return;
      drawn.set(item.id, draw("customer", item.text, item.at));
      foot(drawn.get(item.id), "waiting", item.id);
    },
    state(id, state) {
      const item = drawn.get(id);
      if (item) foot(item, state, id);
    },
    accept(id, messageId) {
      const item = drawn.get(id);
      if (!item) return;
      if (early.has(messageId) && drawn.get(messageId) !== item) drawn.get(messageId)?.remove();
      drawn.set(messageId, item);
      foot(item, "sent", id);
    },
    show(message) {
      const known = drawn.get(message.id) ?? (message.client_message_id && drawn.get(message.client_message_id));
      if (known) {
        drawn.set(message.id, known);
        place(known, message.seq);
        if (known.dataset.state && known.dataset.state !== "sent") foot(known, "sent", message.id);
        return;
      }
      early.add(message.id);
      drawn.set(message.id, draw(message.from, message.text, message.at, message.seq));
    },
  };
}
