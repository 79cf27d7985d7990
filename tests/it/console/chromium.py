"""Chromium as every test of the console starts it, and what it is listened to for meanwhile."""

from contextlib import contextmanager

from playwright.sync_api import sync_playwright


@contextmanager
def launch():
    """The system's Chromium, for which no other host than this machine exists."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        yield browser
        browser.close()


def come(browser, url, cookie, **options):
    """A window of a person with this session; without one, of a stranger."""
    window = browser.new_context(**options)
    if cookie:
        window.add_cookies([{"name": "recado_session", "value": cookie, "url": url}])
    return window


def listen(page, url, heard):
    """Puts into `heard` what no page of ours should do: errors and warnings, dialogs, requests to strangers."""

    def asked(dialog):
        heard.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("console", lambda said: heard.append(f"console: {said.text}") if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: heard.append(f"script: {error}"))
    page.on("dialog", asked)
    page.on("request", lambda sent: None if sent.url.startswith((url, "data:")) else heard.append(f"asks a stranger: {sent.url}"))
