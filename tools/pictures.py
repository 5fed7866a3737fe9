"""Make the pictures of the board in docs/images anew, from the demo: `.venv/bin/python tools/pictures.py`.

It takes about three minutes: the pictures show the moment at which the demo's alert has been there for a while.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGES = Path(__file__).resolve().parents[1] / "docs/images"
ALERT = re.compile(r"ALERT \(critical\)")
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 1072}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}
PICTURES = (
    ("board-light", "", DESKTOP | {"color_scheme": "light"}),
    ("board-dark", "", DESKTOP | {"color_scheme": "dark"}),
    ("board-phone", "", PHONE),
    ("board-kpi", "#kpi=lead_response_sla_ratio", {"viewport": {"width": 1440, "height": 900}}),
)


def opened(browser: Browser, address: str, options: dict[str, Any]) -> Page:
    """The page, live."""
    page = browser.new_context(**options).new_page()
    page.goto(address)
    page.wait_for_selector("[data-state=live]")
    page.wait_for_timeout(1500)  # the drawer and the small charts come with a second answer
    return page


def main() -> None:
    """Run the demo until its alert, and take the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is missing: tools/fetch.sh brings it")
    command = [sys.executable, "-m", "salesgauge", "demo", "--port", "0", "--scenario", "rep-away"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        assert demo.stdout is not None
        address = ""
        for line in demo.stdout:
            if found := re.match(r"board\s+(http://\S+)", line):
                address = found[1]
            if address and ALERT.search(line):
                break
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium)
            for name, place, options in PICTURES:
                opened(browser, address + place, options).screenshot(path=IMAGES / f"{name}.png")
            browser.close()
        demo.terminate()


if __name__ == "__main__":
    main()
