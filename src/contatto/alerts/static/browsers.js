// Asks this browser to be told while no page is open, and hands its address over.
import { toast, word } from "/static/ui/words.js";

const box = document.getElementById("browsers");
const button = box.querySelector("[data-tell-here]");
const says = box.querySelector("[data-tell-state]");

function bytes(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
}

function text(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

async function subscribe() {
  if (await Notification.requestPermission() !== "granted") {
    says.textContent = box.dataset.denied;
    return;
  }
  const registration = await navigator.serviceWorker.register("/static/alerts/worker.js");
  const key = bytes(box.dataset.key);
  const known = await registration.pushManager.getSubscription();
  if (known && text(known.options.applicationServerKey) !== box.dataset.key) await known.unsubscribe();
  const made = await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  const form = new URLSearchParams({
    csrf_token: box.querySelector("[name=csrf_token]").value,
    endpoint: made.endpoint,
    public_key: text(made.getKey("p256dh")),
    secret: text(made.getKey("auth")),
  });
  const answer = await fetch("/settings/alerts/browsers", { method: "POST", body: form });
  if (answer.ok) location.reload();
  else toast(decodeURIComponent(answer.headers.get("X-Message") ?? "") || word("failed"), { kind: "bad" });
}

if ("serviceWorker" in navigator && "PushManager" in window && "Notification" in window) {
  button.hidden = false;
  button.addEventListener("click", () => subscribe().catch(() => { says.textContent = box.dataset.failed; }));
} else {
  says.textContent = box.dataset.missing;
}
