"""A scene's name says which file it was, and nothing of our folders or tokens."""

from __future__ import annotations

import pytest

from groundlook_adapters.vectors.names import scene_name


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/data/site/a.tif", "a.tif"),
        ("/data/what is it?.tif", "what is it?.tif"),
        ("C:\\data\\a.tif", "a.tif"),
        ("https://data.example.org/x/a.tif?token=secret", "a.tif"),
        ("s3://bucket/x/a.tif", "a.tif"),
    ],
)
def test_the_last_part_without_a_query(source: str, name: str) -> None:
    assert scene_name(source) == name
