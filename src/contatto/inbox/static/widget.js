// Shows the chat on a site: <script async src="…/static/inbox/widget.js" data-chat="ID"></script>
// Nothing is asked of our server before the visitor opens the chat. data-label changes the words of the button.
(() => {
  const script = document.currentScript;
  const chat = script?.dataset.chat;
  if (!chat) return;
  const server = new URL(script.src).origin;
  const label = script.dataset.label || "Chat";

  function style(element, rules) {
    for (const [name, value] of Object.entries(rules)) element.style.setProperty(name, value);
    return element;
  }

  // the frame's own storage may be forbidden: then this site remembers which visitor it shows
  const key = `contatto.visitor.${chat}`;
  function kept() {
    try { return localStorage.getItem(key) ?? ""; } catch { return ""; }
  }
  function keep(token) {
    try { localStorage.setItem(key, token); } catch { /* then the chat begins anew on the next page */ }
  }

  const button = style(document.createElement("button"), {
    position: "fixed", "z-index": "2147483000", "inset-block-end": "1.25rem", "inset-inline-end": "1.25rem", padding: "0.85rem 1.4rem", border: "0", "border-radius": "999px",
    background: "#1d5a48", color: "#fff", font: "600 1rem/1.2 system-ui, sans-serif", cursor: "pointer", "box-shadow": "0 4px 18px rgb(0 0 0 / 25%)",
  });
  button.type = "button";
  button.textContent = label;
  button.setAttribute("aria-expanded", "false");
  const frame = style(document.createElement("iframe"), {
    position: "fixed", "z-index": "2147483000", "inset-block-end": "5rem", "inset-inline-end": "1.25rem", "inline-size": "min(24rem, calc(100vw - 2.5rem))",
    "block-size": "min(38rem, calc(100dvh - 7rem))", border: "0", "border-radius": "1rem", "box-shadow": "0 8px 40px rgb(0 0 0 / 30%)", display: "none", background: "#fff",
  });
  frame.title = label;

  function show(is) {
    if (is && !frame.src) frame.src = `${server}/chat/${encodeURIComponent(chat)}/embed`;
    frame.style.setProperty("display", is ? "block" : "none");
    button.setAttribute("aria-expanded", String(is));
    button.textContent = label;
    if (is) frame.focus();
    else button.focus();
  }

  button.addEventListener("click", () => show(frame.style.display === "none"));
  window.addEventListener("message", (event) => {
    if (event.origin !== server || event.source !== frame.contentWindow) return;
    if (event.data === "contatto:hello") frame.contentWindow.postMessage({ contatto: "visitor", token: kept() }, server);
    if (event.data?.contatto === "keep") keep(String(event.data.token));
    if (event.data === "contatto:close") show(false);
    if (event.data === "contatto:message" && frame.style.display === "none") button.textContent = `${label} •`;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && frame.style.display !== "none") show(false);
  });
  document.body.append(frame, button);
})();
