// A refused form has an address of its own; Back to the empty form leads there again, as long as it is kept.
const key = `kept:${location.pathname}`;
const here = new URLSearchParams(location.search);
const [entry] = performance.getEntriesByType("navigation");
const known = sessionStorage.getItem(key);
if (here.get("kept")) {
  sessionStorage.setItem(key, here.get("kept"));
} else if (known && entry?.type === "back_forward") {
  sessionStorage.removeItem(key); // once: who goes back again leaves the form
  here.set("kept", known);
  location.replace(`${location.pathname}?${here}`);
} else {
  sessionStorage.removeItem(key);
}
