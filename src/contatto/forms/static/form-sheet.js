// The instant form over the chat: opens as a modal sheet, keeps unsent answers in this browser, sends them once.
import { findWay } from "./form-logic.js";
import { fillPlaces, showCodes } from "./form-places.js";
import { inputsOf, readAnswers, shownAnswer, whatIsWrong, writeAnswers } from "./form-fields.js";
import { createKeeper } from "./form-keeper.js";

const dialog = document.getElementById("form-sheet");
const opener = document.getElementById("form-open");
const account = document.body.dataset.account ?? "test";
const visitor = document.body.dataset.visitor ?? "";
const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

let sheet;
let form;
let logic;
let keeper;
let sending = false;

const fields = () => [...form.querySelectorAll("[data-q]")];
const consents = () => [...form.querySelectorAll("[data-consent]")];

const read = () => readAnswers(fields());
const write = (answers) => writeAnswers(fields(), answers);

// Questions that this person does not meet are hidden and taken out of the order of the Tab key.
function follow() {
  const way = findWay(logic, read());
  for (const field of fields()) {
    field.hidden = !way.met.includes(field.dataset.q);
    for (const input of inputsOf(field)) input.disabled = field.hidden;
  }
  for (const field of consents()) field.hidden = way.refused;
  showCodes(sheet);
  return way;
}

function complain(key, says) {
  const line = form.querySelector(`[data-error-of="${CSS.escape(key)}"]`);
  if (!line) return;
  line.hidden = !says;
  line.querySelector("span").textContent = says;
  for (const input of inputsOf(line.closest(".field"))) {
    if (says) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
}

function check(way) {
  const problems = {};
  for (const field of [...fields(), ...(way.refused ? [] : consents())]) {
    if (field.hidden) continue;
    const says = whatIsWrong(field, sheet.dataset);
    if (says) problems[field.dataset.q ?? field.dataset.consent] = says;
  }
  return problems;
}

function show(problems) {
  for (const line of form.querySelectorAll("[data-error-of]")) complain(line.dataset.errorOf, problems[line.dataset.errorOf] ?? "");
  const first = form.querySelector("[data-error-of]:not([hidden])");
  if (first) inputsOf(first.closest(".field")).find((input) => !input.name.endsWith(".country"))?.focus();
  return Boolean(first);
}

function step(name) {
  for (const part of sheet.querySelectorAll("[data-step]")) part.hidden = part.dataset.step !== name;
  const now = sheet.querySelector(`[data-step="${name}"]`);
  now.querySelector(".sheet__body").scrollTop = 0;
  now.querySelector("h2").focus({ preventScroll: true });
}

function alertOf(text) {
  for (const note of sheet.querySelectorAll("[data-sheet-alert]")) {
    note.hidden = !text;
    note.querySelector("span").textContent = text;
  }
}

function review() {
  const list = sheet.querySelector("[data-sheet-answers]");
  list.replaceChildren();
  for (const field of fields().filter((one) => !one.hidden)) {
    const name = document.createElement("dt");
    name.textContent = field.querySelector("label, legend").firstChild.textContent;
    const value = document.createElement("dd");
    value.dir = "auto";
    value.textContent = shownAnswer(field) || sheet.dataset.none;
    list.append(name, value);
  }
  step("check");
}

function next() {
  alertOf("");
  const way = follow();
  if (show(check(way))) return;
  if (way.refused || !("review" in sheet.dataset)) send();
  else review();
}

async function post() {
  const response = await fetch(visitor ? `${sheet.dataset.base}?v=${encodeURIComponent(visitor)}` : sheet.dataset.base, {
    method: "POST",
    credentials: "same-origin",
    headers: { "Content-Type": "application/json", ...(token && { "X-CSRF-Token": token }) },
    body: JSON.stringify({
      page_id: sheet.dataset.page,
      opening: sheet.dataset.opening,
      submission_id: keeper.id(),
      language: sheet.dataset.language,
      answers: read(),
      consents: consents().map((one) => one.querySelector("input")).filter((input) => input.checked).map((input) => input.name),
      website: form.elements.website.value,
    }),
    signal: AbortSignal.timeout(20000),
  });
  return { status: response.status, wait: Number(response.headers.get("Retry-After")) || 0, body: await response.json().catch(() => ({})) };
}

async function send(tries = 0) {
  if (sending && !tries) return;
  sending = true;
  alertOf("");
  busy(true);
  let answer;
  try {
    answer = await post();
  } catch {
    answer = { status: 0, body: {} };
  }
  // sent faster than a person can: the server says how long to wait, and then takes the same
  if (answer.status === 429 && answer.wait <= 5 && tries < 2) return void setTimeout(() => send(tries + 1), answer.wait * 1000);
  busy(false);
  sending = false;
  take(answer);
}

async function take({ status, body }) {
  if (status === 200) {
    keeper.finish(body.verdict);
    dialog.dispatchEvent(new CustomEvent("form:sent", { detail: body }));
    step(body.verdict === "no_fit" ? "no_fit" : "done");
  } else if (status === 422 && body.problems) {
    if (body.stale) await reload(sheet.dataset.language).catch(() => false);
    step("fill");
    show(body.problems);
  } else alertOf(body.message || sheet.dataset.again);
}

function busy(is) {
  for (const button of sheet.querySelectorAll(".sheet__go")) {
    if (is) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
  }
}

// The sheet as the server draws it, in place of the one that is there.
async function load(base, page, language = "") {
  const query = new URLSearchParams({ ...(language && { lang: language }), ...(visitor && { v: visitor }) });
  const response = await fetch(`${base}/${page}?${query}`, { credentials: "same-origin" });
  if (!response.ok) return false;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-sheet]");
  dialog.replaceChildren(document.importNode(fresh, true));
  take_over();
  return true;
}

