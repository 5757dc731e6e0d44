// Small signs between both sides: that somebody types, and that what came was read.
import { address, token } from "./chat-address.js";

const TELL_EVERY_MS = 3000;
const SHOWN_FOR_MS = 6000;

function tell(path) {
  fetch(address(path), { method: "POST", credentials: "same-origin", headers: token ? { "X-CSRF-Token": token } : {} }).catch(() => {});
}

export function createSigns() {
  const line = document.getElementById("dm-typing");
  let told = 0;
  let hide = 0;
  let unread = false;

  function noteRead() {
    if (!unread || document.visibilityState !== "visible") return;
    unread = false;
    tell("read");
  }
  document.addEventListener("visibilitychange", noteRead);

  function show(is) {
    line.hidden = !is;
    const main = document.getElementById("dm-main");
    if (is && main.scrollHeight - main.scrollTop - main.clientHeight < 120) main.scrollTop = main.scrollHeight;
  }

  return {
    typing() {
      if (Date.now() - told < TELL_EVERY_MS) return;
      told = Date.now();
      tell("typing");
    },
    // what comes next is typed anew
    sent() {
      told = 0;
    },
    businessTypes() {
      clearTimeout(hide);
      show(true);
      hide = setTimeout(() => show(false), SHOWN_FOR_MS);
    },
    // a message of the business stands in the log
    arrived() {
      clearTimeout(hide);
      show(false);
      unread = true;
      // together with others that come at the same time
      setTimeout(noteRead, 300);
    },
  };
}
