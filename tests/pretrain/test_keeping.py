"""Models kept along the way: where, with which figures, and the same ones however often the run is stopped."""

from __future__ import annotations

import json
import os
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import minibert
from minibert.heads import BertForPreTraining
from minibert.training.device import choose_precision
from minibert.training.processes import Processes
from minibert.windowed import WindowedSelfAttention
from pretrain.arrays.shards import open_prepared
from pretrain.evaluate import HeldOut
from pretrain.keeping import Keeping, Mark, Seen, parse_marks
from tests.helpers import refusal
from tests.pretrain.running import (
    DROPPING,
    finished,
    metrics,
    run_here,
    start,
    states,
    summary,
    weights,
    write_shape,
)
from tests.pretrain.test_resume import Cut, run_until
from tests.pretrain.test_train import started

pytestmark = pytest.mark.usefixtures("plain")

# Of a run of 20 steps with `common`: 1,000 words are reached in step 6, and 2,000 in step 12.
MARKS = "1k, 3steps,30%,2k,100%"
PLACES = {"step-00000003": ["3steps"], "step-00000006": ["1k", "30%"], "step-00000012": ["2k"],
          "step-00000020": ["100%"]}  # fmt: skip


def kept_for(run: Path) -> dict[str, list[str]]:
    return {place.name: summary(place)["kept_for"] for place in sorted((run / "kept").iterdir())}


def kept(run: Path) -> dict[str, bytes]:
    """All files of the kept models: path -> content."""
    files = (path for path in sorted((run / "kept").rglob("*")) if path.is_file())
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


# --- Marks -----------------------------------------------------------------------------------------------------------


def test_marks_are_words_shares_and_steps() -> None:
    assert parse_marks("500k, 2.5M,33.3%,1000steps", steps=None) == [
        Mark("500k", "words", 500_000), Mark("2.5M", "words", 2_500_000), Mark("33.3%", "share", 0.333),
        Mark("1000steps", "steps", 1000),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--keep-at: expected words (500k or 2.5M), a share of the run (50%) or steps (1000steps), with commas "
             "between them, not ''"),
        ("1M,", "not ''"),
        ("1M 2M", "not '1M 2M'"),
        ("1000", "not '1000'"),
        ("1m", "not '1m'"),
        ("-1M", "not '-1M'"),
        ("1e3k", "not '1e3k'"),
        ("\u0663k", "not '\u0663k'"),
        ("1.5steps", "not '1.5steps'"),
        ("9" * 400 + "M", "not '999"),
        ("1M,0.0k", "--keep-at 0.0k: must be above 0"),
        ("0%", "--keep-at 0%: must be above 0"),
        ("100.5%", "--keep-at 100.5%: must be at most 100%, the whole run"),
        ("10steps,11steps", "--keep-at 11steps: the run has only 10 steps"),
        ("1M,50%,1000k", "--keep-at: 1M and 1000k are the same mark"),
    ],
)  # fmt: skip
def test_marks_that_make_no_sense_are_refused(text: str, message: str) -> None:
    assert message in refusal(lambda: parse_marks(text, steps=10))


def test_a_mark_is_reached_once_by_the_first_step_that_comes_so_far() -> None:
    marks = parse_marks("1k,30%,3steps", steps=10)
    keeping = Keeping(Path("kept"), marks, Seen(999.9, 0.2, 2))
    assert keeping.reached(Seen(999.9, 0.3, 3)) == marks[1:]
    assert keeping.reached(Seen(1000.0, 0.4, 4)) == marks[:1]
    assert keeping.reached(Seen(5000.0, 1.0, 10)) == [] == keeping.ahead
    later = Keeping(Path("kept"), marks, Seen(None, 0.4, 2))
    assert later.ahead == [marks[0], marks[2]]


