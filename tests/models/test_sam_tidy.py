"""A click means one object."""

from __future__ import annotations

import numpy as np

from groundlook.models.sam.tidy import without_crumbs


def test_only_the_piece_that_was_clicked_stays() -> None:
    inside = np.zeros((40, 60), dtype=bool)
    inside[5:15, 5:15] = inside[5:35, 30:55] = True
    kept = without_crumbs(inside, np.array([[8.5, 9.5]], np.float32))
    assert kept[5:15, 5:15].all()
    assert kept.sum() == 100


def test_two_clicks_on_two_pieces_mean_both() -> None:
    inside = np.zeros((40, 60), dtype=bool)
    inside[5:15, 5:15] = inside[5:35, 30:55] = inside[38:40, 0:2] = True
    kept = without_crumbs(inside, np.array([[8, 9], [40, 20]], np.float32))
    assert kept.sum() == inside.sum() - 4


def test_a_box_or_a_click_on_a_hole_keeps_what_is_no_crumb() -> None:
    inside = np.zeros((40, 60), dtype=bool)
    inside[5:35, 5:35] = inside[5:25, 40:55] = inside[0, 0] = True
    for points in (np.zeros((0, 2), np.float32), np.array([[37, 2]], np.float32)):
        assert without_crumbs(inside, points).sum() == inside.sum() - 1


def test_a_mask_of_one_piece_is_itself() -> None:
    inside = np.zeros((40, 60), dtype=bool)
    inside[5:35, 5:35] = True
    assert without_crumbs(inside, np.zeros((0, 2), np.float32)) is inside
    assert without_crumbs(~inside & inside, np.zeros((0, 2), np.float32)).sum() == 0
