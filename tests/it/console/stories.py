"""Does in Chromium what a story orders, as a person would.

The first line of standard input is a JSON object: url. Each further line is an order: do (a verb below), and what the verb wants.
Each is answered with one line: {"said": …}, or {"wrong": …} where it cannot be done. Waiting is the verbs' part: what a person would
see in a moment is waited for, so that no story sleeps.
"""

import json
import sys

import chromium

# How long a person waits for something, in ms, where an order does not say.
TIMEOUT = 15_000

# The one piece of a browser that no driver can do: a tab behind another.
SHOW = """(hidden) => {
    Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event('visibilitychange'));
}"""


class Story:
    def __init__(self, browser, url):
        self.browser = browser
        self.url = url
        self.tabs = []
        self.heard = []

    # --- Windows and tabs: a window has cookies of its own ---

    def window(self, cookie="", scripts=True):
        options = {"viewport": {"width": 1280, "height": 720}, "locale": "en-US", "reduced_motion": "reduce"}
        window = chromium.come(self.browser, self.url, cookie, java_script_enabled=scripts, **options)
        return self.open_in(window)

    def beside(self, tab):
        return self.open_in(self.tabs[tab].context)

    def open_in(self, window):
        page = window.new_page()
        page.set_default_timeout(TIMEOUT)
        chromium.listen(page, self.url, self.heard)
        self.tabs.append(page)
        return len(self.tabs) - 1

    def close(self, tab):
        self.tabs[tab].close()

    def hide(self, tab):
        self.tabs[tab].evaluate(SHOW, True)

    def show(self, tab):
        self.tabs[tab].evaluate(SHOW, False)

    # --- What hands do ---

    def open(self, tab, path):
        answer = self.tabs[tab].goto(self.url + path, wait_until="load")
        return answer.status

    def press(self, tab, name, within):
        """A button or a link that is called so, and leads to another page; it is the only one there."""
        place = self.tabs[tab].locator(within)
        button, link = (place.get_by_role(role, name=name, exact=True) for role in ("button", "link"))
        with self.tabs[tab].expect_navigation():
            button.or_(link).click()

    def click(self, tab, selector):
        """What leads nowhere."""
        self.tabs[tab].locator(selector).click()

    def fill(self, tab, field, text):
        self.tabs[tab].locator(f'[name="{field}"]:not([type=hidden])').fill(text)

    def focus(self, tab, selector):
        self.tabs[tab].locator(selector).focus()

    def type(self, tab, text):
        self.tabs[tab].keyboard.type(text)

    def keys(self, tab, keys):
        for key in keys:
            self.tabs[tab].keyboard.press(key)

    # --- What eyes see ---

    def see(self, tab, selector, text="", timeout=TIMEOUT):
        """Waits until it is there and can be seen, with this text in it."""
        found = self.tabs[tab].locator(selector)
        if text:
            found = found.filter(has_text=text)
        found.first.wait_for(timeout=timeout)

    def tell(self, tab, expression):
        return self.tabs[tab].evaluate(expression)

    def where(self, tab):
        return self.tabs[tab].url.removeprefix(self.url)

    def listen(self):
        """What was heard since the last time."""
        heard, self.heard[:] = list(self.heard), []
        return heard


def main():
    url = json.loads(sys.stdin.readline())["url"]
    with chromium.launch() as browser:
        story = Story(browser, url)
        for line in sys.stdin:
            order = json.loads(line)
            try:
                answer = {"said": getattr(story, order.pop("do"))(**order)}
            except Exception as error:  # The story decides what that means.
                answer = {"wrong": f"{error} Heard: {story.heard}"}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
