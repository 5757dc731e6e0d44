// Where the customer's page sends to. Inside another site it has no cookie, so it names its visitor itself.
const base = `/chat/${encodeURIComponent(document.body.dataset.account)}`;
const visitor = document.body.dataset.visitor ?? "";

export const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

export function address(path, query = {}) {
  const all = new URLSearchParams({ ...query, ...(visitor && { v: visitor }) });
  return `${base}/${path}${all.size ? `?${all}` : ""}`;
}
