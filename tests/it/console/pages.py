"""Opens every page of the console in each language and theme, and says what is wrong with it.

Reads a JSON object from standard input: url, pages (paths with {names}), cookies (one per language and theme), axe (a file),
pictures (a folder), wants_rows. A page with {names} in its path is found through a link to it on another page. Prints one
complaint a line.
"""

import gzip
import json
import re
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

FIND_WRONG = """async (tags) => (await axe.run({runOnly: tags, resultTypes: ['violations']})).violations.map(
    (one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.html).join(' | ')}`)"""

# What sticks out of the window, and targets that are smaller than 24 × 24 and stand in no sentence (WCAG 2.5.8).
FIND_WIDE = """() => document.documentElement.scrollWidth > innerWidth
    ? [...document.querySelectorAll('main *, header *, nav *, footer *')].filter((one) => one.getBoundingClientRect().right > innerWidth
        && !one.closest('.scroll')).slice(0, 3).map((one) => one.outerHTML.slice(0, 120)) : []"""
FIND_SMALL = """() => [...document.querySelectorAll('button, .button, nav a, input:not([type=hidden]), select, summary')].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && (box.width < 18 || box.height < 18)
}).map((one) => one.outerHTML.slice(0, 120))"""

FIND_SHIFT = """() => new Promise((resolve) => {
    let sum = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((one) => { if (!one.hadRecentInput) sum += one.value; }))
        .observe({type: 'layout-shift', buffered: true});
    setTimeout(() => resolve(sum), 50);
})"""


def main():
    task = json.load(sys.stdin)
    WANTED.extend(path for path in task["pages"] if "{" in path)
    PLAIN.update(path for path in task["pages"] if "{" not in path)
    axe = gzip.decompress(Path(task["axe"]).read_bytes()).decode()
    pictures = Path(task["pictures"])
    pictures.mkdir(parents=True, exist_ok=True)
    index = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        for look in task["looks"]:
            context = browser.new_context(viewport={"width": 1280, "height": 800}, locale=look["language"], reduced_motion="reduce")
            context.add_cookies([{"name": "recado_session", "value": look["cookie"], "url": task["url"]}])
            page = context.new_page()
            watch(page, task["url"])
            for path in task["pages"]:
                name = f"{look['language']}-{look['theme']}-{re.sub(r'[^a-z]+', '-', path.strip('/'))}"
                for complaint in look_at(page, task["url"], path, axe, pictures / name):
                    print(f"{name}: {complaint}")
                index.append(name)
            context.close()
        browser.close()
    links = "".join(f'<h2>{name}</h2><img src="{name}.png" width="600"> <img src="{name}-phone.png">' for name in index)
    (pictures / "index.html").write_text(f"<!doctype html><title>Console</title>{links}")


heard = []


def watch(page, url):
    page.on("console", lambda said: heard.append(f"console: {said.text}") if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: heard.append(f"script: {error}"))
    page.on("request", lambda asked: None if asked.url.startswith((url, "data:")) else heard.append(f"asks a stranger: {asked.url}"))


# Where pages with {names} in their path are, as far as links have told.
WANTED = []
PLAIN = set()
LINKS = {}


def look_at(page, url, path, axe, picture):
    heard.clear()
    page.set_viewport_size({"width": 1280, "height": 800})
    there = LINKS.get(path, path)
    if "{" in there:
        yield "no page links to it, or the story has nothing to show there"
        return
    answer = page.goto(f"{url}{there}/" if "?" not in there else f"{url}{there}", wait_until="load")
    if answer.status != 200:
        yield f"it was answered with {answer.status}"
    page.wait_for_timeout(150)
    remember_links(page)
    if (shift := page.evaluate(FIND_SHIFT)) > 0.1:
        yield f"it shifts by {shift}"
    page.evaluate(axe)
    yield from (f"axe: {wrong}" for wrong in page.evaluate(FIND_WRONG, TAGS))
    page.screenshot(path=f"{picture}.png", full_page=True)
    page.set_viewport_size({"width": 360, "height": 700})
    yield from (f"sticks out at 360 px: {wide}" for wide in page.evaluate(FIND_WIDE))
    yield from (f"small target: {small}" for small in page.evaluate(FIND_SMALL))
    yield from (f"axe at 360 px: {wrong}" for wrong in page.evaluate(FIND_WRONG, TAGS))
    page.screenshot(path=f"{picture}-phone.png", full_page=True)
    yield from list(heard)


def remember_links(page):
    for link in page.eval_on_selector_all("a[href]", "all => all.map((one) => one.getAttribute('href'))"):
        for wanted in WANTED:
            pattern = re.sub(r"\\\{[a-z_]+\\\}", r"[^/?]+", re.escape(wanted)) + "/?$"
            if wanted not in LINKS and link.rstrip("/") not in PLAIN and re.match(pattern, link):
                LINKS[wanted] = link.rstrip("/")


if __name__ == "__main__":
    main()
