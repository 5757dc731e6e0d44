// A chosen file is turned into text by the server, and goes into the text field, so that it can be seen and sent.
const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

function say(field, text) {
  const line = document.getElementById(field.dataset.says ?? "");
  if (line) line.textContent = text;
}

async function take(field) {
  const target = document.getElementById(field.dataset?.adFile ?? "");
  const file = field.files?.[0];
  if (!target || !file) return;
  say(field, "");
  try {
    const answer = await fetch(field.dataset.to, {
      method: "POST",
      credentials: "same-origin",
      body: file,
      headers: { "Content-Type": "application/octet-stream", "X-CSRF-Token": token },
    });
    if (answer.ok) target.value = (await answer.json()).text;
    else say(field, decodeURIComponent(answer.headers.get("X-Message") ?? "") || field.dataset.failed);
  } catch {
    say(field, field.dataset.failed);
  }
}

document.addEventListener("change", (event) => take(event.target));
for (const field of document.querySelectorAll("[data-ad-file]")) take(field); // chosen before this script was there
