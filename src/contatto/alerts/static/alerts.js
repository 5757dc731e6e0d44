// Counts in the title what happened while the page was not looked at, as the member chose, with a sound.
import { toast, word } from "/static/ui/words.js";

const WORDS = {
  assignment: "alertAssignment", task: "alertTask", waiting: "alertWaiting", channel: "alertChannel", crm: "alertCrm",
  signals: "alertSignals",
};
const TOAST_MS = 5000; // of many at once, one is shown
const title = document.title;
let choices = null;
let count = 0;
let toldAt = -TOAST_MS;

// Asked for when something happens for the first time: most pages are left before.
function chosen() {
  choices ??= fetch("/alerts/choices").then((answer) => answer.ok ? answer.json() : null).catch(() => null);
  return choices;
}

function draw() {
  document.title = count ? `(${count}) ${title}` : title;
}

// Two short notes, made here: a page without a gesture of its reader may be refused a sound.
function ring() {
  try {
    const audio = new AudioContext();
    for (const [at, pitch] of [[0, 660], [0.14, 880]]) {
      const tone = audio.createOscillator();
      const volume = audio.createGain();
      tone.frequency.value = pitch;
      volume.gain.setValueAtTime(0.08, audio.currentTime + at);
      volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + at + 0.12);
      tone.connect(volume).connect(audio.destination);
      tone.start(audio.currentTime + at);
      tone.stop(audio.currentTime + at + 0.13);
    }
    setTimeout(() => audio.close(), 600);
  } catch { /* no sound here */ }
}

async function note(kind, memberId, path) {
  const told = await chosen();
  if (!told?.shown.includes(kind) || (memberId && memberId !== told.member)) return;
  if (document.hidden || !document.hasFocus()) {
    count += 1;
    draw();
  }
  if (told.sound) ring();
  if (path && performance.now() - toldAt > TOAST_MS) {
    toldAt = performance.now();
    toast(word(WORDS[kind]), { kind: "found", href: path, label: word("open") });
  }
}

function seen() {
  if (document.hidden) return;
  count = 0;
  draw();
}

const on = (name, act) => document.body.addEventListener(`live:${name}`, ({ detail }) => act(detail));
on("lead_captured", () => note("lead"));
on("message_received", () => note("message"));
on("alert_raised", (told) => note(told.kind, told.member_id, told.path));
on("work_assigned", (told) => {
  const path = told.lead_id ? `/leads/${encodeURIComponent(told.lead_id)}` : `/inbox/${encodeURIComponent(told.conversation_id)}`;
  note("assignment", told.member_id, path);
});
document.addEventListener("visibilitychange", seen);
window.addEventListener("focus", seen);
