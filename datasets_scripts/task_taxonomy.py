"""Task names of X2Edit and Pico-Banana -> the eight editing tasks of PromptForge.

PromptForge names its eight tasks and says that global edits (style, tone, viewpoint) are left out (section 4.1). Which
upstream task became which of the eight is not published: the table below is read from the names, and `confidence` says
how far it may be trusted. Names that are not in the table are never guessed.
"""

import re
from dataclasses import dataclass
from typing import Literal

TASKS = (
    "object_replacement",
    "object_addition",
    "object_removal",
    "material_conversion",
    "pose_change",
    "text_editing",
    "portrait_editing",
    "object_state_conversion",
)
Scope = Literal["local", "global", "ambiguous", "unknown"]
Confidence = Literal["high", "medium", "low"]

# X2Edit's English names, the Chinese names of its training code, and the `edit_type` strings of Pico-Banana.
LOCAL_NAMES: dict[str, tuple[Confidence, tuple[str, ...]]] = {
    "object_replacement": (
        "high",
        ("subject_replacement", "替换主体", "Replace one object category with another"),
    ),
    "object_addition": ("high", ("subject_addition", "添加主体", "Add a new object to the scene")),
    "object_removal": ("high", ("subject_deletion", "删除主体", "Remove an existing object")),
    "text_editing": (
        "high",
        (
            "text_change",
            "文字更改",
            "Add new (handwritten/printed/etc) text",
            "Replace text in signs/posters/billboards",
            "Translate written text into other languages",
            "Change font style or color of visible text if there is text",
        ),
    ),
    "portrait_editing": (
        "medium",
        (
            "portrait_editing",
            "人物修图",
            "Clothing edit (change color/outfit)",
            "Change age / gender",
            "Add/Remove/Replace Accessories (glasses, hats, jewelry, masks)",
            "Modify expressions (smile, frown, neutral)",
        ),
    ),
    "pose_change": ("medium", ("action_change", "动作更改", "Pose tweak (minor plausible change)")),
    "material_conversion": ("medium", ("material_change", "材料更改", "材质更改")),
    # the paper calls colour-only edits typical labelling errors, which suggests that they are in
    "object_state_conversion": (
        "low",
        ("color_change", "颜色更改", "Change the size/shape/orientation of an object"),
    ),
}
# Material conversion where the instruction names a material, else object state conversion.
ATTRIBUTE_NAME = "Change an object's attribute (e.g., color/material)"
MATERIAL_WORDS = re.compile(
    r"\b(materials?|wood(en)?|metal(lic)?|steel|iron|bronze|brass|copper|chrome|aluminum|glass|crystal"
    r"|stone|marble|granite|concrete|brick|ceramic|porcelain|clay|plastic|rubber|leather|suede|velvet|silk|denim"
    r"|cotton|wool(en)?|linen|fabric|knit(ted)?|paper|cardboard|wicker|bamboo)\b",
    re.IGNORECASE,
)
# Edits of the whole image, and whole generated portraits: no local mask.
GLOBAL_NAMES = (
    "style_change",
    "background_change",
    "tone_transform",
    "camera_movement",
    "personalized_generation",
    "portrait",
    "风格更改",
    "背景更改",
    "色调变换",
    "色调迁移",
    "相机移动",
    "Strong artistic style transfer (e.g., Van Gogh/anime/etc.)",
    "Modern ↔ historical style/look",
    "Photo to cartoon/sketch/comic",
    "Add film grain or vintage filter",
    "Change overall color tone (warm ↔ cool)",
    "Apply seasonal transformation (summer ↔ winter)",
    "Adjust global lighting (golden hour/fluorescent)",
    "Change weather conditions (sunny/rainy/snowy)",
    "Add new scene context/background",
    "Zoom in",
    "Outpainting (extend canvas beyond boundaries)",
    "Funko-Pop–style toy figure of the person",  # noqa: RUF001
    "LEGO-minifigure rendition of the person",
    "Line-art ink sketch of the person",
    "Simpsonize the person (yellow-skin cartoon style)",
    "Sticker-ify the person with bold outline and white border",
    "Convert person to 2D anime/manga style (identity-preserving)",
    "Convert person to Pixar/Disney-like 3D cartoon look",
    "Convert person to Western comic cel-shaded style",
    "Caricature with mild feature exaggeration (keep identity)",
)
# Several unlike edits under one name, or two separate regions.
AMBIGUOUS_NAMES = ("reasoning", "Relocate an object (change its position/spatial relation)")


@dataclass(frozen=True)
class TaskReading:
    """What an upstream task name stands for.

    Args:
        task: one of `TASKS`, None unless the edit is local.
        scope: `local`; `global` and `ambiguous` are left out of the corpus by default; `unknown` is not in the table.
        confidence: how sure the reading of a local task is.
    """

    task: str | None
    scope: Scope
    confidence: Confidence | None = None


def normalised(name: str) -> str:
    """Outer blanks off, lower case, blanks to underscores: X2Edit has 583 spellings of 15 names."""
    return "_".join(name.lower().split())


READINGS = {
    **{
        normalised(name): TaskReading(task, "local", confidence)
        for task, (confidence, names) in LOCAL_NAMES.items()
        for name in names
    },
    **{normalised(name): TaskReading(None, "global") for name in GLOBAL_NAMES},
    **{normalised(name): TaskReading(None, "ambiguous") for name in AMBIGUOUS_NAMES},
    # the eight themselves, as our own metadata has them
    **{task: TaskReading(task, "local", "high") for task in TASKS if task != "portrait_editing"},
}


def read_task(source_task: str | None, instruction: str | None = None) -> TaskReading:
    """Read an upstream task name.

    Args:
        source_task: X2Edit's `task` or Pico-Banana's `edit_type`, in any case.
        instruction: text of the edit; it decides only whether a change of an attribute changes the material.
    """
    name = normalised(source_task or "")
    if name == normalised(ATTRIBUTE_NAME):
        if instruction and MATERIAL_WORDS.search(instruction):
            return TaskReading("material_conversion", "local", "medium")
        return TaskReading("object_state_conversion", "local", "low")
    return READINGS.get(name, TaskReading(None, "unknown"))


__all__ = ["TASKS", "TaskReading", "normalised", "read_task"]
