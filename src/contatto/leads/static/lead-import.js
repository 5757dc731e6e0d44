// A chosen file is read here and goes into the text field, so that it can be seen and sent as text.
const MOST = 900000;

async function take(field) {
  const target = document.getElementById(field.dataset?.readInto ?? "");
  const file = field.files?.[0];
  if (target && file) target.value = (await file.text()).slice(0, MOST);
}

document.addEventListener("change", (event) => take(event.target));
for (const field of document.querySelectorAll("[data-read-into]")) take(field); // chosen before this script was there
