"""The documentation as a site, built with zensical as `make docs` does."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.processes import ROOT

pytestmark = pytest.mark.needs_package("zensical")

PAGES = sorted(page.stem for page in (ROOT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "zensical.toml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs")
    return folder


def build(project: Path) -> subprocess.CompletedProcess[str]:
    build = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(build, cwd=project, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def site(project: Path) -> Path:
    built = build(project)
    assert built.returncode == 0, built.stderr
    return project / "site"


class Resources(HTMLParser):
    """Collects the addresses that a browser requests to show a page; `links` are those that a reader may follow."""

    def __init__(self) -> None:
        super().__init__()
        self.resources: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = [value for name, value in attrs if name in ("src", "href", "srcset", "poster", "data") and value]
        (self.links if tag == "a" else self.resources).extend(found)


def read(page: Path) -> Resources:
    parser = Resources()
    parser.feed(page.read_text())
    return parser


@pytest.mark.parametrize("name", PAGES)
def test_a_page_requests_nothing_from_another_host(site: Path, name: str) -> None:
    requested = read(site / f"{name}.html").resources

    assert requested
    assert [address for address in requested if re.match(r"([a-z]+:)?//", address)] == []
    assert [address for address in requested if not (site / address.partition("?")[0]).exists()] == []


def test_style_sheets_request_nothing_from_another_host(site: Path) -> None:
    sheets = "".join(sheet.read_text() for sheet in site.rglob("*.css"))

    assert sheets
    assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", sheets) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_uses_no_feature_whose_script_is_loaded_from_another_host(site: Path, name: str) -> None:
    assert not re.search(r'class="[^"]*\b(mermaid|glightbox|pyodide)\b', (site / f"{name}.html").read_text())


def test_every_page_is_in_the_navigation(site: Path) -> None:
    links = read(site / "index.html").links

    assert {f"{name}.html" for name in PAGES} <= set(links)


@pytest.mark.parametrize("link", ["nowhere.md", "reference.md#nowhere", "../SECURITY.md"])
def test_a_broken_link_fails_the_build(project: Path, tmp_path: Path, link: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(project, broken)
    with (broken / "docs/index.md").open("a") as page:
        page.write(f"\n[broken]({link})\n")

    assert build(broken).returncode != 0
