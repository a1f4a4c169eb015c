"""What an export says of itself, and what it may clean up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundlook.core.errors import InvalidInput
from groundlook_adapters.vectors.export.manifest import (
    SCHEMA,
    About,
    file_facts,
    leftovers,
    listed_facts,
    manifest,
    manifest_path,
    write_manifest,
)
from groundlook_adapters.vectors.export.write import Written

ABOUT = About("1.2", "gpkg", "2026-01-02T03:04:05+00:00", 7, "Fields", "http://me:secret@studio:8080/ls", ("a", "b"))


def test_a_login_in_the_address_stays_at_home() -> None:
    body = manifest(ABOUT, [])
    assert body["project"]["url"] == "http://studio:8080/ls"
    assert "secret" not in json.dumps(body)
    assert body["licence"] is None


def test_facts_are_those_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "labels.gpkg"
    path.write_bytes(b"abc")
    facts = file_facts(tmp_path, path, [Written(path, "regions", "EPSG:3031", 2), Written(tmp_path / "x", "y", "", 1)])
    assert facts["sha256"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (facts["name"], facts["bytes"]) == ("labels.gpkg", 3)
    assert facts["layers"] == [{"name": "regions", "crs": "EPSG:3031", "features": 2}]
    (tmp_path / "SUMS").write_text(f"{facts['sha256']}  labels.gpkg\n")
    assert [f["name"] for f in listed_facts(tmp_path, tmp_path / "SUMS")] == ["labels.gpkg", "SUMS"]


def test_it_lies_in_a_folder_or_beside_a_file(tmp_path: Path) -> None:
    assert manifest_path(tmp_path / "labels.gpkg", is_folder=False).name == "labels.gpkg.manifest.json"
    assert manifest_path(tmp_path / "coco", is_folder=True) == tmp_path / "coco" / "manifest.json"


def test_a_manifest_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.json", {"a": 1})
    (tmp_path / "taken").mkdir()
    with pytest.raises(InvalidInput, match=r"the data is written, but .*taken is not"):
        write_manifest(tmp_path / "taken", {"a": 1})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.json", "taken"]


@pytest.mark.parametrize("name", ["labels.points.parquet", "labels.parquet"])
def test_only_what_an_older_export_wrote_is_left_over(tmp_path: Path, name: str) -> None:
    out, listing = tmp_path / "labels.parquet", tmp_path / "m.json"
    (tmp_path / name).touch()
    write_manifest(listing, {"schema": SCHEMA, "files": [{"name": name}]})
    assert leftovers(listing, out, []) == [tmp_path / name]
    assert leftovers(listing, out, [tmp_path / name]) == []


@pytest.mark.parametrize("name", ["../x.parquet", "/etc/passwd", "x.parquet", "labels.txt", "labels.d/x.parquet", 7])
def test_a_manifest_that_somebody_edited_deletes_nothing(tmp_path: Path, name: object) -> None:
    (tmp_path / "in").mkdir()
    for there in (tmp_path / "x.parquet", tmp_path / "in" / "x.parquet", tmp_path / "in" / "labels.txt"):
        there.touch()
    (tmp_path / "in" / "labels.d").mkdir()
    (tmp_path / "in" / "labels.d" / "x.parquet").touch()
    listing = tmp_path / "in" / "m.json"
    write_manifest(listing, {"schema": SCHEMA, "files": [{"name": name}]})
    assert leftovers(listing, tmp_path / "in" / "labels.parquet", []) == []
    for body in ("[]", "{", '{"schema": "other", "files": [{"name": "labels.parquet"}]}', '{"files": 3}'):
        listing.write_text(body)
        assert leftovers(listing, tmp_path / "in" / "labels.parquet", []) == []
