// The picture over a form's headline: sent as it is chosen, and kept with the draft by its hash.
import { word } from "/static/ui/words.js";

const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

function complain(field, says) {
  const line = field.querySelector(".field__error");
  line.hidden = !says;
  line.querySelector("span").textContent = says;
}

// the draft is saved by itself whenever one of its fields changes
function keep(field, digest) {
  const hidden = field.querySelector("[name=image]");
  hidden.value = digest;
  field.querySelector("[data-picture-remove]").hidden = !digest;
  hidden.dispatchEvent(new Event("change", { bubbles: true }));
}

async function send(field, file) {
  complain(field, "");
  let answer;
  try {
    answer = await fetch(field.dataset.picture, {
      method: "POST", credentials: "same-origin", body: file,
      headers: { "Content-Type": "application/octet-stream", "X-CSRF-Token": token },
    });
  } catch {
    return complain(field, word("offline"));
  }
  if (!answer.ok) return complain(field, decodeURIComponent(answer.headers.get("X-Message") ?? "") || word("failed"));
  keep(field, (await answer.json()).image);
}

document.addEventListener("change", (event) => {
  const field = event.target.closest("[data-picture]");
  if (!field || event.target.type !== "file" || !event.target.files.length) return;
  event.stopPropagation();
  send(field, event.target.files[0]);
}, true);
document.addEventListener("click", (event) => {
  const field = event.target.closest("[data-picture-remove]") && event.target.closest("[data-picture]");
  if (!field) return;
  field.querySelector("[type=file]").value = "";
  keep(field, "");
  field.querySelector("[type=file]").focus();
});
// a file that was chosen before this script was here
for (const field of document.querySelectorAll("[data-picture]")) {
  const [file] = field.querySelector("[type=file]").files;
  if (file) send(field, file);
}
