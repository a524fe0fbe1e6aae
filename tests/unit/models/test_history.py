"""What is known of the training behind weights, and which images none of it has seen."""

from __future__ import annotations

import json

import pytest

from edgevit.base.errors import ModelFileError
from edgevit.models.history import (
    describe_origin,
    read_run,
    runs_behind,
    share_unseen,
    tell_once,
)


def run_of(held_out: float | None, data: str = "a.npz", **before) -> dict:
    recipe = {} if held_out is None else {"held_out": held_out}
    return {"recipe": recipe, "data": data, **before}


def test_nothing_is_known_where_no_run_left_a_file(tmp_path):
    assert read_run(tmp_path) is None
    assert share_unseen([None], "a.npz", 0.3) == 0.3


def test_an_origin_tells_the_file_its_digest_and_its_run(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"abc")
    (tmp_path / "recipe.json").write_text(json.dumps(run_of(0.1)))
    assert describe_origin(tmp_path / "weights.safetensors") == {
        "file": "weights.safetensors",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "run": run_of(0.1),
    }


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"recipe": "nano"}',
        '{"recipe": {"held_out": "a fifth"}}',
        '{"recipe": {"held_out": null}}',
        '{"initial": {"run": {"recipe": {"held_out": "a fifth"}}}}',
        '{"teachers": [{"run": null}, {"run": {"initial": {"run": [1]}}}]}',
        '{"teachers": {"run": null}}',
        '{"teachers": ["shiftvit"]}',
        '{"initial": "weights.safetensors"}',
        b"\xff",
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(text, tmp_path):
    file = tmp_path / "recipe.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelFileError, match=r"recipe\.json.*or remove it"):
        read_run(tmp_path)


def test_runs_behind_are_those_of_initial_weights_and_of_teachers_and_theirs():
    first, second, teacher, silent = (run_of(share) for share in (0.4, 0.3, 0.2, 0.1))
    teacher["teachers"] = [{"run": silent}]
    second |= {"initial": {"run": first}, "teachers": [{"run": teacher}, {"run": None}]}
    last = run_of(0.5, initial={"run": second})
    assert list(runs_behind(last)) == [last, second, first, teacher, silent]


def test_the_least_share_of_all_runs_on_this_dataset_is_unseen():
    other = run_of(0.01, data="b.npz")
    assert share_unseen([other], "a.npz", 0.2) == 0.2
    assert share_unseen([other, run_of(0.1)], "a.npz", 0.2) == 0.1
    assert share_unseen([run_of(0.1, initial={"run": run_of(0.05)})], "a.npz", 0.2) == 0.05
    taught = run_of(0.1, teachers=[{"run": run_of(0.15)}, {"run": run_of(0.02)}])
    assert share_unseen([taught], "a.npz", 0.2) == 0.02
    assert share_unseen([run_of(0.3)], "a.npz", 0.2) == 0.2


def test_a_run_that_does_not_say_held_out_a_fifth():
    assert share_unseen([run_of(None)], "a.npz", 0.5) == 0.2


def test_what_is_behind_the_same_weights_is_told_once():
    def origin(sha256: str, run: dict | None) -> dict:
        return {"sha256": sha256, "run": run}

    old = run_of(0.4)
    middle = run_of(0.3, initial=origin("old", old), teachers=[origin("other", None)])
    teachers = [origin("middle", middle), origin("old", old), origin("other", run_of(0.1))]
    last = run_of(0.2, initial=origin("middle", middle), teachers=teachers)
    before = json.dumps(last)
    told = tell_once(last)
    assert json.dumps(last) == before
    assert told["initial"] == last["initial"]  # the first mention, whole
    assert told["teachers"] == [{"sha256": "middle"}, {"sha256": "old"}, teachers[2]]
    assert list(runs_behind(told)) == [
        last | {"teachers": told["teachers"]},
        middle,
        old,
        run_of(0.1),
    ]
    assert tell_once(told) == told
    assert share_unseen([told], "a.npz", 0.5) == share_unseen([last], "a.npz", 0.5) == 0.1