// The sheet anew, such as with the times that are free by now; what was typed stays.
async function reload(language) {
  const kept = read();
  const isSame = language === sheet.dataset.language; // in another language a person has not read what they agree to
  const agreed = consents().map((one) => one.querySelector("input")).filter((input) => isSame && input.checked).map((input) => input.name);
  if (!(await load(sheet.dataset.base, sheet.dataset.page, language))) return false;
  write(kept);
  for (const one of consents()) one.querySelector("input").checked ||= agreed.includes(one.dataset.consent);
  follow();
  return true;
}

async function changeLanguage(language) {
  if (!(await reload(language))) return alertOf(sheet.dataset.again);
  sheet.querySelector("[data-sheet-language]").focus();
}

function take_over() {
  sheet = dialog.querySelector("[data-sheet]");
  form = sheet.querySelector("form");
  logic = JSON.parse(sheet.dataset.logic);
  keeper = createKeeper(account, sheet.dataset.page);
  fillPlaces(sheet);
  // an answer that was left empty does not hide what the person wrote in the chat since
  write(Object.fromEntries(Object.entries(keeper.answers()).filter(([, value]) => value !== "")));
  follow();
}

dialog.addEventListener("submit", (event) => {
  event.preventDefault();
  next();
});
dialog.addEventListener("input", (event) => {
  if (event.target.matches("[data-sheet-language]") || !form.contains(event.target)) return;
  const field = event.target.closest(".field");
  if (field) complain(field.dataset.q ?? field.dataset.consent, "");
  follow();
  keeper.keep(read());
});
dialog.addEventListener("change", (event) => {
  if (event.target.matches("[data-sheet-language]")) changeLanguage(event.target.value);
});
dialog.addEventListener("click", (event) => {
  const target = event.target.closest("[data-sheet-close], [data-sheet-back], [data-sheet-send], [data-sheet-again]");
  if (event.target === dialog || (target && "sheetClose" in target.dataset)) dialog.close();
  else if (!target) return;
  else if ("sheetBack" in target.dataset) step("fill");
  else if ("sheetSend" in target.dataset) send();
  else {
    keeper.startAnew();
    step("fill");
  }
});
dialog.addEventListener("close", () => back?.focus());

let back = opener;
function open(from) {
  back = from;
  dialog.showModal();
  if ("back" in sheet.dataset) step("again");
  else step(keeper.verdict() === "taken" ? "done" : "fill");
}
let isBehind = false; // a message may have brought a detail that the form shows
document.addEventListener("chat:said", () => { isBehind = true; });
opener?.addEventListener("click", async () => {
  const isOther = sheet.dataset.page !== first; // the chat may have shown another form meanwhile
  const isOld = isBehind && "prefills" in sheet.dataset;
  const isFresh = (isOther || isOld) && (await load(sheet.dataset.base, first, isOther ? "" : sheet.dataset.language).catch(() => false));
  if (isFresh) isBehind = false;
  if (isFresh || !isOther) open(opener);
});
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-open-form]");
  if (!button) return;
  const base = `/chat/${encodeURIComponent(account)}/form`;
  if (sheet?.dataset.page === button.dataset.openForm || (await load(base, button.dataset.openForm))) open(button);
});
if (dialog.querySelector("[data-sheet]")) take_over();
const first = sheet?.dataset.page;
if ("opens" in document.body.dataset) open(opener);
