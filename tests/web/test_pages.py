"""The pages in a real Chromium, over the real API and a real worker: what people do, from drop to hit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Error, expect

from app.client import Sluice
from app.core.config import Settings
from tests.processes import APIProcess, WorkerProcess, api_process, eventually, worker_process
from tests.web.support import Visitor, started_browser

pytestmark = pytest.mark.timeout(120)

WORDS = "The upper gate opens at six. "


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def api(settings: Settings, migrated: None, folder: Path) -> Iterator[APIProcess]:
    with api_process({"STORAGE_URL": f"file://{folder / 'content'}"}, folder / "api.log") as api:
        yield api


class Workers:
    """At most one worker at a time, with settings that can be changed."""

    def __init__(self, folder: Path) -> None:
        self.now: WorkerProcess | None = None
        self._folder = folder
        self._open = ExitStack()

    def start(self, **environment: str) -> WorkerProcess:
        self.stop()
        environment |= {"STORAGE_URL": f"file://{self._folder / 'content'}", "BEAT_S": "0.5", "LEASE_S": "5"}
        log = self._folder / "worker.log"
        self.now = self._open.enter_context(
            worker_process(environment, log, "--processes", "1", "--threads", "4")
        )
        return self.now

    def stop(self) -> None:
        self._open.close()
        self.now = None


@pytest.fixture(scope="module")
def workers(folder: Path) -> Iterator[Workers]:
    workers = Workers(folder)
    yield workers
    workers.stop()


@pytest.fixture
def visitor(browser: Browser, api: APIProcess) -> Iterator[Visitor]:
    visitor = Visitor(browser, api.url)
    yield visitor
    visitor.context.close()
    assert visitor.complaints == []
    assert visitor.foreign == []


def test_a_file_is_followed_from_its_upload_to_the_hit_in_its_text_and_a_failed_one_to_its_retry(
    visitor: Visitor, workers: Workers, tmp_path: Path
) -> None:
    page = visitor.page
    # A limit that is raised later: this worker refuses a text that the next one takes.
    workers.start(MAX_TEXT_CHARS="200")
    long = tmp_path / "long.txt"
    long.write_text(WORDS * 40)
    short = tmp_path / "short.md"
    short.write_text("# Winter\n\nThe lower gate is closed from November on.\n")
    page.goto("/")
    page.get_by_label("Collection").fill("lock")
    page.get_by_role("button", name="Add metadata").click()
    page.get_by_label("Metadata: name").fill("season")
    page.get_by_label("Metadata: value").fill("winter")

    page.locator("#files").set_input_files([long, short])

    done = page.locator(".item", has_text="short.md")
    expect(done.locator(".item-state")).to_have_text("completed")
    expect(done.get_by_role("progressbar")).to_have_attribute("value", re.compile("^(1|100)$"))
    failed = page.locator(".item", has_text="long.txt")
    expect(failed).to_contain_text("more than 200 characters")
    expect(failed).to_contain_text("raise MAX_TEXT_CHARS")
    expect(page.locator("#tally")).to_have_text("1 of 2 documents completed, 1 failed")

    workers.start()
    expect(failed.get_by_role("button", name="Retry")).to_have_attribute(
        "title", re.compile("unless something was")
    )
    failed.get_by_role("button", name="Retry").click()
    expect(failed.locator(".item-state")).to_have_text("completed", timeout=15_000)

    page.goto("/ui/search")
    page.get_by_role("searchbox").fill('"lower gate"')
    page.get_by_text("words", exact=True).click()
    page.get_by_text("Filters").click()
    page.get_by_label("Metadata: name").fill("season")
    page.get_by_label("is", exact=True).fill("winter")
    page.get_by_role("button", name="Search").click()
    hit = page.locator(".hits li")
    expect(hit).to_have_count(1)
    expect(hit.locator("mark").first).to_have_text("lower")
    hit.get_by_role("link").click()
    expect(page.locator(".chunk:target")).to_contain_text("The lower gate is closed")
    expect(page.locator("#attempts .legend")).to_contain_text("Parsing")
    expect(page.locator("#metadata")).to_contain_text("winter")


def test_a_folder_a_drop_and_a_text_are_taken_in_without_what_is_hidden(
    visitor: Visitor, workers: Workers, api: APIProcess, tmp_path: Path
) -> None:
    assert workers.now or workers.start()
    folder = tmp_path / "handbook"
    (folder / "locks").mkdir(parents=True)
    (folder / "locks" / "upper.txt").write_text("The upper lock has two gates.")
    (folder / "weir.txt").write_text("The weir is repaired in May.")
    (folder / ".hidden.txt").write_text("Nobody is to see this.")
    page = visitor.page
    page.goto("/")
    page.get_by_label("Collection").fill("ways in")

    page.locator("#folder").set_input_files(folder)
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["The swan has five cygnets."], "swan.txt", { type: "text/plain" }));
            document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data }));
        }"""
    )
    page.get_by_text("Paste a text").click()
    page.get_by_label("Text", exact=True).fill("The bridge stays closed on market days.")
    page.get_by_role("button", name="Add the text").click()

    items = page.locator(".item")
    expect(items).to_have_count(4)
    expect(items.locator(".item-state", has_text="completed")).to_have_count(4, timeout=15_000)
    taken = httpx.get(f"{api.url}/documents", params={"collection": "ways in"}).json()["documents"]
    names = {document["source_name"] for document in taken}
    assert names >= {"upper.txt", "weir.txt", "swan.txt"}
    assert len(taken) == 4


