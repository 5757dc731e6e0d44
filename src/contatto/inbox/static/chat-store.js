// The customer's unsent text and unsent messages, in this browser's own storage. Every message has a key of its
// own, so two open tabs of one chat cannot overwrite each other's.
const prefix = (account) => `contatto.chat.${account}.`;

function parse(text) {
  try { return JSON.parse(text); } catch { return null; }
}

// Full or forbidden storage: the page still sends, it only forgets on a reload.
function attempt(action, otherwise) {
  try { return action(); } catch { return otherwise; }
}

export function loadQueue(account) {
  const start = `${prefix(account)}unsent.`;
  const found = attempt(() => Object.keys(localStorage).filter((key) => key.startsWith(start)).map((key) => parse(localStorage.getItem(key))), []);
  return found.filter((item) => item?.id && typeof item.text === "string" && (item.text || item.photo?.url)).sort((a, b) => (a.at < b.at ? -1 : 1));
}

export function keepUnsent(account, item) {
  attempt(() => localStorage.setItem(`${prefix(account)}unsent.${item.id}`, JSON.stringify(item)));
}

export function forgetUnsent(account, item) {
  attempt(() => localStorage.removeItem(`${prefix(account)}unsent.${item.id}`));
}

export function loadDraft(account) {
  return attempt(() => localStorage.getItem(`${prefix(account)}draft`), "") ?? "";
}

export function saveDraft(account, text) {
  attempt(() => (text ? localStorage.setItem(`${prefix(account)}draft`, text) : localStorage.removeItem(`${prefix(account)}draft`)));
}
