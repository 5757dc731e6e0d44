// A chosen file is read here and goes into the text field, so that it can be seen and sent as text.
const MOST = 900000;

document.addEventListener("change", async (event) => {
  const target = document.getElementById(event.target.dataset?.readInto ?? "");
  const file = event.target.files?.[0];
  if (!target || !file) return;
  target.value = (await file.text()).slice(0, MOST);
  event.target.setCustomValidity("");
});
