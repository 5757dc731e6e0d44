// The words of the page's language, which the server writes into #strings, and the small pop-up messages.
const holder = document.getElementById("strings");

export function word(name) {
  return holder?.dataset[name] ?? name;
}

// With `act`, a button with the label does it, and the message goes.
export function toast(text, { kind = "", href = "", label = "", act = null, seconds = 6 } = {}) {
  const region = document.getElementById("toasts");
  if (!region) return;
  const box = document.createElement("div");
  box.className = kind ? `toast toast--${kind}` : "toast";
  const line = document.createElement("span");
  line.textContent = text;
  box.append(line);
  if (href) {
    const link = document.createElement("a");
    link.href = href;
    link.textContent = label;
    box.append(link);
  }
  if (act) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn--s";
    button.textContent = label;
    button.addEventListener("click", () => {
      box.remove();
      act();
    });
    box.append(button);
  }
  region.append(box);
  const timer = setTimeout(() => box.remove(), seconds * 1000);
  // a reader who points at it, or whose focus is in it, is still reading
  for (const name of ["pointerenter", "focusin"]) box.addEventListener(name, () => clearTimeout(timer), { once: true });
  box.addEventListener("pointerleave", () => setTimeout(() => box.remove(), 2000));
}
