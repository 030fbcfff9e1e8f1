"""The page of `forgescope detect` in a headless Chromium: time to write, size, time to first rows, memory, answers.

    python benchmarks/report_page.py [--rows 20 100 2000]

Photographs are random parts of those in examples/, 640 x 480. Writing is processor time; other times are medians over
the rounds. Memory is that of the process that shows the page (its share of shared pages included) after the steps.
Needs Linux, playwright and Chromium.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from forgescope.html_report import write_html
from forgescope.results import ResultsFolder

EXAMPLES = Path(__file__).parents[1] / "examples" / "images"
SETTINGS = {"model": "benchmark", "precision": "float32", "rule": "Forged from a score of 0.9.", "tile": None}
WIDTH, HEIGHT = 640, 480
ROUNDS = 5
STEPS = {
    "sort": "byId('heads').querySelectorAll('button')[0].click()",
    "filter": "document.querySelector('#tools input').click()",
    "next page": "turn(table.page + 1)",
    "open": "open(0)",
}


def make_run(folder: Path, count: int) -> ResultsFolder:
    """Write photographs, overlays, probability maps and rows."""
    generator = np.random.default_rng(0)
    sources = [Image.open(path).convert("RGB") for path in sorted(EXAMPLES.glob("*.jpg"))]
    for name in ("photos", "overlays", "maps"):
        (folder / name).mkdir(parents=True)
    rows = []
    for number in range(count):
        source = sources[number % len(sources)]
        left, top = (int(generator.integers(0, edge // 3)) for edge in source.size)
        part = source.crop((left, top, left + source.width * 2 // 3, top + source.height * 2 // 3))
        files = {kind: folder / kind / f"{number:05d}.jpg" for kind in ("photos", "overlays", "maps")}
        part.resize((WIDTH, HEIGHT)).save(files["photos"], quality=90)
        shutil.copy(files["photos"], files["overlays"])
        part.resize((WIDTH, HEIGHT)).convert("L").save(files["maps"], quality=90)
        score = float(generator.random())
        box = {"box": [10, 20, 200, 300], "area_fraction": 0.1, "mean_probability": 0.7, "editor": None}
        rows.append(
            {"path": str(files["photos"]), "verdict": "forged" if score >= 0.9 else "authentic", "score": score}
            | {"forged_fraction": score / 4, "width": WIDTH, "height": HEIGHT, "regions": [box] * 6}
            | {"mask": None, "overlay": str(files["overlays"]), "probability_map": str(files["maps"])}
            | {"explanation": None, "notes": ["Examined whole."], "error": None}
            | {"thresholds": {"authentic": 0.9, "forged": 0.9}}
            | SETTINGS
        )
    (folder / "report.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ResultsFolder(folder, SETTINGS)


def measure(browser: Any, page_file: Path) -> dict[str, float]:
    """Load a page and use it; milliseconds, and megabytes of memory."""
    page = browser.new_page()
    start = time.perf_counter()
    page.goto(page_file.as_uri(), wait_until="domcontentloaded")
    found = {"first rows": 1000 * (time.perf_counter() - start)}
    for name, step in STEPS.items():
        # until the next frame is drawn
        found[name] = page.evaluate(
            f"new Promise(done => {{ const start = performance.now(); {step};"
            "requestAnimationFrame(() => setTimeout(() => done(performance.now() - start))) })"
        )
    page.wait_for_timeout(500)
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    found["memory"] = max(proportional_memory(one["id"]) for one in processes if one["type"] == "renderer")
    page.close()
    return found


def proportional_memory(process: int) -> float:
    """Megabytes of a process of Linux."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


def main() -> None:
    """Print a line a number of rows."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20, 100, 2000])
    arguments = parser.parse_args()
    names = ["first rows", *STEPS, "memory"]
    print("| rows | written in | size | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 3) + "|")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    for count in arguments.rows:
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
            results = make_run(Path(folder) / "run", count)
            start = time.process_time()
            page = write_html(results)
            cells = [f"{time.process_time() - start:.1f} s", f"{page.stat().st_size / 1e6:.1f} MB"]
            rounds = []
            for _ in range(ROUNDS):
                browser = playwright.chromium.launch(executable_path=program)
                rounds.append(measure(browser, page))
                browser.close()
            medians = {name: statistics.median(one[name] for one in rounds) for name in names}
            cells += [f"{value:.0f} {'MB' if name == 'memory' else 'ms'}" for name, value in medians.items()]
            print(f"| {count} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
