// Offers the currency and the time zones of the country that is chosen in a form.
const holder = document.querySelector("[data-regions]");
const regions = JSON.parse(holder?.dataset.regions ?? "{}");
const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone;

function offerZones(select, all, zones) {
  const offered = zones.length ? zones : all;
  const before = select.value;
  select.replaceChildren(...["", ...offered].map((zone) => new Option(zone, zone)));
  const likely = zones.length === 1 ? zones[0] : ownZone;
  select.value = [before, likely].find((zone) => offered.includes(zone)) ?? "";
}

for (const form of document.querySelectorAll("form")) {
  const { country, currency, timezone } = form.elements;
  if (!holder || !country || !currency || !timezone) continue;
  const all = [...(timezone.options ?? [])].map((option) => option.value).filter(Boolean);
  const offer = () => {
    const [usual, ...zones] = regions[country.value] ?? [];
    if (timezone.options) offerZones(timezone, all, zones);
    return usual;
  };
  country.addEventListener("change", () => {
    const usual = offer();
    if (usual && !currency.readOnly) currency.value = usual;
  });
  if (!timezone.value && timezone.options) offer();
}
