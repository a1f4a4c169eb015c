"""Band expressions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook_adapters.rasters.pictures.expression import check_expression, parse_expression


def evaluate(text: str, *bands: Any, dtype: str = "float64") -> NDArray[Any]:
    arrays = {i + 1: np.atleast_2d(np.array(band, dtype=dtype)) for i, band in enumerate(bands)}
    return parse_expression(text).evaluate(arrays)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(b2-b1)/(b2+b1)", 0.5),
        ("-b1 + 2.5*b2**2", 21.5),
        ("-b1**2", -1.0),
        ("b2**-1", 1 / 3),
        ("b2**0.5", 3**0.5),
        ("min(b1, b2) + max(b1, 7)", 8.0),
        ("abs(b1-b2)", 2.0),
        ("sqrt(b1) + log(b1) + log10(b1*100) + exp(b1-1)", 4.0),
        ("where(b1 > b2, b1, -b2)", -3.0),
        ("where(b1 < b2 and b1 != 0 or b2 == 9, 1e2, b1)", 100.0),
        ("  b1 ", 1.0),
    ],
)
def test_arithmetic(text: str, value: float) -> None:
    assert evaluate(text, 1, 3)[0, 0] == pytest.approx(value)


def test_what_has_no_value_is_not_finite_and_says_nothing() -> None:
    for text in ("b1/b2", "b2/b2", "log(b2)", "sqrt(b1-2)", "exp(b1*1e6)", "(b1-2)**0.5"):
        assert not np.isfinite(evaluate(text, 1, 0)).any(), text


@pytest.mark.parametrize(
    ("dtype", "result"),
    [("uint8", "float32"), ("uint16", "float32"), ("float32", "float32"), ("int32", "float64"), ("float64", "float64")],
)
def test_integers_neither_wrap_nor_lose(dtype: str, result: str) -> None:
    shown = evaluate("b1-b2", 1, 100, dtype=dtype)
    assert shown.dtype == result
    assert shown[0, 0] == -99


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(b4-b1)/(b4+nir)", "\"(b4-b1)/(b4+nir)\": 'nir' at column 13 is not a band; bands are b1 … b4"),
        ("b1+b5", "'b5' at column 4 is not a band; the raster has 4 bands, bands are b1 … b4"),
        ("b0", "'b0' at column 1 is not a band"),
        ("B1", "'B1' at column 1 is not a band"),
        ("b01", "'b01' at column 1 is not a band"),
        ("(b1+b2", "at column 1"),
        ("b1+", "nothing follows '+' at column 3"),
        ("b1 b2", "an operator is missing before 'b2' at column 4"),
        ("2b1", "an operator is missing before 'b1' at column 2"),
        ("2 (b1)", "column 1"),
        ("(b1) 2", "an operator is missing before '2' at column 6"),
        ("b1 % b2", "'%' at column 4 is not allowed"),
        ("b1; b2", "';' at column 3"),
        ("b1 // b2", "column 1 is neither arithmetic"),
        ("b1 < b2", "a comparison is no number"),
        ("where(b1, b2, b3)", "a comparison is due here"),
        ("b1 < b2 < b3", "comparison"),
        ("where(b1<b2<b3,1,b1)", "column 7"),
        ("min(b1)", "min at column 1 takes 2 values, not 1"),
        ("min", "column 1 is neither"),
        ("min(*b1,b2)", "column 5"),
        ("b1**b2", "the exponent at column 5 must be a number from -8 to 8"),
        ("b1**9", "the exponent at column 5"),
        ("b1**2**3**2", "the exponent"),
        ("b1*1e13", "the number at column 4 is over"),
        ("b1*1e999", "the number at column 4 is over"),
        ("1+2", "names no band"),
        ("", "is empty"),
        ("   ", "is empty"),
        ("b1" + "+b1" * 100, "at most 200"),
        ("(" * 90 + "b1" + ")" * 90, "b1"),
        ("-" * 60 + "b1", "deep"),
        ("b1.real", "'.'"),
        ("__import__('os')", "'__import__' at column 1"),
        ("(lambda: b1)()", "'lambda' at column 2"),
        ("b1 if b1 else b2", "'if' at column 4"),
        ("[b1]", "'[' at column 1"),
        ("b1\n+b2", "column 3"),
        ("b１", "column"),
        ("b1,b2", "column 1"),
        ("()", "column 1"),
        ("(b1)(b2)", "column"),
        ("1(b1)", "column"),
        ("not b1", "'not'"),
    ],
)
def test_a_typo_is_shown_with_its_place(text: str, words: str) -> None:
    if text.startswith("((((("):
        assert check_expression(text, 4).bands == (1,), "parentheses alone don't nest anything"
        return
    with pytest.raises(InvalidInput) as error:
        check_expression(text, 4)
    assert words in str(error.value)
    assert "\n" not in str(error.value) or "\n" in text


def test_one_band() -> None:
    with pytest.raises(InvalidInput, match="the raster has 1 band, the only band is b1"):
        check_expression("b2", 1)


@given(st.text(alphabet="b123 +-*/().,<>=!eE_awhermin\n'[]{}:;\\%@", max_size=60) | st.text(max_size=60))
def test_whatever_is_typed_is_an_expression_or_an_error_of_ours(text: str) -> None:
    try:
        found = parse_expression(text)
    except InvalidInput:
        return
    assert found.bands
    assert parse_expression(found.text) == parse_expression(found.text)
    assert parse_expression(found.text).text == found.text
    bands = {band: np.ones((2, 3), dtype=np.uint16) for band in found.bands}
    assert found.evaluate(bands).dtype == np.float32


leaves = st.sampled_from(["b1", "b2", "b3"]) | st.integers(1, 9).map(str)
trees = st.recursive(
    leaves, lambda s: st.tuples(s, st.sampled_from("+-*/"), s).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
)


@given(trees.filter(lambda t: "b" in t and len(t) <= 200))
def test_it_means_what_it_means_in_python(text: str) -> None:
    values = {"b1": 3.0, "b2": 7.0, "b3": 0.5}
    try:
        expected = eval(text, {}, values)  # noqa: S307 (numbers, signs and our own names)
    except ZeroDivisionError:
        return
    assert evaluate(text, 3.0, 7.0, 0.5).flat[0] == pytest.approx(expected)
