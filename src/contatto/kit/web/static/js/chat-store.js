// The customer's unsent text and unsent messages, in this browser's own storage, one pair for each business.
function read(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function write(key, value) {
  try {
    if (value === "" || (Array.isArray(value) && !value.length)) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // full or forbidden storage: the page still sends, it only forgets on a reload
  }
}

const queueKey = (account) => `contatto.chat.${account}.queue`;
const draftKey = (account) => `contatto.chat.${account}.draft`;

export function loadQueue(account) {
  const found = read(queueKey(account), []);
  return Array.isArray(found) ? found.filter((item) => item?.id && typeof item.text === "string") : [];
}
export const saveQueue = (account, queue) => write(queueKey(account), queue);
export const loadDraft = (account) => String(read(draftKey(account), ""));
export const saveDraft = (account, text) => write(draftKey(account), text);
