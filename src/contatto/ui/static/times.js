// Turns the server's times into the reader's own zone and language; the server's text is the fallback.
import { word } from "./words.js";

// the reader's own variant of the page's language, when there is one: en-GB for en
const page = document.documentElement.lang || "en";
const lang = navigator.languages.find((one) => one.split("-")[0] === page.split("-")[0]) ?? page;
// one calendar and one set of digits everywhere, as on the server: reports and ids have no others
const fixed = { calendar: "gregory", numberingSystem: "latn" };
// the zone that the reader chose in their profile, else that of the device
if (document.documentElement.dataset.timeZone) fixed.timeZone = document.documentElement.dataset.timeZone;
const shape = (parts) => new Intl.DateTimeFormat(lang, { ...fixed, ...parts });
const shapes = {
  datetime: shape({ dateStyle: "medium", timeStyle: "short" }),
  date: shape({ dateStyle: "medium" }),
  time: shape({ timeStyle: "short" }),
  short: shape({ day: "numeric", month: "short" }),
  day: shape({ weekday: "long", day: "numeric", month: "long" }),
  calendar: shape({ dateStyle: "medium", timeZone: "UTC" }), // a day without a time is the same in every zone
};
const relative = new Intl.RelativeTimeFormat(lang, { numeric: "auto", style: "narrow", numberingSystem: "latn" });

function ago(then) {
  const minutes = Math.round((Date.now() - then) / 60000);
  if (minutes < 1) return word("now");
  if (minutes < 60) return relative.format(-minutes, "minute");
  if (minutes < 60 * 24) return relative.format(-Math.round(minutes / 60), "hour");
  if (minutes < 60 * 24 * 7) return relative.format(-Math.round(minutes / 1440), "day");
  return shapes.short.format(then);
}

export function dayName(isoDay) {
  const [year, month, day] = isoDay.split("-").map(Number);
  const then = new Date(year, month - 1, day);
  const today = new Date();
  const days = Math.round((new Date(today.getFullYear(), today.getMonth(), today.getDate()) - then) / 86400000);
  if (days === 0) return word("today");
  if (days === 1) return word("yesterday");
  return shapes.day.format(then);
}

export function localTime(iso, style) {
  const then = new Date(iso);
  if (Number.isNaN(then.getTime())) return "";
  return style === "ago" ? ago(then) : (shapes[style] ?? shapes.datetime).format(then);
}

// How much time is left, in whole minutes, for an element that holds an end.
function left(end) {
  const minutes = Math.max(0, Math.ceil((end - Date.now()) / 60000));
  const units = minutes >= 60 ? [[Math.floor(minutes / 60), "hour"], [minutes % 60, "minute"]] : [[minutes, "minute"]];
  return units.map(([n, unit]) => new Intl.NumberFormat(lang, { style: "unit", unit, unitDisplay: "short", numberingSystem: "latn" }).format(n)).join(" ");
}

function countDown(root) {
  for (const element of root.querySelectorAll("time[data-countdown]")) {
    const end = new Date(element.dateTime);
    const text = left(end);
    if (element.textContent !== text) element.textContent = text;
    element.closest(".composer__window")?.toggleAttribute("data-soon", end - Date.now() < 3600000);
  }
}

// A clock that runs down to a time, and up from it.
function showClocks(root) {
  for (const element of root.querySelectorAll("time[data-due]")) {
    const due = new Date(element.dateTime);
    const late = Date.now() - due;
    const days = Math.floor(Math.abs(late) / 86400000);
    const text = days >= 2 ? new Intl.NumberFormat(lang, { style: "unit", unit: "day", unitDisplay: "short" }).format(days) : left(new Date(Date.now() + Math.abs(late)));
    if (element.textContent !== text) element.textContent = text;
    element.closest("[data-clock]")?.toggleAttribute("data-late", late >= 0);
  }
}

export function localizeTimes(root = document) {
  countDown(root);
  showClocks(root);
  for (const element of root.querySelectorAll("time[data-local]")) {
    const text = localTime(element.dateTime, element.dataset.local);
    if (text && element.textContent !== text) element.textContent = text;
    if (!element.title) element.title = localTime(element.dateTime, "datetime");
  }
  for (const element of root.querySelectorAll("[data-day]")) {
    const text = dayName(element.dataset.day);
    if (element.textContent !== text) element.textContent = text;
  }
}
