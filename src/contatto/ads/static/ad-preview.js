// The chat beside the form of an ad, as it will open: its first message, the questions, and the button of the form.
const form = document.getElementById("ad-form");
const bubble = document.querySelector("[data-chat-welcome]");
const list = document.querySelector("[data-chat-questions]");
const button = document.querySelector("[data-chat-form]");
const written = document.querySelector("[data-new-message]");

function chosenMessage() {
  const chosen = form.elements.auto_message_id.value;
  if (chosen === "new") {
    const questions = [...form.querySelectorAll("[name=questions]")].map((input) => input.value.trim());
    return { text: form.elements.welcome.value.trim() || bubble.dataset.empty, questions: questions.filter(Boolean) };
  }
  const known = [...document.querySelectorAll("[data-message]")].find((one) => one.dataset.message === chosen);
  if (!known) return { text: bubble.dataset.own, questions: [] };
  const inside = known.content ?? known;
  const questions = [...inside.querySelectorAll("span")].map((one) => one.textContent);
  return { text: inside.querySelector("p").textContent, questions };
}

function show() {
  const { text, questions } = chosenMessage();
  written.hidden = form.elements.auto_message_id.value !== "new";
  bubble.textContent = text;
  list.replaceChildren(...questions.map((question) => {
    const item = document.createElement("li");
    item.dir = "auto";
    item.textContent = question;
    return item;
  }));
  button.hidden = !(form.elements.page_id?.value || button.dataset.ofGroup);
}

form?.addEventListener("input", show);
form?.addEventListener("change", show);
// the chat's own welcome comes a moment later
document.addEventListener("htmx:after:swap", () => form && show());
if (form) show();
