// The fields of a form one by one: their inputs, what is wrong with an answer, and the answer in words.
export const inputsOf = (field) => [...field.querySelectorAll("input, textarea, select")];

export function whatIsWrong(field, words) {
  const inputs = inputsOf(field);
  if (inputs.some((input) => input.type === "radio" || (input.type === "checkbox" && field.dataset.q))) {
    return "needed" in field.dataset && !inputs.some((input) => input.checked) ? field.dataset.message || words.required : "";
  }
  const bad = inputs.find((input) => !input.checkValidity());
  if (!bad) return "";
  if (bad.validity.valueMissing) return field.dataset.consent ? words.agree : field.dataset.message || words.required;
  return field.dataset.message || bad.validationMessage;
}

export function shownAnswer(field) {
  const inputs = inputsOf(field).filter((input) => !input.name.endsWith(".country"));
  if (inputs[0].type === "radio" || inputs[0].type === "checkbox") {
    return inputs.filter((input) => input.checked).map((input) => input.nextElementSibling.textContent).join(", ");
  }
  return inputs[0].tagName === "SELECT" ? inputs[0].selectedOptions[0]?.textContent ?? "" : inputs[0].value;
}

export function readAnswers(fields) {
  const answers = {};
  for (const input of fields.flatMap(inputsOf)) {
    if (input.type === "checkbox") {
      if (input.checked) (answers[input.name] ??= []).push(input.value);
    } else if (input.type !== "radio" || input.checked) answers[input.name] = input.value;
  }
  return answers;
}

export function writeAnswers(fields, answers) {
  for (const input of fields.flatMap(inputsOf)) {
    const value = answers[input.name];
    if (value === undefined) continue;
    if (input.type === "checkbox" || input.type === "radio") input.checked = [value].flat().includes(input.value);
    else input.value = [value].flat()[0] ?? "";
  }
}
