// A chosen file is sent as it is, and the page goes on to what it will do. Reading it is for the server: it may be a workbook.
import { word } from "/static/ui/words.js";

const form = document.getElementById("import");
const error = document.getElementById("import-error");
const busy = document.querySelector("[data-import-busy]");

function say(text) {
  error.querySelector("span").textContent = text;
  error.hidden = !text;
}

async function send(file) {
  say("");
  busy.hidden = false;
  try {
    const country = form.elements.country.value;
    const answer = await fetch(`/leads/import/file?country=${encodeURIComponent(country)}`, {
      method: "POST",
      headers: { "X-CSRF-Token": form.elements.csrf_token.value, "Content-Type": "application/octet-stream" },
      body: file,
    });
    if (answer.ok) return location.assign((await answer.json()).href);
    const said = answer.headers.get("X-Message");
    say(said ? decodeURIComponent(said).replace(/^\w+: /, "") : word("failed"));
  } catch {
    say(word("offline"));
  }
  busy.hidden = true;
}

form.addEventListener("change", ({ target }) => {
  if ("importFile" in target.dataset && target.files[0]) send(target.files[0]);
});
