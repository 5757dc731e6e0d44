// Which questions a person meets: the same walk as in forms/rules/logic.py, so that the page need not ask.
const given = (answers, key) => [answers[key] ?? ""].flat();

export function findWay(questions, answers) {
  const met = [];
  let skipTo = "";
  for (const question of questions) {
    if (skipTo && skipTo !== question.key) continue;
    skipTo = "";
    const wanted = !question.show_if || (met.includes(question.show_if) && given(answers, question.show_if).includes(question.show_value));
    if (!wanted) continue;
    met.push(question.key);
    const goto = question.jumps[given(answers, question.key)[0]] ?? "";
    if (goto === "end" || goto === "refuse") return { met, refused: goto === "refuse" };
    skipTo = goto;
  }
  return { met, refused: false };
}
