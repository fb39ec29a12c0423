"""What is wrong with a page that is open: what a person would stumble over, as a list of sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from browser.system_chromium import OpenPage

if TYPE_CHECKING:
    from playwright.sync_api import Page

LEAST_CONTRAST = 4.5
"""Of text with its ground: WCAG 2, level AA."""

FAULTS = """(leastContrast) => {
  const faults = [];
  const root = document.documentElement;
  const named = (element) => `<${element.tagName.toLowerCase()}${element.id ? ' #' + element.id : ''}> `
    + (element.getAttribute('alt') ?? element.textContent).trim().slice(0, 60);

  if (root.scrollWidth > root.clientWidth) {
    faults.push(`wider than the window: ${root.scrollWidth} of ${root.clientWidth} pixels`);
    for (const element of document.body.querySelectorAll('*')) {
      const box = element.getBoundingClientRect();
      if (box.right > root.clientWidth + 1 && box.width) { faults.push(`  by ${named(element)}`); break; }
    }
  }
  for (const image of document.images) {
    if (image.complete && !image.naturalWidth) faults.push(`no picture: ${named(image)}`);
    if (!image.hasAttribute('alt')) faults.push(`no alternative text: ${image.src.slice(0, 60)}`);
  }
  const ids = new Set();
  for (const { id } of document.querySelectorAll('[id]')) {
    if (ids.has(id)) faults.push(`id twice: ${id}`);
    ids.add(id);
  }
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    if (!ids.has(decodeURIComponent(link.hash.slice(1)))) faults.push(`link to nowhere: ${link.hash}`);
  }
  let level = 0;
  for (const heading of document.querySelectorAll('h1, h2, h3, h4, h5, h6')) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) faults.push(`heading out of order: ${named(heading)}`);
    level = next;
  }

  /* Text of charts, which checkers of HTML pass over. Marks that text lies on are not known to be below it: the page is. */
  const pixel = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const channels = (colour) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    return [...pixel.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => channels(colour).slice(0, 3)
    .map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, which) => sum + part * [0.2126, 0.7152, 0.0722][which], 0);
  const ground = (element) => {
    for (let above = element; above; above = above.parentElement) {
      const colour = getComputedStyle(above).backgroundColor;
      if (channels(colour)[3] === 255) return colour;
    }
    return 'white';
  };
  const poor = new Map();
  for (const text of document.querySelectorAll('svg text')) {
    if (!text.textContent.trim()) continue;
    const style = getComputedStyle(text);
    if (Number(style.opacity) === 0 || style.visibility === 'hidden') continue;
    const [one, other] = [light(style.fill), light(ground(text))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    if (contrast < leastContrast) poor.set(style.fill, `contrast ${contrast.toFixed(2)} in a chart: ${named(text)}`);
  }
  return [...faults, ...poor.values()];
}"""


def faults(opened: OpenPage) -> list[str]:
    """What is wrong with the page as it is shown now: looks, names, and what axe-core finds.

    Every picture is loaded first, those further down too.
    """
    page = opened.page
    opened.load_pictures()
    return [*page.evaluate(FAULTS, LEAST_CONTRAST), *_of_axe(page), *_without_a_ring(page)]


def _of_axe(page: Page) -> list[str]:
    """Accessibility by axe-core, with the contrast of all text that is HTML."""
    from axe_playwright_python.sync_playwright import Axe

    found: dict[str, Any] = Axe().run(page).response
    return [
        f"{rule['id']}: {node['html'][:160]} ({node['failureSummary'].splitlines()[-1].strip()})"
        for rule in found["violations"]
        for node in rule["nodes"][:3]
    ]


def _without_a_ring(page: Page, presses: int = 12) -> list[str]:
    """What the keyboard comes to first without showing that it is there."""
    page.evaluate("document.activeElement?.blur()")
    found = []
    for _ in range(presses):
        page.keyboard.press("Tab")
        shown = page.evaluate(
            """() => {
              const at = document.activeElement, style = getComputedStyle(at);
              if (at === document.body) return null;
              const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
              return ring || style.boxShadow !== 'none' ? null : at.outerHTML.slice(0, 120);
            }"""
        )
        found += [f"focus is not seen: {shown}"] if shown else []
    return found
