import pytest

from forgescope.datasets_scripts import task_taxonomy
from forgescope.datasets_scripts.task_taxonomy import TASKS, read_task


def test_the_eight_tasks_of_the_paper():
    assert len(TASKS) == len(set(TASKS)) == 8
    assert set(task_taxonomy.LOCAL_NAMES) == set(TASKS)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("subject_replacement", "object_replacement"),
        (" Subject Addition ", "object_addition"),
        ("SUBJECT_DELETION", "object_removal"),
        ("删除主体", "object_removal"),
        ("文字更改", "text_editing"),
        ("材质更改", "material_conversion"),
        ("材料更改", "material_conversion"),
        ("action_change", "pose_change"),
        ("color_change", "object_state_conversion"),
        ("人物修图", "portrait_editing"),
        ("portrait_editing", "portrait_editing"),
        ("Remove an existing object", "object_removal"),
        ("Translate written text into other languages", "text_editing"),
        ("Change age / gender", "portrait_editing"),
        ("Pose tweak (minor plausible change)", "pose_change"),
        ("object_state_conversion", "object_state_conversion"),
    ],
)
def test_local_names(name, task):
    reading = read_task(name)
    assert (reading.task, reading.scope) == (task, "local")


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("style change", "global"),
        ("背景更改", "global"),
        ("portrait", "global"),
        ("Zoom in", "global"),
        ("Modern ↔ historical style/look", "global"),
        ("reasoning", "ambiguous"),
        ("Relocate an object (change its position/spatial relation)", "ambiguous"),
        ("subject_adition", "unknown"),
        ("remove", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_names_without_a_task(name, scope):
    reading = read_task(name)
    assert (reading.task, reading.scope, reading.confidence) == (None, scope, None)


@pytest.mark.parametrize(
    ("instruction", "task", "confidence"),
    [
        ("Turn the bench into one of weathered wood.", "material_conversion", "medium"),
        ("Make the car red.", "object_state_conversion", "low"),
        ("Put on glasses of another shade.", "object_state_conversion", "low"),
        (None, "object_state_conversion", "low"),
    ],
)
def test_a_changed_attribute_is_a_material_only_where_the_text_names_one(instruction, task, confidence):
    reading = read_task("Change an object's attribute (e.g., color/material)", instruction)
    assert (reading.task, reading.confidence) == (task, confidence)


def test_thirty_five_edit_types_of_pico_banana_and_fifteen_names_of_x2edit():
    local = [name for _, names in task_taxonomy.LOCAL_NAMES.values() for name in names]
    names = [*local, *task_taxonomy.GLOBAL_NAMES, *task_taxonomy.AMBIGUOUS_NAMES, task_taxonomy.ATTRIBUTE_NAME]
    assert len(set(names)) == len(names)
    chinese = [name for name in names if name[0] > "一"]
    x2edit = [name for name in names if name.isascii() and name.islower() and " " not in name]
    assert len(x2edit) == 15
    assert len(names) - len(chinese) - len(x2edit) == 35
