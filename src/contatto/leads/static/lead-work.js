// The forms of one lead: what was sent is cleared, and a live refresh leaves a form alone in which somebody types.
document.addEventListener("htmx:after:request", (event) => {
  const { sourceElement: form, data, response } = event.detail.ctx;
  if (form?.tagName !== "FORM" || response.status >= 400) return;
  if ("clear" in data) form.reset();
  form.taken = true; // what the server sends back is newer than what stands in the form
  const opened = form.closest("details");
  if (opened) opened.open = false;
});
// Somebody was faster, or something is wrong with what was sent: the message says so, and the lead is shown as it is now.
document.addEventListener("htmx:response:error", (event) => {
  const { sourceElement: form, response } = event.detail.ctx;
  if (response.status === 409 && form?.closest("#lead")) document.body.dispatchEvent(new CustomEvent("lead:stale"));
});
document.addEventListener("htmx:after:swap", () => {
  for (const form of document.forms) delete form.taken;
});

function isBusy(form) {
  if (form.taken || !form.contains(document.activeElement)) return false;
  return [...form.elements].some((field) => field.defaultValue !== undefined && field.type !== "hidden" && field.value !== field.defaultValue);
}

document.addEventListener("DOMContentLoaded", () => {
  window.htmx?.registerExtension("leave-busy-forms", {
    htmx_before_morph_node(_element, { oldNode }) {
      return !(oldNode.matches?.("form[data-clear], .note-form, .task__more form, .point__more form") && isBusy(oldNode));
    },
  });
});

// Ctrl and Enter send a note, as in a reply.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !event.target.matches("[data-send]")) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});
