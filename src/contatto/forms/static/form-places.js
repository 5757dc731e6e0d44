// Fills the lists of countries and calling codes, named in the form's own language.
export function fillPlaces(sheet) {
  const pairs = (sheet.dataset.regions || "").split(" ").filter(Boolean).map((pair) => pair.split("+"));
  if (!pairs.length) return;
  const names = new Intl.DisplayNames([sheet.lang || "en"], { type: "region", fallback: "code" });
  const order = new Intl.Collator(sheet.lang || "en");
  const places = pairs.map(([region, code]) => ({ region, code, name: names.of(region) })).sort((a, b) => order.compare(a.name, b.name));
  for (const list of sheet.querySelectorAll("[data-countries], [data-codes]")) {
    const isCode = "codes" in list.dataset;
    const options = places.map(({ region, code, name }) => new Option(isCode ? `${name} (+${code})` : name, region));
    list.replaceChildren(new Option("", ""), ...options);
    list.value = isCode ? list.dataset.codes || homeRegion(places) : list.dataset.countries;
  }
  showCodes(sheet);
}

// the closed list is narrow: it shows the code alone
export function showCodes(sheet) {
  for (const list of sheet.querySelectorAll("[data-codes]")) {
    const code = /\+\d+/.exec(list.selectedOptions[0]?.textContent ?? "")?.[0] ?? "+";
    list.parentElement.querySelector("[data-code-face]").textContent = list.value ? `${list.value} ${code}` : code;
  }
}

// where the form names no market, the browser's own region is the best guess
function homeRegion(places) {
  const region = new Intl.Locale(navigator.language || "en").maximize().region;
  return places.some((place) => place.region === region) ? region : "";
}
