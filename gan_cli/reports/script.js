"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const read = (element) => JSON.parse(element.textContent);

  const shown = (value) => {
    const size = Math.abs(value);
    if (value !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace("e+", "e");
    return Number(value.toPrecision(4)).toLocaleString("en");
  };

  const place = (line, share) => {
    const inside = share >= 0 && share <= 1;
    line.setAttribute("visibility", inside ? "visible" : "hidden");
    if (inside) for (const end of ["x1", "x2"]) line.setAttribute(end, `${100 * share}%`);
  };

  // --- charts: the values under the pointer, or at the step chosen by arrow keys

  const plots = all(".chart .data").map((element) => {
    const figure = element.closest(".chart");
    const data = read(element);
    const longest = data.series.reduce((one, other) => (other.points.length > one.points.length ? other : one));
    const marks = all(".mark", figure).map((mark) => ({
      share: parseFloat(mark.querySelector("line").getAttribute("x1")) / 100,
      text: mark.querySelector("title").textContent.split(": ")[0],
    }));
    return {
      data,
      marks,
      steps: longest.points.map(([step]) => step),
      frame: figure.querySelector(".frame"),
      pointer: figure.querySelector(".pointer"),
      now: figure.querySelector(".now"),
      tip: figure.querySelector(".tip"),
      chosen: -1,
    };
  });

  const nearest = (values, wanted) => {
    let best = 0;
    values.forEach((value, index) => {
      if (Math.abs(value - wanted) < Math.abs(values[best] - wanted)) best = index;
    });
    return best;
  };

  const line = (text, kind) => {
    const element = document.createElement("span");
    element.textContent = text;
    element.className = kind;
    return element;
  };

  const showTip = (plot, index) => {
    plot.chosen = index;
    const step = plot.steps[index];
    const share = step / plot.data.end;
    const values = plot.data.series.map(({ name, colour, points }) => {
      const [, value] = points[nearest(points.map(([at]) => at), step)];
      return line(`${name} ${shown(value)}`, colour);
    });
    const found = plot.marks.filter((mark) => Math.abs(mark.share - share) < 0.015);
    plot.tip.replaceChildren(
      line(`step ${shown(step)}`, "step"), ...values, ...found.map((mark) => line(mark.text, "finding")),
    );
    plot.tip.hidden = false;
    plot.tip.style.left = share < 0.5 ? `calc(${100 * share}% + 12px)` : "auto";
    plot.tip.style.right = share < 0.5 ? "auto" : `calc(${100 * (1 - share)}% + 12px)`;
    place(plot.pointer, share);
  };

  const hideTip = (plot) => {
    plot.tip.hidden = true;
    plot.chosen = -1;
    plot.pointer.setAttribute("visibility", "hidden");
  };

  const stepAt = (plot, event) => {
    const box = plot.frame.getBoundingClientRect();
    return ((event.clientX - box.left) / box.width) * plot.data.end;
  };

  let goToStep = () => {};
  for (const plot of plots) {
    plot.frame.addEventListener("pointermove", (event) => showTip(plot, nearest(plot.steps, stepAt(plot, event))));
    plot.frame.addEventListener("pointerleave", () => hideTip(plot));
    plot.frame.addEventListener("click", (event) => goToStep(stepAt(plot, event)));
    plot.frame.addEventListener("blur", () => hideTip(plot));
    plot.frame.addEventListener("focus", () => {
      if (plot.frame.matches(":focus-visible")) showTip(plot, plot.steps.length - 1);
    });
    plot.frame.addEventListener("keydown", (event) => {
      const last = plot.steps.length - 1;
      const from = plot.chosen < 0 ? last : plot.chosen;
      const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
      if (to !== undefined) {
        event.preventDefault();
        showTip(plot, Math.min(Math.max(to, 0), last));
      } else if (event.key === "Escape") {
        hideTip(plot);
      }
    });
  }

  // --- the grids over training

  const scrubber = document.querySelector(".scrubber");
  if (scrubber) {
    const { steps, frames } = read(scrubber.querySelector(".frames"));
    const image = document.getElementById("generated");
    const caption = document.getElementById("shown-step");
    const range = scrubber.querySelector("input");
    const play = scrubber.querySelector(".play");
    const last = steps.length - 1;
    let timer = null;

    const go = (index) => {
      image.src = frames[index];
      range.value = index;
      caption.textContent = `step ${steps[index].toLocaleString("en")}`;
      range.setAttribute("aria-valuetext", caption.textContent);
      for (const plot of plots) place(plot.now, steps[index] / plot.data.end);
    };
    const stop = () => {
      clearInterval(timer);
      timer = null;
      play.setAttribute("aria-pressed", "false");
      play.querySelector(".word").textContent = "Play";
    };
    range.addEventListener("input", () => {
      stop();
      go(Number(range.value));
    });
    play.addEventListener("click", () => {
      if (timer !== null) {
        stop();
        return;
      }
      play.setAttribute("aria-pressed", "true");
      play.querySelector(".word").textContent = "Pause";
      if (Number(range.value) === last) go(0);
      timer = setInterval(() => {
        go(Math.min(Number(range.value) + 1, last));
        if (Number(range.value) === last) stop();
      }, Math.max(80, Math.min(300, 6000 / steps.length)));
    });
    goToStep = (step) => {
      stop();
      go(nearest(steps, step));
    };
    range.value = last;
    range.setAttribute("aria-valuetext", caption.textContent);
    scrubber.hidden = false;
  }

  // --- tables that sort: first as it reads best for the column, then the other way

  const keyOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    return { text, number: text === "" ? NaN : Number(text) };
  };
  const compare = (one, other) => {
    if (!Number.isNaN(one.number) && !Number.isNaN(other.number)) return one.number - other.number;
    return one.text.localeCompare(other.text, "en", { numeric: true });
  };
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    for (const button of all("th button", table)) {
      button.addEventListener("click", () => {
        const head = button.closest("th");
        const upwards = head.getAttribute("aria-sort") !== "ascending";
        for (const other of all("th", table)) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", upwards ? "ascending" : "descending");
        const keyed = [...body.rows].map((row) => ({ row, key: keyOf(row, head.cellIndex) }));
        keyed.sort((one, other) => {
          if ((one.key.text === "") !== (other.key.text === "")) return one.key.text === "" ? 1 : -1;
          return upwards ? compare(one.key, other.key) : compare(other.key, one.key);
        });
        body.append(...keyed.map(({ row }) => row));
      });
    }
  }

  // --- commands to copy

  const copyByHand = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  for (const button of all(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = button.dataset.text ?? button.parentElement.querySelector("code").textContent;
      let done = true;
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        done = copyByHand(text);
      }
      button.textContent = done ? "Copied" : "Not copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
})();
