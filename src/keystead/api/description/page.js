"use strict";
// Shows the search field and the buttons "Copy as curl", which are hidden without scripts, and does their work.

const search = document.getElementById("search");
const field = document.getElementById("wanted");
const shown = document.getElementById("shown");
const sections = [...document.querySelectorAll("main > section")];
const operations = [...document.querySelectorAll("details.operation")].map((node) => ({
  node,
  text: node.querySelector("summary").textContent.toLowerCase(),
  codes: [...node.querySelectorAll('a[href^="#e"]')].map((link) => link.textContent),
}));

// An operation is found if each word is in its first line, or begins one of its error codes.
function isFound(operation, words) {
  return words.every((word) => operation.text.includes(word) || operation.codes.some((code) => code.startsWith(word)));
}

function filter() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = operations.filter((operation) => isFound(operation, words));
  for (const { node } of operations) node.hidden = true;
  for (const { node } of found) node.hidden = false;
  for (const section of sections) {
    section.hidden = words.length > 0 && !section.querySelector("details.operation:not([hidden])");
  }
  shown.textContent = `${found.length} of ${operations.length} operations`;
}

function clear() {
  field.value = "";
  filter();
}

// A link to what the search hides ends the search.
function reveal(event) {
  const link = event.target.closest('a[href^="#"]');
  const target = link && document.getElementById(link.getAttribute("href").slice(1));
  if (target && target.closest("[hidden]")) clear();
}

async function copy(event) {
  const button = event.currentTarget;
  const line = button.dataset.curl.replace("{origin}", location.origin);
  const said = button.parentElement.querySelector("[role=status]");
  try {
    await navigator.clipboard.writeText(line);
    said.textContent = "Copied.";
  } catch {
    said.textContent = `The browser lets nothing be copied here. The command is: ${line}`;
  }
}

field.addEventListener("input", filter);
field.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clear();
});
document.addEventListener("click", reveal);
for (const row of document.querySelectorAll(".copy")) {
  row.querySelector("button").addEventListener("click", copy);
  row.hidden = false;
}
filter();
search.hidden = false;
