"""The demo as a Hugging Face Space: the embedded checkpoint, and those named in MODELS."""

from pathlib import Path

from forgescope.demo import build_demo, launch_demo

# Hub ids, such as "org/iclnet-mine"; the first is chosen, iclnet-mini is always offered.
MODELS: tuple[str, ...] = ()
# Images that the page offers: put some into a folder images/ beside this file.
EXAMPLES = sorted((Path(__file__).parent / "images").glob("*"))

demo = build_demo(MODELS, examples=EXAMPLES)

if __name__ == "__main__":
    launch_demo(demo)
