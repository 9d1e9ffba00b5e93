"use strict";
const form = document.getElementById("inputs");
const image = document.getElementById("image");
const message = document.getElementById("message");
const download = document.getElementById("download");
let drawing = false;
let changed = false;

function query() {
  const fields = new URLSearchParams();
  for (const input of form.elements) {
    if (input.name && input.value !== input.dataset.off) fields.set(input.name, input.value);
  }
  const labels = [...form.querySelectorAll("[data-label]")].map((select) => select.value);
  if (labels.length) fields.set("label", labels.join(","));
  return fields.toString();
}

function showValues() {
  for (const output of form.querySelectorAll("output")) {
    const input = document.getElementById(output.htmlFor.value);
    output.textContent = input.value === input.dataset.off ? "none" : input.value;
  }
}

async function draw() {
  showValues();
  if (drawing) {
    changed = true;
    return;
  }
  drawing = true;
  do {
    changed = false;
    const address = "/sample.png?" + query();
    history.replaceState(null, "", "#" + query());
    try {
      const answer = await fetch(address);
      if (answer.ok) {
        const previous = image.src;
        image.src = URL.createObjectURL(await answer.blob());
        if (previous) URL.revokeObjectURL(previous);
        download.href = address;
        message.textContent = "";
      } else {
        message.textContent = await answer.text();
      }
    } catch {
      message.textContent = "gan-demo does not answer; was it stopped?";
    }
  } while (changed);
  drawing = false;
}

function restore() {
  const fields = new URLSearchParams(location.hash.slice(1));
  for (const input of form.elements) {
    if (input.name && fields.has(input.name)) input.value = fields.get(input.name);
  }
  const label = fields.get("label");
  if (label === null) return;
  for (const select of form.querySelectorAll("[data-label]")) {
    const found = [...select.options].find((option) => ("," + label + ",").includes("," + option.value + ","));
    if (found) select.value = found.value;
  }
}

form.addEventListener("input", draw);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(draw));
form.addEventListener("click", (event) => {
  const name = event.target.dataset.new;
  if (!name) return;
  form.elements[name].value = Math.floor(Math.random() * 1e6);
  draw();
});
restore();
draw();
