// Where the customer's page sends to. Inside another site it has no cookie, so it names its visitor itself.
const base = `/chat/${encodeURIComponent(document.body.dataset.account)}`;
const visitor = document.body.dataset.visitor ?? "";

// a token in an address is for a frame: as a page of its own it would be somebody else's thread, sent as a link
if (visitor && window.parent === window) location.replace(base);

export const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

export function address(path, query = {}) {
  const all = new URLSearchParams({ ...query, ...(visitor && { v: visitor }) });
  return `${base}/${path}${all.size ? `?${all}` : ""}`;
}
