"""The site that `make docs` builds, and its navigation."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def pages_of(navigation) -> list[str]:
    """All pages that the navigation of mkdocs.yml names."""
    if isinstance(navigation, str):
        return [navigation]
    parts = navigation.values() if isinstance(navigation, dict) else navigation
    return [page for part in parts for page in pages_of(part)]


def test_every_page_is_in_the_navigation():
    named = pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(named) == sorted(page.name for page in (ROOT / "docs").glob("*.md")), "name the page in mkdocs.yml"
    assert set(re.findall(r"\]\(([\w]+\.md)\)", (ROOT / "docs" / "index.md").read_text())) == {*named} - {"index.md"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="pip install 'forgescope[docs]'")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_built(site):
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} <= {page.stem for page in site.glob("*.html")}


def test_links_into_the_repository_lead_to_copies(site):
    link = "repository/trainers/recipes/gamma.yaml"
    assert f'href="{link}"' in (site / "gamma.html").read_text()
    assert (site / link).read_bytes() == (ROOT / "trainers/recipes/gamma.yaml").read_bytes()
    assert "../" not in re.findall(r'href="([^"]*)"', (site / "papers.html").read_text())


def test_blocks_below_comments_are_code(site):
    page = (site / "hub.html").read_text()
    assert "not run:" in page
    assert page.count('class="highlight"') == (ROOT / "docs/hub.md").read_text().count("\n```") // 2
    assert "```" not in page


def test_the_site_loads_nothing_from_elsewhere(site):
    for page in site.glob("*.html"):
        loaded = re.findall(
            r'<(?:script|link rel="stylesheet"|img)[^>]*(?:src|href)="(https?:[^"]*)"', page.read_text()
        )
        assert loaded == [], page.name
