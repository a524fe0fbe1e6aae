"""The page stands alone, says what is known, and shows no text as markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from edgevit.core.parity import Verdict
from edgevit.core.report import wilson_interval
from edgevit.reports.page import render_html

VOID = {"meta", "img", "br", "circle", "path", "polyline", "link", "input", "hr"}
LOADING = {"src", "href", "data", "poster", "srcset", "action"}


class Reader(HTMLParser):
    """Tags in balance, addresses and texts of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.addresses += [value or "" for name, value in attrs if name in LOADING]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_tags_are_balanced_and_the_page_is_marked_as_html(full_report, bare_report):
    for report in (full_report, bare_report):
        page = render_html(report)
        found = Reader(page)
        assert found.stack == []
        assert page.startswith("<!doctype html>")
        assert 'name="viewport"' in page


def test_nothing_is_loaded_and_nothing_runs(full_report):
    page = render_html(full_report)
    found = Reader(page)
    assert "script" not in found.tags
    assert "link" not in found.tags
    assert all(address.startswith(("#", "data:image/")) for address in found.addresses)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not re.search(r"https?:|@import|url\(", page)


def test_links_lead_to_files_on_the_page(full_report):
    found = Reader(render_html(full_report))
    targets = [address[1:] for address in found.addresses if address.startswith("#")]
    assert targets == ["file1", "file2", "file3"]
    assert set(targets) <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


@pytest.mark.parametrize(
    "text",
    [
        "46.90 MB",
        "84.25 %",
        "83.5 to 85.0, 10,000 images",  # Wilson
        "99.80 %",
        "0.84 ms",
        "42 %",
        "0.65 MB",
        "net/layer0",
        "net/last",
        "4 more",
        "2 steps from Keras",
        "cat, attention",
        "float Keras",
        "A CPU",
        "edgevit benchmark exports/*.onnx",
        "foreign.json",
        "The machine is too noisy.",
    ],
)
def test_what_is_known_is_on_the_page(full_report, text):
    assert text in Reader(render_html(full_report)).text


def test_the_page_without_evidence_claims_nothing(bare_report):
    text = Reader(render_html(bare_report)).text
    assert "no manifest" in text
    assert "svg" not in Reader(render_html(bare_report)).tags
    for claim in ("pass", "Top-1", "Latency", "Arena", "Roofline", "Where the network looks"):
        assert claim not in text


def test_a_damaged_file_is_said_to_be_damaged_first(full_report):
    broken = replace(full_report.files[0], damage="bytes changed since", parity=())
    report = replace(full_report, files=(*full_report.files[1:], broken))
    assert report.verdict is Verdict.FAIL
    text = Reader(render_html(report)).text
    assert "Bytes changed since. Export it again" in text
    assert text.index("1 damaged") < text.index("2 pass")


def test_a_failed_parity_is_a_failure_and_no_parity_is_none(full_report):
    file = full_report.files[0]
    run = file.parity[0]
    broken = replace(run, outputs=(replace(run.outputs[0], max_abs=float("nan")),))
    bad = replace(file, parity=(broken,))
    unknown = replace(file, parity=())
    assert bad.verdict is Verdict.FAIL
    assert unknown.verdict is Verdict.NOT_RUN
    text = Reader(render_html(replace(full_report, files=(bad, unknown)))).text
    assert "1 fail" in text
    assert "1 intact" in text
    assert "1 pass" not in text


def test_a_lossy_file_is_neither_passed_nor_failed(full_report):
    (file,) = [file for file in full_report.files if file.manifest.target == "tflite-int8"]
    run = file.parity[0]
    costly = replace(run, outputs=(replace(run.outputs[0], relative=0.9),))
    lossy = replace(file, parity=(costly,))
    assert lossy.verdict is Verdict.LOSSY
    text = Reader(render_html(replace(full_report, files=(lossy,)))).text
    assert "1 lossy" in text
    assert "1 pass" not in text


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "a & b"]
)
def test_no_text_becomes_markup(hostile, text):
    found = Reader(render_html(hostile(text)))
    assert found.stack == []
    assert "script" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert found.text.count(text) >= 10


def test_two_files_of_one_target_are_told_apart(full_report):
    twin = replace(full_report.files[0], name="vit-tflite-float32.tflite")
    report = replace(full_report, files=(*full_report.files, twin))
    assert report.labels["vit-tflite-float32.tflite"] == "vit-tflite-float32.tflite"
    assert report.labels["shiftvit-tflite-int8.tflite"] == "tflite-int8"


def test_wilsons_interval_is_that_of_scipy():
    low, high = wilson_interval(0.1, 100)
    assert (round(low, 4), round(high, 4)) == (0.0552, 0.1744)
    assert wilson_interval(0.0, 50)[0] == 0
    assert wilson_interval(1.0, 50)[1] == pytest.approx(1)
    from scipy.stats import binomtest

    found = binomtest(8425, 10000).proportion_ci(method="wilson")
    assert wilson_interval(0.8425, 10000) == pytest.approx((found.low, found.high), abs=1e-6)
