"""`sluice screenshots`: the pictures in docs/images, of pages and terminal, with the demo's documents."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

import httpx

from app.cli.demo import QUESTIONS, SAMPLES
from app.cli.stack import Stack, StackOptions
from app.cli.terminal_picture import save_terminal_picture
from app.embedded import free_port
from app.errors import StartupError

IMAGES = Path(__file__).parents[2] / "docs/images"
SIZE = (1120, 640)
#: Cut off on purpose, to show a failure.
DAMAGED = "operating-rules.docx"


def screenshots() -> None:
    """Make the pictures in docs/images anew."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sluice-screenshots-") as folder:
        options = StackOptions(data=Path(folder) / "data", host="127.0.0.1", port=free_port(), workers=1)
        with Stack(options, print):
            asyncio.run(_fill(options.url))
            _take(options.url)
            _take_terminal(options.url, Path(folder) / "terminal")


async def _fill(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
        for path in sorted(path for path in SAMPLES.iterdir() if path.name != "README.md"):
            await http.post(
                "/ingest", files={"file": (path.name, path.read_bytes())}, data={"collection": "canal"}
            )
        draft = {"file": (f"draft of {DAMAGED}", _cut())}
        await http.post("/ingest", files=draft, data={"collection": "canal"})
        await _settled(http)


async def _settled(http: httpx.AsyncClient, within_s: float = 120) -> None:
    give_up_at = time.monotonic() + within_s
    while (await http.get("/documents", params={"status": ["PENDING", "PROCESSING"]})).json()["documents"]:
        if time.monotonic() > give_up_at:
            raise StartupError("The documents were not done in time: look at the worker's log.")
        await asyncio.sleep(0.2)


def _take_terminal(url: str, folder: Path) -> None:
    """The samples, one of them cut off, as the command line takes them in and finds something in them."""
    shutil.copytree(SAMPLES, folder / "samples", ignore=shutil.ignore_patterns("README.md"))
    (folder / f"samples/draft of {DAMAGED}").write_bytes(_cut())
    commands = [
        ["ingest", "samples", "--wait", "--collection", "handbook"],
        ["search", QUESTIONS[0], "--collection", "handbook", "--top-k", "2"],
    ]
    path = IMAGES / "terminal.svg"
    save_terminal_picture(path, commands, folder=folder, environment={"SLUICE_URL": url})
    print(path)


def _cut() -> bytes:
    return (SAMPLES / DAMAGED).read_bytes()[:9000]


def _take(url: str) -> None:
    # Of the development set, which ordinary commands do not have.
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    from app.cli.browser import ARGUMENTS, chromium  # noqa: PLC0415

    pages = {
        "documents": "/ui/documents",
        "search": f"/ui/search?{httpx.QueryParams({'q': QUESTIONS[0]})}",
        "overview": "/ui/overview",
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page = browser.new_page(base_url=url, viewport={"width": SIZE[0], "height": SIZE[1]})
        for name, path in pages.items():
            page.goto(path)
            page.screenshot(path=IMAGES / f"{name}.png")
            print(f"{IMAGES / name}.png")
        browser.close()
