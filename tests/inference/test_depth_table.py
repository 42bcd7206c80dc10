import pytest

from facegen_inference.depth_table import DEFAULT_TABLE, load_depth_table, table_names
from facegen_inference.errors import UserError
from facegen_inference.pegs import expected_direction


def test_the_default_table_holds_the_printed_values():
    table = load_depth_table()
    assert table.name == DEFAULT_TABLE == "T2023_adult"
    assert (table.depths["g"].mean_mm, table.depths["g"].sd_mm) == (5.5, 1.0)
    assert (table.depths["ecm2s-L"].mean_mm, table.depths["ecm2s-L"].sd_mm) == (26.0, 7.0)
    assert table.depths["ecm2i-R"].mean_mm == 22.0
    assert len(table.depths) == 14 + 2 * 11
    assert "NOT yet checked" in table.verification
    assert "10.1007/s00414-023-03087-x" in table.source


def test_a_table_without_spread_says_so():
    table = load_depth_table("RHINE1983_SWNA_F_normal")
    assert not table.has_sd
    assert table.depths["id"].mean_mm == 12.25
    assert table.sex == "female"


@pytest.mark.parametrize("name", table_names())
def test_every_point_of_a_table_has_a_direction(name):
    for code, depth in load_depth_table(name).depths.items():
        assert expected_direction(code) is not None
        assert 1 <= depth.mean_mm <= 40


def test_an_unknown_table_is_refused_with_the_names():
    with pytest.raises(UserError, match=r"called Manchester.*T2023_adult"):
        load_depth_table("Manchester")
    with pytest.raises(UserError, match="no tissue-depth table"):
        load_depth_table("../face_regions")
