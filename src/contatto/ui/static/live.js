// One event stream for all tabs of a browser; every event becomes a DOM event on the body.
//   live:<type>                 for each type below, detail = the event's data
//   live:conversation:<id>      the event names this conversation
//   live:lead:<id>              the event names this lead
//   live:nav                    the counts in the navigation may have changed
//   live:back                   the stream is open again after a gap: catch up
// A page knows the last event that it was rendered with, so it hears of what came before the stream was open.
import { toast, word } from "./words.js";

const TYPES = [
  "message_received", "message_sent", "reply_progressed", "conversation_changed", "conversation_started",
  "lead_captured", "lead_updated", "lead_status_changed", "lead_edited", "lead_removed", "lead_job_moved", "lead_job_ended", "leads_merged",
  "contact_rejected", "notice_posted", "form_submitted", "conversation_read", "work_assigned", "alert_raised", "crm_progressed",
];
const WHISPERS = ["customer_typing", "member_typing"]; // they have no number, and nobody hears them later
const me = Math.random().toString(36).slice(2);
const reader = document.body.dataset.reader ?? ""; // tabs of another member, or of other rights, tell this one nothing
const channel = "BroadcastChannel" in window ? new BroadcastChannel(`contatto.live.${reader}`) : null;
let wasOpen = false;
let state = "wait";
let leading = false;
let pace = 0; // where many pages are open, each leaves so many milliseconds between two fetches of a list
let known = Number(document.body.dataset.lastEvent) || 0; // the number of the last event that this page has heard of
const heard = new Set();
const recent = []; // the events that the leading tab has told, for tabs that open meanwhile
const MOST_RECENT = 500;

function tell(name, detail) {
  document.body.dispatchEvent(new CustomEvent(name, { detail }));
}

function draw() {
  for (const element of document.querySelectorAll("[data-live-state]")) {
    if (element.dataset.state === state) continue;
    element.dataset.state = state;
    element.querySelector(".live__text").textContent = word({ on: "liveOn", wait: "liveWait", off: "liveOff" }[state]);
  }
}

function show(next) {
  const again = next === "on" && state === "off" && wasOpen;
  wasOpen ||= next === "on";
  state = next;
  draw();
  if (again) tell("live:back");
}

// The session is over: what the page shows is no longer for whoever sits here.
function leave() {
  document.body.replaceChildren();
  location.replace(`/login?next=${encodeURIComponent(location.pathname)}`);
}

// A page of ours sends who is signed out to the log-in; a script sees that it would be sent elsewhere.
async function isSignedOut() {
  try {
    const answer = await fetch("/nav", { redirect: "manual" });
    return answer.type === "opaqueredirect" || answer.status === 401;
  } catch {
    return false; // the server is away
  }
}

function deliver({ type, data, seq }) {
  if (type === "left") return leave();
  if (type === "state") return show(data);
  if (type === "pace") return void (pace = data);
  if (seq && heard.has(seq)) return;
  if (seq) heard.add(seq);
  known = Math.max(known, seq ?? 0);
  tell(`live:${type}`, data);
  if (type === "lead_status_changed" || type === "leads_merged") tell("live:lead_updated", data);
  if (data.conversation_id) tell(`live:conversation:${data.conversation_id}`, data);
  if (data.lead_id) tell(`live:lead:${data.lead_id}`, data);
  tell("live:nav", data);
  // who looks at the list or at that very conversation sees it there
  const seen = document.body.dataset.section === "leads" || document.getElementById(`thread-${data.conversation_id}`);
  if (type === "lead_captured" && data.lead_id && !seen) {
    toast(word("leadNew"), { kind: "found", href: `/leads/${encodeURIComponent(data.lead_id)}`, label: word("open") });
  }
}

function publish(item) {
  if (item.seq && recent.push(item) > MOST_RECENT) recent.shift();
  channel?.postMessage(item);
  deliver(item);
}

function parse(text) {
  try { return JSON.parse(text) ?? {}; } catch { return {}; }
}

function connect(wait = 1000) {
  const source = new EventSource(`/live?after=${known}`);
  source.addEventListener("open", () => {
    wait = 1000;
    publish({ type: "state", data: "on" });
  });
  source.addEventListener("error", async () => {
    publish({ type: "state", data: "off" });
    const isClosed = source.readyState === EventSource.CLOSED;
    if (await isSignedOut()) return publish({ type: "left" });
    // the browser gives up for good on an HTTP error; we do not
    if (isClosed) setTimeout(() => connect(Math.min(wait * 2, 30000)), wait);
  });
  source.addEventListener("pace", (event) => publish({ type: "pace", data: Number(event.data) || 0 }));
  for (const type of WHISPERS) source.addEventListener(type, (event) => publish({ type, data: parse(event.data) }));
  for (const type of TYPES) {
    source.addEventListener(type, (event) => publish({ type, data: parse(event.data), seq: Number(event.lastEventId) || 0 }));
  }
  window.addEventListener("pagehide", () => source.close(), { once: true });
  window.addEventListener("pageshow", (event) => event.persisted && location.reload(), { once: true });
}

// A new tab was rendered before it could listen to this one: it is told what came in between.
function answerHello({ from, after }) {
  channel.postMessage({ type: "state", data: state });
  channel.postMessage({ type: "pace", data: pace });
  const isWhole = recent.length < MOST_RECENT || recent[0].seq <= after;
  channel.postMessage({ type: "missed", to: from, items: recent.filter((item) => item.seq > after), isWhole });
}

function catchUp({ items, isWhole }) {
  for (const item of items) deliver(item);
  if (!isWhole) tell("live:back");
}

// What is about this very conversation or lead is fetched at once. Lists wait, each page another while, so that not
// all ask in the same moment, and then as long as the pace says. The last event is never lost.
const rests = new Map(); // by the id of a list: until when it rests, and whether a fetch waits for that
document.addEventListener("htmx:before:request", (event) => {
  const { sourceElement: part, sourceEvent: cause } = event.detail.ctx;
  if (!pace || !part?.id || !/^live:(?!back|conversation:|lead:)/.test(cause?.type ?? "")) return;
  const now = Date.now();
  const rest = rests.get(part.id) ?? { until: 0, waits: false };
  if (rest.waits && rest.until <= now) {
    rests.set(part.id, { until: now + pace, waits: false });
    return;
  }
  event.preventDefault();
  if (rest.waits) return;
  const until = Math.max(rest.until, now + (Math.random() * pace) / 4);
  rests.set(part.id, { until, waits: true });
  setTimeout(() => tell(cause.type, cause.detail), until - now + 1);
});

// The counts of the navigation come right after the page, as soon as htmx listens.
document.addEventListener("DOMContentLoaded", () => setTimeout(() => tell("live:nav")));

// Browsers allow six connections to one host over HTTP/1.1, so only one tab holds the stream and tells the rest.
if (channel && navigator.locks) {
  channel.addEventListener("message", (event) => {
    if (event.data.type === "hello") {
      if (leading) answerHello(event.data);
    } else if (event.data.type !== "missed") deliver(event.data);
    else if (event.data.to === me) catchUp(event.data);
  });
  channel.postMessage({ type: "hello", from: me, after: known });
  navigator.locks.request(`contatto.live.${reader}`, () => {
    leading = true;
    connect();
    return new Promise(() => {});
  });
} else {
  connect();
}

// going back may bring the page anew, without its state
document.addEventListener("htmx:after:swap", draw);
