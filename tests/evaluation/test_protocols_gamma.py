import numpy as np
import pytest

from forgescope.datasets_scripts.genimage import GENERATORS as CORPUS_GENERATORS
from forgescope.datasets_scripts.load import corpus_builder_class
from forgescope.datasets_scripts.synthwildx import KINDS
from forgescope.evaluation.protocols import PROTOCOLS, find_protocol
from forgescope.evaluation.protocols_gamma import (
    ABLATIONS,
    GENERATORS,
    METHOD,
    TABLE2,
    TABLE3,
    TABLE3_COLUMNS,
    paper_value,
)
from forgescope.trainers.recipe import available_ablations


def test_every_average_of_table_2_is_the_mean_of_its_row():
    for method, values in TABLE2.items():
        assert np.mean(values[:-1]) == pytest.approx(values[-1], abs=0.0501), method
    assert len(TABLE2) == 17


def test_the_stated_gain_is_that_over_b_free_and_the_introductions_is_of_no_row():
    gains = {method: round(TABLE2[METHOD][-1] - values[-1], 1) for method, values in TABLE2.items()}
    assert gains["B-Free"] == 5.8
    assert min(gain for method, gain in gains.items() if method != METHOD) == 5.8
    assert 5.4 not in gains.values()


def test_the_ablations_whole_model_is_the_mean_of_nine_numbers():
    whole = {ABLATIONS[table][row] for table, row in (("table4", "manipulation-ai"), ("table6", "all"))}
    whole |= {ABLATIONS["table7"]["2-2-1"], ABLATIONS["table8"]["reverse"]}
    assert whole == {0.932}
    nine = [*TABLE2[METHOD][:-1], np.mean(TABLE3[METHOD][1:])]
    assert np.mean(nine) == pytest.approx(93.2, abs=0.05)


def test_tables_5_and_6_disagree_on_inpainting_alone():
    assert ABLATIONS["table5"]["none-none"] == 0.9027
    assert ABLATIONS["table6"]["inpainting"] == 0.9063
    assert ABLATIONS["table5"]["real-real"] == ABLATIONS["table6"]["inpainting-copy-move-splicing"] == 0.9205


def test_ablations_are_named_as_the_recipes_are():
    names = {f"{table}-{row}" for table, rows in ABLATIONS.items() for row in rows}
    assert names <= set(available_ablations("gamma"))


@pytest.mark.parametrize(
    ("table", "row", "value"),
    [
        ("table2", "biggan", 0.964),
        ("table2", "average", 0.951),
        ("table3", "GPT-ImgEval", 0.841),
        ("table7", "2-3-1", 0.894),
        ("table8", "none", 0.9183),
        ("table8", "average", None),
        ("table9", "biggan", None),
    ],
)
def test_paper_values_are_shares(table, row, value):
    assert paper_value(table, row) == value


def test_protocols_fit_the_corpora_that_they_read():
    assert list(GENERATORS.values()) == list(PROTOCOLS["gamma-genimage"].groups)
    assert set(GENERATORS.values()) == set(CORPUS_GENERATORS.values())
    assert {one for sources in PROTOCOLS["gamma-synthwildx"].groups.values() for one in sources} == set(KINDS)
    for protocol in (one for name, one in PROTOCOLS.items() if name.startswith("gamma-")):
        builder = corpus_builder_class(protocol.corpus)
        assert protocol.config in (None, *(config.name for config in builder.BUILDER_CONFIGS))
        assert set(protocol.options) <= set(builder.BUILDER_CONFIG_CLASS.__dataclass_fields__)
        assert set(protocol.paper_values) <= {*protocol.groups, "average"}
        assert (protocol.metric, protocol.threshold) == ("image_accuracy", 0.5)
        assert (protocol.crop_size, protocol.crop_padding) == (512, 1)
        for text in (protocol.paper, protocol.table, protocol.data, protocol.note):
            assert text
        assert bool(protocol.real_images) == (protocol.corpus in ("openai4o", "gptimgeval", "sharegpt4o"))


def test_the_paper_numbers_of_table_3_stand_at_the_right_protocols():
    found = [PROTOCOLS[f"gamma-{name}"].paper_values for name in ("openai4o", "gptimgeval", "sharegpt4o")]
    assert [next(iter(values.values())) for values in found] == [0.794, 0.841, 0.702]
    assert PROTOCOLS["gamma-synthwildx"].paper_values == {"average": 0.991}
    assert len(TABLE3_COLUMNS) == len(TABLE3[METHOD])


def test_an_unknown_protocol_names_those_that_are_there():
    with pytest.raises(ValueError, match="unknown protocol 'gamma-genimages': did you mean gamma-genimage"):
        find_protocol("gamma-genimages")
