"""Opens every page of the console in each language and theme, and says what is wrong with it.

Reads a JSON object from standard input: url, now, pages (paths with {names}), looks (language, theme and cookie of each), and, where
they are wanted, links (where a page with {names} is), expected (texts of what may be heard), axe (a file), pictures (a folder for
those of every page) and shown (a folder for those that documents show). A page with {names} in its path is otherwise found through a link to it on another page. Prints one
complaint a line.
"""

import gzip
import json
import re
import sys
from pathlib import Path

import chromium
import small_png

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

FIND_WRONG = """async (tags) => (await axe.run({runOnly: tags, resultTypes: ['violations']})).violations.map(
    (one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.html).join(' | ')}`)"""

# What sticks out of the window sideways.
FIND_WIDE = """() => document.documentElement.scrollWidth > innerWidth
    ? [...document.querySelectorAll('main *, header *, nav *, footer *')].filter((one) => one.getBoundingClientRect().right > innerWidth
        && !one.closest('.scroll')).slice(0, 3).map((one) => one.outerHTML.slice(0, 120)) : []"""

# Targets that are smaller than 24 × 24 and stand in no sentence (WCAG 2.5.8).
FIND_SMALL = """() => [...document.querySelectorAll('button, .button, nav a, input:not([type=hidden]), select, summary')].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && (box.width < 18 || box.height < 18)
}).map((one) => one.outerHTML.slice(0, 120))"""

# What moved after it was drawn, by more than a hundredth of the window's share.
FIND_SHIFT = """() => new Promise((resolve) => {
    const moved = [];
    new PerformanceObserver((list) => list.getEntries().filter((one) => !one.hadRecentInput && one.value > 0.01).forEach((one) =>
        moved.push(`${one.value.toFixed(3)} ${one.sources.map(({node}) => (node && (node.outerHTML || node.data) || '').slice(0, 60)).join(', ')}`)))
        .observe({type: 'layout-shift', buffered: true});
    setTimeout(() => resolve(moved.join(' | ')), 50);
})"""

# What strangers' words would do if they were run; the stories write it into names, texts and answers.
FIND_HURT = "() => window.hurt !== undefined || document.querySelector('img[src=x]') !== null"

# Which pages documents show, under which name.
SHOWN = {
    "/admin": "today",
    "/admin/notifications/{id}": "story",
    "/admin/failures": "failures",
    "/admin/templates/{id}": "template",
    "/admin/matrix/{service}": "matrix",
    "/admin/customers/{customer_id}": "customer",
    "/admin/webhooks/inbound/{id}": "signature",
    "/admin/inbox": "inbox",
}


def main():
    task = json.load(sys.stdin)
    WANTED.extend(path for path in task["pages"] if "{" in path)
    PLAIN.update(path for path in task["pages"] if "{" not in path)
    LINKS.update(task.get("links", {}))
    wants = Wants(task)
    with chromium.launch() as browser:
        for look in task["looks"]:
            language, theme = look["language"], look["theme"]
            options = {"viewport": {"width": 1280, "height": 800}, "locale": language, "reduced_motion": "reduce"}
            window = chromium.come(browser, task["url"], look["cookie"], **options)
            page = window.new_page()
            chromium.listen(page, task["url"], heard)
            # "4 minutes ago" by the clock of the story. The browser says of each sandboxed frame that its clock was not set.
            page.clock.set_fixed_time(task["now"])
            wants.expected.append("the document's frame is sandboxed")
            for path in task["pages"]:
                name = f"{language}-{theme}-{re.sub(r'[^a-z]+', '-', path.strip('/'))}"
                for complaint in look_at(page, task["url"], path, wants, name):
                    print(f"{name}: {complaint}")
                if wants.shown and theme == "light" and path in SHOWN:
                    show(page, wants.shown / f"{SHOWN[path]}-{language}.png")
            window.close()
    wants.write_index()


class Wants:
    """What is done on each page besides looking."""

    def __init__(self, task):
        self.axe = gzip.decompress(Path(task["axe"]).read_bytes()).decode() if "axe" in task else None
        self.pictures, self.shown = (Path(task[name]) if name in task else None for name in ("pictures", "shown"))
        self.expected = task.get("expected", [])
        self.taken = []
        for folder in filter(None, (self.pictures, self.shown)):
            folder.mkdir(parents=True, exist_ok=True)

    def axe_complaints(self, page):
        return page.evaluate(FIND_WRONG, TAGS) if self.axe else []

    def take(self, page, name, ending=""):
        if self.pictures:
            page.screenshot(path=self.pictures / f"{name}{ending}.png", full_page=True)
            self.taken.append(name)

    def write_index(self):
        if self.pictures:
            pairs = (f'<h2>{name}</h2><img src="{name}.png" width="600"> <img src="{name}-phone.png">' for name in dict.fromkeys(self.taken))
            (self.pictures / "index.html").write_text(f"<!doctype html><title>Console</title>{''.join(pairs)}")


heard = []


# Where pages with {names} in their path are, as far as links have told.
WANTED = []
PLAIN = set()
LINKS = {}


def look_at(page, url, path, wants, name):
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
    if not all(wanted in LINKS for wanted in WANTED):
        remember_links(page)
    if shift := page.evaluate(FIND_SHIFT):
        yield f"it shifts: {shift}"
    if page.evaluate(FIND_HURT):
        yield "a stranger's words are no text here"
    if wants.axe:
        page.evaluate(wants.axe)
    yield from (f"axe: {wrong}" for wrong in wants.axe_complaints(page))
    wants.take(page, name)
    page.set_viewport_size({"width": 360, "height": 700})
    yield from (f"sticks out at 360 px: {wide}" for wide in page.evaluate(FIND_WIDE))
    yield from (f"small target: {small}" for small in page.evaluate(FIND_SMALL))
    yield from (f"axe at 360 px: {wrong}" for wrong in wants.axe_complaints(page))
    wants.take(page, name, "-phone")
    yield from (one for one in list(heard) if not any(text in one for text in wants.expected))


def show(page, file):
    """The upper part of a page, in few colours: a picture of a document is looked at small, and loaded often."""
    page.set_viewport_size({"width": 1100, "height": 800})
    page.evaluate("scrollTo(0, 0)")
    file.write_bytes(small_png.small(page, page.screenshot()))


def remember_links(page):
    for link in page.eval_on_selector_all("a[href]", "all => all.map((one) => one.getAttribute('href'))"):
        for wanted in WANTED:
            pattern = re.sub(r"\\\{[a-z_]+\\\}", r"[^/?]+", re.escape(wanted)) + "/?$"
            # What a link asks for besides is left out: a page can be opened without it.
            there = link.split("?")[0].rstrip("/")
            if wanted not in LINKS and there not in PLAIN and re.match(pattern, there):
                LINKS[wanted] = there


if __name__ == "__main__":
    main()
