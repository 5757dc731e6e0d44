// Tells beside a field with a number what the server understands, before anything is saved.
const PAUSE_MS = 250;
const timers = new WeakMap();

async function tell(input) {
  const place = document.getElementById(`${input.id}-read`);
  if (!place) return;
  const { number: kind, currency = "" } = input.dataset;
  const text = input.value;
  const answer = text.trim() ? await fetch(`/typed/number?${new URLSearchParams({ text: text.slice(0, 80), kind, currency })}`).then((got) => (got.ok ? got.json() : null), () => null) : null;
  if (input.value !== text) return; // a later key asks again
  place.textContent = answer?.says ?? "";
  place.classList.toggle("is-bad", answer?.is_number === false);
}

document.addEventListener("input", (event) => {
  const input = event.target;
  if (!input.dataset?.number) return;
  clearTimeout(timers.get(input));
  timers.set(input, setTimeout(tell, PAUSE_MS, input));
});
