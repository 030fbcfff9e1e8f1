"""The numbers of the paper, what agrees in them and what does not."""

import numpy as np
import pytest

from forgescope.datasets_scripts.mmfr import GENERATORS as CORPUS_GENERATORS
from forgescope.evaluation.protocols import PROTOCOLS, find_protocol
from forgescope.evaluation.protocols_fakereasoning import (
    ABLATIONS,
    FAMILIES,
    GENERATORS,
    METHOD,
    TABLE2,
    TABLE3,
    TABLE7,
    TABLE8,
    paper_value,
)
from forgescope.evaluation.protocols_fakereasoning import PROTOCOLS as OURS
from forgescope.trainers.recipe import available_ablations


def test_every_average_of_table_2_is_the_mean_of_its_row():
    for method, numbers in TABLE2.items():
        assert np.mean(numbers[:-1]) == pytest.approx(numbers[-1], abs=0.0101), method


def test_table_3_has_the_families_of_table_2():
    of_columns = dict(zip(GENERATORS, TABLE2[METHOD], strict=False))
    for place, members in enumerate(FAMILIES.values()):
        assert np.mean([of_columns[name] for name in members]) == pytest.approx(TABLE3[METHOD][place])
    for method, (diffusion, gan, average, *_) in TABLE3.items():
        assert (diffusion + gan) / 2 == pytest.approx(average, abs=0.0101), method


def test_tables_4_and_6_weight_the_families_differently():
    for table, odd in (
        ("table4", ("without-reasoning", "without-chain-of-thought")),
        ("table6", ("projection", "llm")),
    ):
        for name, (diffusion, gan, average, _) in ABLATIONS[table].items():
            weight = 2 if name in odd else 1
            assert (weight * diffusion + gan) / (weight + 1) == pytest.approx(average, abs=0.0101), name
    for diffusion, gan, average, _ in ABLATIONS["table5"].values():
        assert (diffusion + gan) / 2 == pytest.approx(average, abs=0.0101)
    assert ABLATIONS["table5"]["all"][:3] == ABLATIONS["table6"]["both"][:3] == TABLE3[METHOD][:3]
    assert ABLATIONS["table4"]["chain-of-thought"][:3] == (94.78, 88.90, 91.84)


def test_tables_7_and_8_are_of_one_measurement():
    assert np.mean(TABLE7) == pytest.approx(TABLE8[0.2][0], abs=0.01)
    assert TABLE8[0.2][1] == TABLE2[METHOD][-1]
    # against round 0 of temperature 0.2, that of 0.1 could not fluctuate less than its accuracy differs
    assert TABLE8[0.2][1] - TABLE8[0.1][1] > TABLE8[0.1][0]


@pytest.mark.parametrize(
    ("table", "row", "column", "value"),
    [
        ("table5", "lm", "average", 0.86),
        ("table5", "lm-contrast", "css", 0.75),
        ("table5", "lm-mapper", "DM", 0.96),
        ("table6", "projection", "GAN", 0.8333),
        ("table5", "lm", "bleu", None),
        ("table9", "lm", "average", None),
    ],
)
def test_paper_value(table, row, column, value):
    assert paper_value(table, row, column) == value


def test_fakereasonings_ablations_are_named_as_its_recipes_are():
    names = {f"{table}-{row}" for table, rows in ABLATIONS.items() for row in rows} - {"table4-llava"}
    assert names == set(available_ablations("fakereasoning"))


def test_protocols_are_of_the_generators_that_the_corpus_reads():
    assert {protocol.name for protocol in OURS} == {
        "mmfr-detection",
        "mmfr-detection-v2",
        "mmfr-reasoning",
        "mmfr-reasoning-v2",
        "mmfr-consistency",
        "mmfr-temperature",
    }
    for protocol in OURS:
        assert find_protocol(protocol.name) is protocol
        assert set(protocol.groups) == set(CORPUS_GENERATORS[protocol.options["preset"]])
        assert {name for members in protocol.families.values() for name in members} == set(protocol.groups)
        assert {source for source, _, _ in protocol.values} <= {*protocol.groups, *protocol.families, "average"}


def test_no_protocol_compares_with_tables_4_and_6():
    odd = {0.9184, 0.8890, 0.8811, 0.8556, 0.9017, 0.8861} - {0.8890}  # 88.90 is GauGAN's in Table 2
    assert not odd & {value for protocol in OURS for value in protocol.values.values()}
    detection, reasoning = PROTOCOLS["mmfr-detection"], PROTOCOLS["mmfr-reasoning"]
    assert detection.values["gaugan", "image_accuracy", None] == 0.889
    assert detection.values["average", "image_accuracy", None] == 0.9098
    assert reasoning.values["average", "text_css", None] == 0.77
    assert PROTOCOLS["mmfr-temperature"].values["average", "image_accuracy", "temperature 0.4"] == 0.887
    assert PROTOCOLS["mmfr-detection-v2"].values == {}
