// The builder of a form: the pickers beside the Add buttons, the parts of the preview, and where the focus goes.
let part = "fill";

function showPart() {
  const phone = document.getElementById("builder-phone");
  const known = phone?.querySelector(`[data-step="${part}"]`) ? part : "fill";
  for (const step of phone?.querySelectorAll("[data-step]") ?? []) step.hidden = step.dataset.step !== known;
  for (const button of document.querySelectorAll("[data-preview]")) button.setAttribute("aria-pressed", String(button.dataset.preview === known));
}

function syncPickers() {
  for (const list of document.querySelectorAll("[data-pick]")) {
    const button = list.parentElement.querySelector("[data-do]");
    if (button) button.value = `${list.dataset.pick}:${list.value}`;
  }
}

function nameRegions() {
  const names = new Intl.DisplayNames([document.documentElement.lang || "en"], { type: "region", fallback: "code" });
  for (const option of document.querySelectorAll("[data-regions] option")) {
    const [region, code] = option.textContent.split(" ");
    if (region === option.value && code) option.textContent = `${names.of(region)} (${code})`;
  }
}

// After a change the focus goes on from where the hand was: to the new question, or to the button that moved.
// Which button that was, the request knows: the next one may be pressed before the answer is here.
function refocus(pressed) {
  if (!pressed) return;
  const [verb] = pressed.split(":");
  const blocks = [...document.querySelectorAll("[data-block]")];
  if (verb === "add" && blocks.length) {
    const last = blocks.at(-1);
    last.open = true;
    last.querySelector("input:not([type=hidden]), select, textarea")?.focus();
  } else {
    const same = document.getElementById(`do-${pressed.replaceAll(":", "-")}`);
    const other = document.getElementById(`do-${pressed.replace(/^up:/, "down:").replace(/^down(?=:)/, verb === "up" ? "down" : "up").replaceAll(":", "-")}`);
    (same && !same.disabled ? same : other && !other.disabled ? other : document.getElementById("questions-title"))?.focus();
  }
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-pick]")) syncPickers();
});
document.addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-preview]");
  if (!chosen) return;
  part = chosen.dataset.preview;
  showPart();
});
// a link to something that is to do opens the question that it leads to
document.addEventListener("click", (event) => {
  const link = event.target.closest(".todo a");
  const block = link && document.querySelector(link.getAttribute("href"));
  const details = block?.querySelector(":scope > details");
  if (details) details.open = true;
  block?.querySelector("summary, input, textarea")?.focus();
});
document.addEventListener("htmx:after:swap", (event) => {
  syncPickers();
  nameRegions();
  showPart();
  refocus(event.detail.ctx.sourceElement?.closest?.("[data-do]")?.value);
});
document.addEventListener("form:sent", (event) => {
  const list = document.querySelector("[data-test-taken]");
  if (!list) return;
  document.querySelector("[data-test-empty]").hidden = true;
  const rows = event.detail.verdict === "no_fit" ? [["", list.dataset.noFit]] : [...Object.entries(event.detail.taken), [list.dataset.score, String(event.detail.score)]];
  list.replaceChildren(...rows.flatMap(([name, value]) => {
    const term = document.createElement("dt");
    term.textContent = name;
    const says = document.createElement("dd");
    says.textContent = value;
    return [term, says];
  }));
}, true);
syncPickers();
nameRegions();
showPart();
