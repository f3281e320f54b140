"""Questions to an open page, answered in the browser."""

from __future__ import annotations

from typing import Final

CONTROLS: Final = (
    "a[href], button:not([tabindex='-1']), input:not([type=hidden]), select, textarea, summary, [tabindex='0']"
)
"""A CSS selector of what can be used."""

SMALL_TARGETS: Final = f"""() => {{
  const inText = (node) => node.tagName === 'A' && getComputedStyle(node).display === 'inline'
    && node.parentElement.textContent.trim() !== node.textContent.trim();
  return [...document.querySelectorAll("{CONTROLS}")].filter((node) => {{
    const area = node.closest('label') || node, box = area.getBoundingClientRect();
    return node.checkVisibility({{visibilityProperty: true}}) && !node.matches('.skip') && !inText(node)
      && (box.width < 24 || box.height < 24);
  }}).map((node) => {{
    const box = node.getBoundingClientRect();
    return `${{node.outerHTML.slice(0, 160)}} ${{Math.round(box.width)}} x ${{Math.round(box.height)}}`;
  }});
}}"""
"""Targets of less than 24 x 24 px. Links in a sentence may be (WCAG 2.2, 2.5.8)."""

NUMBERED: Final = f"""() => {{
  const found = [...document.querySelectorAll("{CONTROLS}")]
    .filter((node) => node.checkVisibility({{visibilityProperty: true}}) && !node.disabled);
  found.forEach((node, at) => {{ node.dataset.number = at; }});
  return found.map((node) => node.outerHTML.slice(0, 120));
}}"""
"""Number what can be used; the answer is what each is."""

FOCUSED: Final = """() => {
  const node = document.activeElement;
  if (!node || node === document.body) return null;
  const box = node.getBoundingClientRect(), style = getComputedStyle(node);
  const x = Math.min(Math.max(box.left + Math.min(box.width, 40) / 2, 1), innerWidth - 1);
  const y = (Math.max(box.top, 0) + Math.min(box.bottom, innerHeight)) / 2;
  const top = document.elementFromPoint(x, y);
  return {
    number: node.dataset.number ?? null,
    text: node.outerHTML.slice(0, 120),
    seen: !!top && (node.contains(top) || top.contains(node)),
    ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1,
  };
}"""
"""What has the focus: its number, whether it is seen at its place, and whether a ring says so."""

MOVING: Final = """() => [
  ...document.getAnimations().map(() => 'an animation'),
  ...[...document.querySelectorAll('*')].filter((node) => getComputedStyle(node).transitionDuration !== '0s')
    .map((node) => node.outerHTML.slice(0, 120)),
]"""
"""What moves."""

UNSEEN_ICONS: Final = """() => {
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/^rgba\\(.*, 0\\)$/.test(colour)) return colour;
    }
    return '';
  };
  return [...document.querySelectorAll('.icon')]
    .filter((node) => node.checkVisibility() && getComputedStyle(node).color === ground(node))
    .map((node) => node.outerHTML.slice(0, 120));
}"""
"""Icons in the colour of what is behind them."""

BORDERLESS: Final = """() => [...document.querySelectorAll('button, .button, input, select, textarea')]
  .filter((node) => node.checkVisibility() && !node.matches('.quiet, [type=file], [type=checkbox], [type=radio]'))
  .filter((node) => ['none', '0px'].some((no) => getComputedStyle(node).borderTop.includes(no)))
  .map((node) => node.outerHTML.slice(0, 120))"""
"""Controls that without their background have no edge.

Those that look like links need none; boxes to tick are drawn by the browser.
"""

SIDEWAYS: Final = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
"""How far the page scrolls sideways, in pixels."""

COLOURS: Final = """() => [...document.querySelectorAll('main *')].flatMap((node) => {
  const style = getComputedStyle(node);
  return [style.color, style.backgroundColor, style.fill];
})"""
"""All colours of the content."""
