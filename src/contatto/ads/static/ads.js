// The ad forms: find a country, count the chosen ones, and show what is typed in the phone.
const form = document.getElementById("ad-group-form");

function countChosen() {
  const place = document.querySelector("[data-chosen-count]");
  if (place) place.textContent = String(document.querySelectorAll("input[name=country]:checked").length);
}

document.addEventListener("input", (event) => {
  if (event.target.matches("[data-filter-countries]")) {
    const wanted = event.target.value.trim().toLocaleLowerCase();
    for (const group of document.querySelectorAll(".countries__group")) {
      let shown = 0;
      for (const tick of group.querySelectorAll(".tick")) {
        tick.hidden = !tick.textContent.toLocaleLowerCase().includes(wanted);
        shown += tick.hidden ? 0 : 1;
      }
      group.hidden = shown === 0;
    }
  }
  const mirror = document.querySelector(`[data-mirror-to="${event.target.dataset?.mirror}"]`);
  if (mirror) mirror.textContent = event.target.value;
});
// The line of a folded part says what is chosen in it.
function saysOf(control) {
  const says = control.dataset.says ?? "";
  if (control.type === "checkbox") return control.checked ? says || control.closest("label").textContent.trim() : "";
  if (control.localName === "select") return control.value || says ? `${says} ${control.selectedOptions[0]?.textContent.trim() ?? ""}`.trim() : "";
  if (!says || !control.value) return "";
  const time = control.id.endsWith("_on") ? document.getElementById(control.id.replace("_on", "_time"))?.value ?? "" : "";
  return `${says} ${control.value} ${time}`.trim();
}

function tellFold(fold) {
  const line = fold.querySelector("[data-now]");
  const pieces = [...fold.querySelectorAll("input, select")].map(saysOf).filter(Boolean);
  const more = pieces.length > 4 ? ` ${line.dataset.more.replace("N", String(pieces.length - 4))}` : "";
  line.textContent = pieces.length ? pieces.slice(0, 4).join(" · ") + more : line.dataset.none;
}

document.addEventListener("change", (event) => {
  countChosen();
  const fold = event.target.closest(".fold");
  if (fold) tellFold(fold);
});

// Enter in the country search must not create the ad group.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("[data-filter-countries]")) event.preventDefault();
});
// The eligibility question carries only what it needs, never the token or the texts.
document.addEventListener("htmx:config:request", (event) => {
  const { sourceElement, request } = event.detail.ctx;
  if (!form || !sourceElement.matches("[data-ask-eligibility]")) return;
  const asked = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (["channel_account_id", "goal", "country"].includes(name)) asked.append(name, value);
  }
  for (const name of new Set(request.body?.keys?.() ?? [])) request.body.delete(name);
  request.action = `${sourceElement.getAttribute("hx-get")}?${asked}`;
});
countChosen();
