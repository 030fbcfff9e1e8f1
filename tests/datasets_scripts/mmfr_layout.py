"""A small MMFR-Dataset as it is published: members below `dataset/`, texts, images, and some of its quirks."""

import json

from archives_layout import image_bytes

QUESTION = "<image>\nIs this image real or fake? Please describe the image, reasoning step-by-step."
FAKE = ("Semantic Irrationality", "Anomalous Image Texture", "Inconsistent Lighting and Shadows")
REAL = ("Semantic Rationality", "High Image Quality", "Consistent Lighting and Shadows")
GENERATORS = ("stablediffusion", "gpt4o")
CONCLUSIONS = {"fake": "This image is fake.", "real": "Based on the analysis above, this image is real."}


def answer(label: str, number: int) -> str:
    return (
        f"<SUMMARY> I will determine if the image is real or fake. </SUMMARY>\n<CAPTION> Picture {number} says "
        f'"hello", {{"image": "none"}}. </CAPTION>\n<REASONING> Therefore, this image is {label}. </REASONING>\n'
        f"<CONCLUSION> {CONCLUSIONS[label]} </CONCLUSION>"
    )


def conversation(image: str, label: str, number: int) -> dict:
    turns = [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": answer(label, number)}]
    return {"image": image, "conversations": turns}


def attributes(label: str, number: int) -> dict[str, str | None]:
    names = FAKE if label == "fake" else REAL
    return {name: f"{name} of {number}" if (number + place) % 3 else None for place, name in enumerate(names)}


def fake_name(number: int) -> str:
    return f"diffusiondb/part-{number % 3 + 1:06d}/{number:08x}-uuid.png"


def real_name(number: int) -> str:
    return f"laion/{number % 2:05d}/{number:09d}.jpg"


def mmfr_files(
    count: int = 12,
    generated: int = 4,
    prefix: str = "dataset/",
    indent: int | None = None,
    generators: tuple[str, ...] = GENERATORS,
) -> dict[str, bytes]:
    """Files by name: `count` images of each training source, `generated` of each class of each generator."""
    texts: dict[str, object] = {"forgery_reasoning_cot.json": []}
    images = {}
    for number in range(count):
        images[fake_name(number)] = image_bytes(number)
        images[real_name(number)] = image_bytes(number + 1000, kind="JPEG")
        texts["forgery_reasoning_cot.json"] += [
            conversation(fake_name(number), "fake", number),
            conversation(real_name(number), "real", number),
        ]
    for source, label, name in (("diffusiondb", "fake", fake_name), ("laion", "real", real_name)):
        keys = [name(number).removeprefix(f"{source}/") for number in range(count)]
        texts[f"{source}_reasoning.json"] = {key: attributes(label, n) for n, key in enumerate(keys)}
    for generator in generators:
        entries = {}
        for number in range(2 * generated):
            label = "real" if number % 2 else "fake"
            key = f"{generator}/{'0_real' if number % 2 else '1_fake'}/{number:04d}.png"
            images[f"evaluation_sets/{key}"] = image_bytes(number + 2000)
            entries[key] = attributes(label, number)
        texts[f"evaluation_sets/{generator}/{generator}_reasoning.json"] = entries
    written = {name: json.dumps(text, indent=indent).encode() for name, text in texts.items()}
    return {f"{prefix}{name}": data for name, data in {**written, **images}.items()}