def test_the_list_changes_by_itself_and_many_are_cancelled_retried_and_deleted_after_a_question(
    visitor: Visitor, workers: Workers, api: APIProcess
) -> None:
    page = visitor.page
    workers.stop()
    with page.expect_response("**/events?collection=many") as events:
        page.goto("/ui/documents?collection=many")
    assert events.value.headers["content-type"].startswith("text/event-stream")
    expect(page.get_by_role("heading", name="No document is like that")).to_be_visible()

    for number in range(3):
        answer = httpx.post(
            f"{api.url}/ingest",
            json={"text": WORDS * (number + 1), "title": f"No. {number}", "collection": "many"},
        )
        assert answer.status_code == 201
    rows = page.locator("#rows > tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("Waits for a worker")

    page.get_by_label("Select all on this page").focus()
    page.keyboard.press("Space")
    expect(page.locator("#selected")).to_have_text("3 selected")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(rows.locator(".status.failed")).to_have_count(3)
    expect(rows.first).to_contain_text("If it is wanted after all")

    workers.start()
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(rows.locator(".status.completed")).to_have_count(3, timeout=15_000)

    page.get_by_label("Select No. 0").check()
    page.get_by_label("Select No. 2").check()
    page.locator("#selection").get_by_role("button", name="Delete").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("Delete 2 documents?")
    expect(question.get_by_role("listitem")).to_have_text(["No. 2", "No. 0"])
    page.keyboard.press("Escape")
    expect(rows).to_have_count(3)
    page.locator("#selection").get_by_role("button", name="Delete").click()
    question.get_by_role("button", name="Delete 2 documents").click()
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("No. 1")


def test_alike_documents_are_told_apart_and_a_failure_that_will_come_again_is_told_as_such(
    visitor: Visitor, workers: Workers, api: APIProcess
) -> None:
    page = visitor.page
    workers.start()
    table = "| no | part |\n|---|---|\n| 365 | weir |\n| 366 | gate |\n"
    with Sluice(api.url) as sluice:
        said = {"title": "Read me", "collection": "alike"}
        for text in ("upper", "lower", "lower still"):
            folder = text.partition(" ")[0]
            file = {"content": f"{table}\n{text}".encode(), "name": "README.md"}
            taken = sluice.ingest(**file, **said, external_id=f"{folder}/README.md")  # type: ignore[arg-type]
            sluice.wait(taken.document_id, timeout_s=30)
        cut = sluice.ingest(content=b"%PDF-1.4\nwhat is left of it\n", collection="alike").document_id
        sluice.wait(cut, timeout_s=30)
        sluice.retry(cut)
        sluice.wait(cut, timeout_s=30)

    page.goto("/ui/documents?collection=alike")
    rows = page.locator("#rows > tr")
    expect(rows).to_have_count(3)
    expect(rows.filter(has_text="upper/README.md").locator("td.num").last).to_have_text("1")
    updated = rows.filter(has_text="lower/README.md")
    expect(updated.locator("td.num").last).to_have_text("2")
    failed = rows.filter(has_text="corrupt_file")
    expect(failed.locator("td.num").last).to_have_text("2 (2 failed)")
    expect(failed.get_by_role("button")).to_have_attribute(
        "title", re.compile("^A retry fails in the same way")
    )

    updated.get_by_role("link").click()
    expect(page.locator("#attempts")).to_contain_text("Attempt 3, version 2")
    page.goto(f"/ui/documents/{cut}")
    expect(page.locator("#head")).to_contain_text("A retry fails in the same way")

    page.goto("/ui/search?collection=alike&mode=keyword&q=366")
    passage = page.locator(".passage").first
    assert "\n| 365 | weir |\n" in passage.inner_text()


PAGES = {
    "upload": "/",
    "documents": "/ui/documents",
    "document": "/ui/documents/{document_id}",
    "search": "/ui/search?q=gate&key=season",
    "overview": "/ui/overview",
    "nothing found": "/ui/documents?q=zzz",
}
REFUSALS = {
    "no such document": f"/ui/documents/{'0' * 8}-0000-0000-0000-{'0' * 12}",
    "no such status": "/ui/documents?status=DONE",
    "no such filter": "/ui/search?q=gate&filter={",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_keeps_anybody_out(browser: Browser, api: APIProcess, workers: Workers, scheme: str) -> None:
    assert workers.now or workers.start()
    posted = httpx.post(
        f"{api.url}/ingest", json={"text": WORDS, "title": "Gates", "metadata": {"season": 1}}
    )
    document = httpx.get(f"{api.url}{posted.headers['location']}", params={"wait": 10}, timeout=20).json()
    visitor = Visitor(browser, api.url, color_scheme=scheme)
    found = {}

    def look(name: str) -> None:
        for width in (390, 1280):
            visitor.page.set_viewport_size({"width": width, "height": 844})
            found[name, width] = visitor.violations()
            wide = visitor.page.evaluate("document.documentElement.scrollWidth > innerWidth")
            assert not wide, f"{name} is wider than the screen"

    for name, path in PAGES.items():
        answer = visitor.page.goto(path.format(**document))
        assert answer is not None
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        look(name)
    visitor.page.goto(PAGES["document"].format(**document))
    visitor.page.get_by_role("button", name="Delete").click()
    expect(visitor.page.get_by_role("dialog")).to_be_visible()
    look("a question")
    assert visitor.complaints == []
    for name, path in REFUSALS.items():
        visitor.page.goto(path)
        look(name)
    visitor.context.close()

    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    assert visitor.foreign == []


def test_the_pages_say_that_the_api_is_away_and_go_on_when_it_is_back(
    browser: Browser, api: APIProcess, folder: Path
) -> None:
    visitor = Visitor(browser, api.url)
    page = visitor.page
    page.goto("/ui/documents?collection=later")
    api.stop()
    expect(page.locator("#connection")).to_contain_text("does not answer", timeout=15_000)

    again = APIProcess({"STORAGE_URL": f"file://{folder / 'content'}"}, folder / "again.log", port=api.port)
    api.process = again.started().process  # Stopped with the fixture.
    expect(page.locator("#connection")).to_be_hidden(timeout=15_000)
    httpx.post(f"{api.url}/ingest", json={"text": WORDS * 9, "title": "Later", "collection": "later"})
    expect(page.locator("#rows > tr")).to_contain_text("Later")

    # What it complains about is what happened: nobody answered.
    assert all("Failed to load resource" in said or "ERR_" in said for said in visitor.complaints)
    assert visitor.foreign == []
    visitor.context.close()


def test_what_cannot_be_shown_is_a_page_that_says_why(api: APIProcess) -> None:
    unknown, refused, malformed = (httpx.get(f"{api.url}{path}") for path in REFUSALS.values())

    assert [each.status_code for each in (unknown, refused, malformed)] == [404, 422, 422]
    assert "a deleted document is gone for good" in unknown.text
    assert "/status/0" in refused.text
    assert "The filter is not JSON" in malformed.text


def test_stats_count_what_there_is_and_name_an_idle_worker(api: APIProcess, workers: Workers) -> None:
    # A worker that refuses one of two documents.
    worker = workers.start(MAX_TEXT_CHARS="200")
    parts = [f":{pid}:" for pid in worker.children()]
    for text in (f"{WORDS} Stats.", WORDS * 40):
        posted = httpx.post(f"{api.url}/ingest", json={"text": text, "collection": "stats"})
        httpx.get(f"{api.url}{posted.headers['location']}", params={"wait": 20}, timeout=30)

    def seen() -> bool:
        alive = httpx.get(f"{api.url}/stats").json()["workers"]
        idle = [each["name"] for each in alive if not each["held"]]
        return any(part in name for part in parts for name in idle)

    eventually(seen)
    stats = httpx.get(f"{api.url}/stats").json()
    assert stats["documents"]["COMPLETED"] > 0
    assert len(stats["throughput"]) == 60
    assert sum(minute["completed"] for minute in stats["throughput"]) > 0
    assert sum(minute["failed"] for minute in stats["throughput"]) > 0
    assert stats["storage"]["database_bytes"] > stats["storage"]["content_bytes"] > 0

    workers.stop()  # It says so when it goes; nobody has to wait for its last word to run out.
    eventually(lambda: not seen(), within_s=3)


def test_an_address_that_leads_nowhere_is_a_page_too(api: APIProcess) -> None:
    answer = httpx.get(f"{api.url}/ui/nothing/here")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no page at this address." in answer.text


def test_assets_can_be_kept_for_ever(api: APIProcess) -> None:
    html = httpx.get(f"{api.url}/").text
    for path in set(re.findall(r'"(/ui/static/[^"]+)"', html)):
        answer = httpx.get(f"{api.url}{path}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]


def test_a_page_of_somebody_else_sends_nothing_here(browser: Browser, api: APIProcess) -> None:
    before = httpx.get(f"{api.url}/stats").json()["documents"]
    page = browser.new_page()
    page.goto(api.url.replace("127.0.0.1", "localhost") + "/healthz")  # To a browser, somewhere else.

    # As quiet as a page can be: no preflight, and no look at the answer.
    with page.expect_response(f"{api.url}/ingest") as response:
        page.evaluate(
            """async url => {
                const form = new FormData();
                form.append("file", new Blob(["Mine."]), "mine.txt");
                await fetch(url, {method: "POST", mode: "no-cors", body: form});
            }""",
            f"{api.url}/ingest",
        )

    assert response.value.status == 403
    assert httpx.get(f"{api.url}/stats").json()["documents"] == before
    page.close()


def test_a_browser_is_let_in_with_a_key_and_uses_it_for_all_that_a_page_asks_for(
    browser: Browser, settings: Settings, migrated: None, folder: Path, workers: Workers
) -> None:
    key = "a-key-that-nobody-guesses"
    environment = {"STORAGE_URL": f"file://{folder / 'content'}", "API_KEYS": key}
    workers.start()
    with api_process(environment, folder / "keys.log") as api:
        stranger = browser.new_page()
        with pytest.raises(Error, match="AUTH"):  # It would ask its user, and has none.
            stranger.goto(api.url)
        stranger.close()

        visitor = Visitor(browser, api.url, http_credentials={"username": "anybody", "password": key})
        page = visitor.page
        page.goto("/")
        file = {"name": "keys.txt", "mimeType": "text/plain", "buffer": f"{WORDS} Keys.".encode()}
        page.locator("#files").set_input_files([file])
        expect(page.locator(".item .item-state")).to_have_text("completed")  # Told by an event stream.
        with page.expect_download() as download:
            page.goto("/ui/documents")
            page.get_by_role("link", name="keys.txt").click()
            page.get_by_role("link", name="Download", exact=True).click()
        assert download.value.suggested_filename == "keys.txt"
        visitor.context.close()
        assert visitor.complaints == []
        assert key not in api.log
