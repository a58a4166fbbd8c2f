"""The bill of materials, the page of licences, and what is said of advisories."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component

from supply_chain import licences, pins, sbom
from supply_chain.audit import FINE, KNOWN, UNKNOWN, verdict

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def bom() -> Bom:
    if not sys.version.startswith(pins.PYTHON):
        pytest.skip(f"the image has Python {pins.PYTHON}, and so other packages")
    return sbom.inventory()


@pytest.fixture(scope="module")
def content(bom: Bom) -> dict[str, Any]:
    return dict(json.loads(sbom.render(bom)))


def test_the_bill_has_the_image_s_packages_with_hashes_and_licences(
    content: dict[str, Any],
) -> None:
    wanted = pins.read(pins.IMAGE)
    listed = {each["name"].lower().replace("_", "-"): each for each in content["components"]}
    assert {name: each["version"] for name, each in listed.items()} == {
        name: version for name, (version, _) in wanted.items()
    }
    for name, (version, digests) in wanted.items():
        each = listed[name]
        (wheels,) = [
            ref for ref in each["externalReferences"] if "wheels" in ref.get("comment", "")
        ]
        assert sorted(found["content"] for found in wheels["hashes"]) == sorted(digests)
        assert each["purl"] == f"pkg:pypi/{name}@{version}"
    without = {name for name, each in listed.items() if not each.get("licenses")}
    assert without == set(licences.IN_WORDS)


def test_the_bill_names_the_product_and_what_it_needs(content: dict[str, Any]) -> None:
    product = content["metadata"]["component"]
    assert (product["name"], product["licenses"][0]["license"]["id"]) == (
        "dpp-feedback",
        "Apache-2.0",
    )
    (needs,) = [d["dependsOn"] for d in content["dependencies"] if d["ref"] == product["bom-ref"]]
    assert any(ref.startswith("psycopg==") for ref in needs)
    assert not any(ref.startswith("pytest") for ref in needs)


def test_the_bill_is_valid_by_the_schema_and_the_same_each_time(bom: Bom) -> None:
    text = sbom.render(bom)
    assert sbom.validated(text) == text
    assert sbom.render(sbom.inventory()) == text


def test_a_bill_that_is_not_valid_is_refused() -> None:
    text = sbom.render(Bom(components=[Component(name="yarl", version="1.25.1")]))
    with pytest.raises(ValueError, match=r"Not CycloneDX 1\.6"):
        sbom.validated(text.replace('"type": "library"', '"type": "rumour"'))


def test_a_bill_of_other_versions_than_the_image_s_is_refused(
    bom: Bom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sbom, "_environment", lambda: Bom(components=bom.components))
    other = tmp_path / "image.txt"
    monkeypatch.setattr(pins, "IMAGE", other)
    digest = "0" * 64
    other.write_text(f"yarl==0.1 \\\n    --hash=sha256:{digest}\n")
    with pytest.raises(sbom.Differs, match="yarl is installed as"):
        sbom.inventory()
    other.write_text(f"nobody-has-it==0.1 \\\n    --hash=sha256:{digest}\n")
    with pytest.raises(sbom.Differs, match="Not installed: nobody-has-it"):
        sbom.inventory()


def test_the_page_of_licences_is_that_of_the_image(bom: Bom) -> None:
    """`make licences` writes it, and fails on a licence that is neither allowed nor excepted."""
    assert licences.PAGE.read_text() == licences.page(bom)


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("GPL-3.0-only", r"a-new-one \(GPL-3.0-only\)"),
        ("MIT AND AGPL-3.0-or-later", r"a-new-one \(MIT AND AGPL-3.0-or-later\)"),
        ("(Apache-2.0 OR MIT) AND SSPL-1.0", "SSPL"),
        ("", r"a-new-one \(no licence\)"),
    ],
)
def test_a_licence_that_nobody_allowed_is_refused(licence: str, said: str) -> None:
    known = dict.fromkeys(licences.EXCEPTIONS, "LGPL-3.0-only")
    licences.check(known | {"a-new-one": "(Apache-2.0 OR MIT) AND BSD-3-Clause"})
    with pytest.raises(licences.NotAllowed, match=said):
        licences.check(known | {"a-new-one": licence})


def test_an_exception_that_is_not_needed_any_more_is_refused() -> None:
    with pytest.raises(licences.NotAllowed, match="No exception is needed any more for psycopg,"):
        licences.check({"psycopg": "MIT"})


def test_advisories_are_told_apart_from_a_service_that_does_not_answer() -> None:
    fine = {"name": "yarl", "version": "1.25.1", "vulns": []}
    known = fine | {"vulns": [{"id": "PYSEC-1", "fix_versions": ["1.25.2"], "aliases": []}]}
    skipped = {"name": "yarl", "skip_reason": "could not be audited"}
    assert verdict({"dependencies": [fine]}, 1) == (FINE, "No advisory for any of 1 packages.")
    code, said = verdict({"dependencies": [known, skipped]}, 2)
    assert (code, said) == (KNOWN, "yarl 1.25.1: PYSEC-1, repaired in 1.25.2")
    for report in (None, {"dependencies": [fine, skipped]}, {"dependencies": [fine]}):
        code, said = verdict(report, 2)
        assert code == UNKNOWN
        assert "So nothing is known" in said