# --- A run -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept_run(arrays: Path, shape: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 20 steps, with the options of `common`, that keeps models; evaluations are due at steps 10 and 20."""
    out = tmp_path_factory.mktemp("kept") / "run"
    args = ("--data", arrays, "--model", shape, *DROPPING, "--log-every", 1, "--evaluations", 2, "--out", out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretrain.train.draw_run", lambda *_, **__: None)
        assert run_here(patch, *args, "--steps", 20, "--keep-at", MARKS) == 0
    return out


def test_kept_models_are_whole_and_have_their_figures(kept_run: Path, arrays: Path) -> None:
    assert kept_for(kept_run) == PLACES
    corpus, cpu = open_prepared(arrays), torch.device("cpu")
    heldout = HeldOut(corpus, seq_len=32, objective="nsp")
    logged = {line["step"]: line for line in metrics(kept_run) if "tokens" in line}
    measured = {line["step"]: line for line in metrics(kept_run) if "heldout_mlm_loss" in line}
    for place in (kept_run / "kept").iterdir():
        model, _ = minibert.load(place)
        assert isinstance(model, BertForPreTraining) and model.config.hidden_dropout_prob == 0.1
        figures = summary(place)
        assert list(figures) == [
            "step", "kept_for", "tokens", "words", "passes", "parameters", "vocab_size", "mlm_loss",
            "mlm_loss_per_byte", "mlm_accuracy", "nsp_accuracy", "nsp_loss", "unigram_loss", "seed", "dtype",
        ]  # fmt: skip
        again = heldout.figures(model, device=cpu, precision=choose_precision("float32", cpu), processes=Processes())
        assert again.named() == pytest.approx({name: figures[name] for name in again.named()}, abs=1e-6)
        step = int(place.name.removeprefix("step-"))
        assert figures["step"] == step and figures["mlm_loss"] == measured[step]["heldout_mlm_loss"]
        assert figures["tokens"] == logged[step]["tokens"]
    assert sorted(measured) == [3, 6, 10, 12, 20]  # the one at the end serves both
    assert (kept_run / "kept" / "step-00000020" / "model.safetensors").read_bytes() == weights(kept_run)


def test_words_seen_are_the_texts_share_of_its_own(kept_run: Path, arrays: Path) -> None:
    text, figures = open_prepared(arrays).manifest.train, summary(kept_run)
    assert text.words is not None
    of_text = figures["tokens"] - 20 * 8 * 3  # without [CLS], [SEP] and [SEP]
    assert figures["words"] == round(of_text * text.words / text.tokens)
    assert figures["passes"] == of_text / text.tokens
    assert [line["words"] for line in metrics(kept_run) if "words" in line][-1] == figures["words"]
    first = summary(kept_run / "kept" / "step-00000006")
    assert 1000 <= first["words"] < 1200


@pytest.mark.parametrize("objective", ["nsp", "sop", "none"])
def test_special_tokens_are_not_of_the_text(arrays: Path, shape: Path, tmp_path: Path, objective: str) -> None:
    run = started(arrays, shape, tmp_path / "run", "--steps", 9, "--pair-objective", objective)
    (batch,) = run.next_batches()
    run.batches.close()
    run.progress.tokens, run.progress.step = batch.tokens, 1
    first = np.concatenate(list(islice(run.plan.epoch(0), 1)))[:8]
    assert run.text_tokens == first["a_length"].sum() + first["b_length"].sum()


def test_keeping_changes_nothing_in_the_result(
    kept_run: Path, common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_here(monkeypatch, *common, "--steps", 20, "--out", tmp_path / "without") == 0
    assert weights(tmp_path / "without") == weights(kept_run)
    assert (tmp_path / "without" / "config.json").read_bytes() == (kept_run / "config.json").read_bytes()
    assert not (tmp_path / "without" / "kept").exists()


def test_a_kept_longformer_has_projections_for_global_tokens_and_the_same_result(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write_shape(tmp_path / "own.json", attention_window=[4, 8], positions_skip_padding=True)
    common = (*common, "--model", own, "--no-nsp", "--steps", 4)
    assert run_here(monkeypatch, *common, "--out", tmp_path / "without") == 0
    assert run_here(monkeypatch, *common, "--keep-at", "50%", "--out", tmp_path / "run") == 0
    assert weights(tmp_path / "without") == weights(tmp_path / "run")
    for block in minibert.load(tmp_path / "run" / "kept" / "step-00000002")[0].encoder.blocks:
        assert isinstance(block.attention, WindowedSelfAttention)
        assert torch.equal(block.attention.global_query_key_value.weight, block.attention.query_key_value.weight)


def test_a_mark_that_the_run_does_not_reach_is_named(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(monkeypatch, *common, "--steps", 2, "--keep-at", "1M,100%", "--out", tmp_path / "run") == 0
    assert "--keep-at 1M: not reached, so not kept\n" in capsys.readouterr().out
    assert kept_for(tmp_path / "run") == {"step-00000002": ["100%"]}


def test_arrays_that_count_no_words_are_refused_where_words_are_needed(
    arrays: Path, shape: Path, tmp_path: Path, refused: Any
) -> None:
    older = tmp_path / "arrays"
    older.mkdir()
    for path in arrays.iterdir():
        (older / path.name).symlink_to(path)
    manifest = json.loads((arrays / "manifest.json").read_text())
    del manifest["train"]["words"]
    (older / "manifest.json").unlink()
    (older / "manifest.json").write_text(json.dumps(manifest))
    args = ("--data", older, "--model", shape, "--seq-len", 32, "--steps", 2, "--out", tmp_path / "run")
    message = refused(*args, "--keep-at", "50%,1k")
    assert message.startswith(f"{older} was made by an older version, which did not count the words that --keep-at 1k")
    assert "needs; prepare the text again, or give" in message


# --- Stopped and resumed ---------------------------------------------------------------------------------------------


def test_a_run_cut_off_keeps_the_same_models(
    kept_run: Path, common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = tmp_path / "run"
    args = (*common, "--steps", 20, "--save-every", 5, "--keep-at", MARKS, "--out", run, "--resume")
    for step, names in ((4, ["step-00000003"]), (9, ["step-00000003", "step-00000006"])):
        assert run_until(step, *args) == -9
        assert sorted(kept_for(run)) == names
    (run / "kept" / f".step-00000006.{os.getpid()}.partial").mkdir()
    capsys.readouterr()
    assert run_until(13, *args, kill=False) == 130
    assert f"{run / 'kept'}: removed step-00000006: the run resumes at an earlier step\n" in capsys.readouterr().out
    assert states(run)[-1] == "step-00000014" and sorted(kept_for(run))[-1] == "step-00000012"
    assert run_here(monkeypatch, *args) == 0
    assert kept_for(run) == PLACES
    assert kept(run) == kept(kept_run)
    assert weights(run) == weights(kept_run)


@pytest.mark.parametrize("after", [False, True])
def test_a_run_cut_off_at_the_very_end_keeps_its_last_model(
    kept_run: Path, common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """Before the last model is kept, and after the state that follows it."""
    run = tmp_path / "run"
    args = (*common, "--steps", 20, "--save-every", 6, "--keep-at", MARKS, "--out", run)
    with pytest.MonkeyPatch.context() as patch:
        if after:
            patch.setattr("pretrain.train.Pretraining.finish", lambda *_: (_ for _ in ()).throw(Cut))
        else:
            original = Path.rename

            def cut(path: Path, target: Path) -> Path:
                if target.name == "step-00000020":
                    raise Cut
                return original(path, target)

            patch.setattr(Path, "rename", cut)
        with pytest.raises(Cut):
            run_here(patch, *args)
    assert states(run)[-1] == ("step-00000020" if after else "step-00000018")
    assert ("step-00000020" in kept_for(run)) == after
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert kept(run) == kept(kept_run)


def test_a_run_in_minutes_that_is_cut_off_keeps_each_model_once(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step counts as an eighth of a second."""
    monkeypatch.setattr(Processes, "agree", lambda _, *, seconds, stop: (0.125, stop))
    args = (*common, "--minutes", 0.025, "--save-every", 4, "--keep-at", "20%,5steps,100%", "--out", tmp_path / "run")
    assert run_until(6, *args) == -9
    assert kept_for(tmp_path / "run") == {"step-00000003": ["20%"], "step-00000005": ["5steps"]}
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert kept_for(tmp_path / "run") == {
        "step-00000003": ["20%"], "step-00000005": ["5steps"], "step-00000012": ["100%"],
    }  # fmt: skip


def test_a_resume_keeps_to_the_marks_of_its_run(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = (*common, "--steps", 8, "--save-every", 4, "--out", tmp_path / "run")
    assert run_until(6, *args, "--keep-at", "2steps,5steps") == -9
    capsys.readouterr()
    assert run_here(monkeypatch, *args, "--resume", "--keep-at", "3steps") == 2
    assert "keep_at is '3steps', was '2steps,5steps'" in capsys.readouterr().err
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert kept_for(tmp_path / "run") == {"step-00000002": ["2steps"], "step-00000005": ["5steps"]}


def test_a_full_disk_stops_the_run_and_leaves_no_half_model(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    args = (*common, "--steps", 6, "--save-every", 2, "--keep-at", "3steps", "--out", run)

    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert run_here(patch, *args) == 3
    assert capsys.readouterr().err == (
        f"error: {run / 'kept' / 'step-00000003'} could not be written (No space left on device); last good state: "
        f"{run / 'state' / 'step-00000002'}\n"
    )
    assert not (run / "kept").exists()
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert kept_for(run) == {"step-00000003": ["3steps"]}


@pytest.mark.slow
def test_two_processes_keep_one_model_a_mark(common: tuple[object, ...], tmp_path: Path) -> None:
    out, _ = finished(start(*common, "--steps", 6, "--keep-at", "50%,100%", "--out", tmp_path / "run", processes=2))
    assert out.count("kept     ") == 2
    assert kept_for(tmp_path / "run") == {"step-00000003": ["50%"], "step-00000006": ["100%"]}
    assert summary(tmp_path / "run")["mlm_loss"] == summary(tmp_path / "run" / "kept" / "step-00000006")["mlm_loss"]
