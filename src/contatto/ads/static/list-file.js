// A chosen file goes into the text field, so that it can be seen, corrected and sent.
const field = document.getElementById("list-file");

async function read() {
  if (field.files[0]) document.getElementById("list-text").value = await field.files[0].text();
}

field.addEventListener("change", read);
read(); // chosen before this script was there
