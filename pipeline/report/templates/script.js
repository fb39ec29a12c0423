"use strict";
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const views = new Map();

  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";

  /* A copy of a spec in which each "var(--name)" is that colour of the theme. */
  const coloured = (value, style) => {
    if (typeof value === "string") {
      const found = /^var\((--[a-z0-9-]+)\)$/.exec(value);
      return found ? style.getPropertyValue(found[1]).trim() || value : value;
    }
    if (Array.isArray(value)) return value.map((inner) => coloured(inner, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, coloured(inner, style)]));
    }
    return value;
  };

  const config = {
    font: "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, sans-serif",
    view: { stroke: null },
    axis: {
      labelColor: "var(--faint)", titleColor: "var(--soft)", gridColor: "var(--line)", domainColor: "var(--line)",
      tickColor: "var(--line)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", titlePadding: 8,
      labelOverlap: true, labelSeparation: 10, labelPadding: 5,
    },
    axisX: { grid: false },
    axisY: { domain: false, ticks: false, tickCount: 5, titleAngle: 0, titleAlign: "left", titleAnchor: "start", titleY: -10, titleX: 0 },
    legend: {
      labelColor: "var(--soft)", titleColor: "var(--soft)", labelFontSize: 12, titleFontSize: 12, symbolSize: 70,
      titleFontWeight: "normal", orient: "top", direction: "horizontal", offset: 14, labelLimit: 240,
    },
    header: { labelColor: "var(--soft)", titleColor: "var(--soft)" },
    text: { color: "var(--soft)", font: "system-ui, sans-serif" },
    line: { strokeWidth: 2 }, point: { filled: true, size: 55 }, bar: { color: "var(--c1)" },
  };

  /* Draw a chart, or draw it again. Resolves to the Vega view; `report.view(name)` finds it later. */
  const draw = async (place) => {
    const name = place.dataset.chart;
    const spec = JSON.parse(document.getElementById(`spec-${name}`).textContent);
    const style = getComputedStyle(root);
    const before = views.get(name);
    if (before) before.finalize();
    const made = await vegaEmbed(place, coloured(spec, style), {
      actions: false, ast: true, renderer: place.dataset.renderer, defaultStyle: false, mode: "vega-lite",
      config: coloured(config, style), tooltip: { disableDefaultStyle: true },
    });
    views.set(name, made);
    place.style.minHeight = "";
    place.dispatchEvent(new CustomEvent("drawn", { detail: made.view }));
    return made.view;
  };
  const drawAll = async () => {
    for (const place of document.querySelectorAll(".plot[data-chart]")) {
      try { await draw(place); } catch (error) { console.error(place.dataset.chart, error); }
    }
    root.dataset.drawn = "true";
  };

  const nameTheme = () => {
    button.textContent = isDark() ? "Light theme" : "Dark theme";
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
    drawAll();
  });
  system.addEventListener("change", () => { nameTheme(); drawAll(); });
  nameTheme();

  /* The section that is being read, in the list of contents. */
  const links = new Map([...document.querySelectorAll("nav li a")].map((link) => [link.hash.slice(1), link]));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "0px 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((part) => watch.observe(part));

  window.report = { draw, drawAll, isDark, view: (name) => views.get(name)?.view };
  drawAll();
})();
