// Draws the customer's messages and how far they have come. Text is only ever set as text.
import { dayName, localTime } from "/static/ui/times.js";

const ICONS = { waiting: 0, sending: 0, sent: 1, delivered: 2, read: 2, failed: 3, refused: 3 };
const ARRIVED = ["sent", "delivered", "read"];

export function createLog(words, { onRetry, photoUrl }) {
  const list = document.getElementById("dm-log");
  const main = document.getElementById("dm-main");
  const icons = document.getElementById("dm-state-icons").content.children;
  const drawn = new Map(); // message id or browser id -> element
  const underway = new Map(); // browser id -> text of a message that was sent and whose answer did not come yet
  const days = new Map(); // ISO day -> its divider
  let readAt = "";

  const nearEnd = () => main.scrollHeight - main.scrollTop - main.clientHeight < 120;
  const toEnd = () => { main.scrollTop = main.scrollHeight; };
  let stuck = true; // the reader is at the end, and stays there when a keyboard takes half of the screen
  main.addEventListener("scroll", () => { stuck = nearEnd(); }, { passive: true });
  new ResizeObserver(() => stuck && toEnd()).observe(main);

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

  function inWords(text) {
    const says = document.createElement("span");
    says.className = "muted";
    says.textContent = text;
    return says;
  }

  function drawPhoto({ url, width, height }) {
    if (!url) return inWords(words.photoGone);
    const image = document.createElement("img");
    image.className = "photo";
    image.alt = words.photo;
    if (width && height) Object.assign(image, { width, height });
    image.addEventListener("load", () => nearEnd() && toEnd(), { once: true });
    image.addEventListener("error", () => image.replaceWith(inWords(words.photo)), { once: true }); // no picture: the line below says why
    image.src = url;
    if (url.startsWith("data:")) return image;
    const link = document.createElement("a");
    link.href = url;
    link.target = "_blank";
    link.append(image);
    return link;
  }

  function drawForm({ page_id: page }) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn--primary btn--s";
    button.dataset.openForm = page;
    button.textContent = words.openForm;
    return button;
  }

  // As on the side of the business: http and https alone, and what ends a sentence is no part of an address.
  function appendLinked(place, text) {
    let end = 0;
    for (const found of text.matchAll(/(?:https?:\/\/[^\s<>"'`\\{}|^/]+\.|www\.)[^\s<>"'`\\{}|^]{2,2000}/gi)) {
      let shown = found[0];
      const isWhole = () => shown.endsWith(")") && shown.split("(").length >= shown.split(")").length;
      while (/[.,;:!?)\]}…»”’*_]$/.test(shown) && !isWhole()) shown = shown.slice(0, -1);
      const link = document.createElement("a");
      link.href = /^https?:/i.test(shown) ? shown : `https://${shown}`;
      link.target = "_blank";
      link.rel = "noopener noreferrer nofollow ugc";
      link.textContent = shown;
      place.append(text.slice(end, found.index), link);
      end = found.index + shown.length;
    }
    place.append(text.slice(end));
  }

  function draw({ from, text, at, seq, photo, form }) {
    const follow = nearEnd() || from === "customer";
    const item = document.createElement("div");
    item.className = `dm-msg dm-msg--${from === "customer" ? "customer" : "business"}`;
    item.dataset.at = at;
    const bubble = document.createElement("p");
    bubble.className = photo === undefined ? "dm-bubble" : "dm-bubble dm-bubble--photo";
    bubble.dir = "auto";
    const who = document.createElement("span");
    who.className = "sr-only";
    who.textContent = `${from === "customer" ? words.you : words.business}: `;
    bubble.append(who);
    if (photo !== undefined) bubble.append(drawPhoto(photo ?? {}));
    if (text) {
      const said = document.createElement("span");
      appendLinked(said, text);
      bubble.append(said);
    }
    item.append(bubble);
    if (form) item.append(drawForm(form));
    place(item, seq);
    if (follow) toEnd();
    return item;
  }

  function foot(item, state, id, says = "") {
    item.dataset.state = state;
    item.querySelector(".dm-foot")?.remove();
    const isButton = state === "failed" || state === "refused";
    const line = document.createElement(isButton ? "button" : "p");
    line.className = "dm-foot";
    if (isButton) {
      line.type = "button";
      line.addEventListener("click", () => onRetry(id));
    }
    const text = document.createElement("span");
    if (state === "refused") text.textContent = `${says} ${words.remove}`;
    else if (says) text.textContent = says;
    else text.textContent = ARRIVED.includes(state) ? `${words[state]} · ${localTime(item.dataset.at, "time")}` : words[state];
    line.append(icons[ICONS[state]].cloneNode(true), text);
    item.append(line);
    // only the newest message that arrived keeps its line
    if (ARRIVED.includes(state)) {
      const arrived = [...list.querySelectorAll(".dm-msg[data-state]")].filter((one) => ARRIVED.includes(one.dataset.state));
      for (const other of arrived.slice(0, -1)) other.querySelector(".dm-foot")?.remove();
      if (arrived.at(-1) !== item) line.remove();
    }
    if (nearEnd()) toEnd();
  }

  // The stream may tell of a message before its own POST is answered.
  function adopt(message) {
    const said = message.photo === undefined ? message.text : "photo";
    const id = [...underway.keys()].find((one) => underway.get(one) === said);
    underway.delete(id);
    return id && drawn.get(id);
  }

  const stateOf = (item) => (readAt && item.dataset.at <= readAt ? "read" : "delivered");

  return {
    // Under which id the server keeps a message of this browser, known before it is known to have arrived.
    name(id, messageId) {
      if (drawn.has(id) && !drawn.has(messageId)) drawn.set(messageId, drawn.get(id));
    },
    hasArrived: (messageId) => Boolean(drawn.get(messageId)?.dataset.seq),
    mine(item) {
      if (drawn.has(item.id)) return;
      drawn.set(item.id, draw({ from: "customer", text: item.text, at: item.at, photo: item.photo }));
      drawn.get(item.id).dataset.said = item.photo ? "photo" : item.text;
      foot(drawn.get(item.id), "waiting", item.id);
    },
    state(id, state, says) {
      const item = drawn.get(id);
      // sent again although the stream has told of it: the answer will say so
      if (!item || item.dataset.seq) return;
      // a message that waits to be sent again may have arrived all the same
      if (state === "sending") underway.set(id, item.dataset.said);
      else if (state === "failed") underway.delete(id);
      foot(item, state, id, says);
    },
    remove(id) {
      drawn.get(id)?.remove();
      drawn.delete(id);
    },
    accept(id, messageId) {
      const item = drawn.get(id);
      underway.delete(id);
      if (!item) return;
      const arrived = drawn.get(messageId);
      if (!arrived) {
        drawn.set(messageId, item);
        foot(item, "sent", id);
      } else if (arrived !== item) {
        item.remove(); // it stands in the history already: only the answer to its first sending was lost
        drawn.set(id, arrived);
      }
    },
    show(message) {
      const photo = message.photo === undefined ? undefined : message.photo && { ...message.photo, url: photoUrl(message.id) };
      const known = drawn.get(message.id) ?? (message.from === "customer" ? adopt(message) : undefined);
      if (known) {
        drawn.set(message.id, known);
        known.dataset.at = message.at;
        place(known, message.seq);
      } else drawn.set(message.id, draw({ ...message, photo }));
      const item = drawn.get(message.id);
      if (message.from === "customer") foot(item, stateOf(item), message.id);
    },
    read(at) {
      if (!at || at <= readAt) return;
      readAt = at;
      for (const item of list.querySelectorAll('.dm-msg[data-state="delivered"]')) if (item.dataset.at <= at) foot(item, "read", "");
    },
  };
}
