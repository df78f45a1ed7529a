"""The evaluation on tiny runs: what is asked, kept and reused, the rows, the page, and the mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import evaluate
import pytest
from attrs import evolve

from astraea.errors import UsageError
from astraea.simulator.sustain import Sustained
from astraea.simulator.verdict import SeedVerdict
from evaluation import running
from evaluation.cells import Answer, Cell, Point, key_of
from evaluation.contenders import FAVOURED, ORACLES, OWN, RIVALS
from evaluation.grid import SECTIONS, Choice, Grid
from evaluation.losses import losses
from evaluation.results import TAIL, Results
from evaluation.running import Store, answers
from evaluation.sections import bounds, noise, parts, sustained_section
from evaluation.targets import Finding, findings, place
from evaluation.works import settings_of

TINY = ["--works", "bfcl", "--jobs-limit", "8", "--workers", "1", "--seeds", "2"]
ROW_KEYS = {
    "workload", "engine", "host_kv", "load", "policy", "mean_jct_s", "p99_jct_s", "ratio_to_best_rival",
    "worst_bypass", "bypass_bound",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTRAEA_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def cell():
    setting = settings_of(None, 8, ["bfcl"])["bfcl"]
    return Cell(point=Point(setting=setting, load=1.1), policy="astraea", seed=0)


def answer(mean_s, tail_s, *, slowdowns=(1.0, 3.0), bypass=(0, 10)):
    figures = dict.fromkeys(
        ("p50_jct_s", "p95_jct_s", "max_slowdown", "p99_slowdown", "mean_queue_s", "recomputed_share",
         "swapped_tokens", "preemptions", "throughput_jobs_per_s", "decide_us_p50", "decide_us_p99"), 0
    )  # fmt: skip
    verdict = SeedVerdict(
        seed=0, jobs=2, mean_jct_s=mean_s, p99_jct_s=tail_s, worst_bypass=bypass[0], bypass_bound=bypass[1], digest="",
        **figures,
    )  # fmt: skip
    return Answer(verdict=verdict, jct_s=(mean_s, tail_s), slowdowns=slowdowns, wall_s=0.0)


def everywhere(settings):
    return dict.fromkeys(SECTIONS, settings)


def test_a_run_that_is_kept_is_not_made_again_and_a_broken_file_is(tmp_path, cell, monkeypatch):
    store = Store(tmp_path / "kept")
    first = answers([cell, cell], store, workers=1)
    assert store.known(cell) == first[cell]
    monkeypatch.setattr(running, "answer", lambda *_: pytest.fail("it was made again"))
    assert answers([cell], store, workers=1) == first
    (file,) = (file for file in store.folder.iterdir() if key_of(cell) in file.name)
    monkeypatch.undo()
    file.write_text(file.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert store.known(cell) is None
    assert answers([cell], store, workers=1, is_made=False) == {}
    again = answers([cell], store, workers=1)[cell]
    assert again.verdict.digest == first[cell].verdict.digest


def test_two_processes_give_what_one_gives(tmp_path, cell):
    cells = [evolve(cell, seed=seed, policy=policy) for seed in (0, 1) for policy in ("fcfs", "astraea")]
    one, two = (answers(cells, Store(tmp_path / str(workers)), workers=workers) for workers in (1, 2))
    assert [one[cell].jct_s for cell in cells] == [two[cell].jct_s for cell in cells]


def test_the_name_of_a_run_changes_with_whatever_its_answer_depends_on(tmp_path, cell):
    point, setting = cell.point, cell.point.setting
    others = [
        evolve(cell, seed=1),
        evolve(cell, policy="fcfs"),
        evolve(cell, policy="astraea-no-class"),
        evolve(cell, point=evolve(point, load=1.0)),
        evolve(cell, point=evolve(point, setting=setting.with_host(1.0))),
        evolve(cell, point=evolve(point, setting=evolve(setting, tail=2.0))),
        evolve(cell, point=evolve(point, setting=evolve(setting, engine_changes=(("block_tokens", 32),)))),
        evolve(cell, point=evolve(point, setting=settings_of(None, 16, ["bfcl"])["bfcl"])),
    ]
    assert len({key_of(other) for other in [cell, *others]}) == len(others) + 1
    assert key_of(evolve(cell)) == key_of(cell)


def test_the_name_of_a_run_of_a_trace_is_by_the_content_and_not_by_the_place(tmp_path):
    turn = {"new_prompt_tokens": 9, "context_tokens": 9, "output_tokens": 2, "tool": None, "tool_s": None}
    names = []
    for folder, output in (("a", 2), ("b", 2), ("c", 3)):
        job = {"job_id": "j", "source": "s", "arrival_s": None, "turns": [{**turn, "output_tokens": output}]}
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.jsonl").write_text(json.dumps(job) + "\n", encoding="utf-8")
        setting = settings_of(tmp_path / folder, None, ["own.jsonl"])["own.jsonl"]
        names.append(key_of(Cell(point=Point(setting=setting, load=0.5), policy="fcfs", seed=0)))
    assert names[0] == names[1] != names[2]


def test_everybody_is_a_rival_but_the_marks_and_what_runs_on_our_own_memory_rules():
    assert set(OWN) == {"astraea", "hrrn-turn", "job-fcfs-kept"}
    assert {"fcfs", "astraea-paper", "mars", "infercept", "continuum", "thunderagent", "plas", "mlfq"} <= set(RIVALS)
    assert not set(RIVALS) & {*OWN, *ORACLES}
    assert set(FAVOURED) == {"astraea-paper", "mars"}


def test_ratios_are_means_over_the_seeds_and_the_best_rival_is_the_hardest(cell):
    point = cell.point
    runs = {
        "astraea": [answer(10, 40), answer(30, 60)],
        "fcfs": [answer(20, 20), answer(20, 30)],
        "infercept": [answer(40, 80), answer(24, 80)],
        "srpt-oracle": [answer(1, 1), answer(1, 1)],
        "hrrn-turn": [answer(1, 1), answer(1, 1)],
        "mars": [answer(1, 1)],
    }
    results = Results(
        {
            Cell(point=point, policy=name, seed=seed): own
            for name, seeds in runs.items()
            for seed, own in enumerate(seeds)
        },
        2,
    )
    assert results.ratio(point, "astraea", "fcfs") == (10 / 20 + 30 / 20) / 2
    assert results.ratio(point, "astraea", "mars") is None, "a policy counts once all of its seeds are there"
    best = results.best_rival(point, "astraea")
    assert (best.rival, best.ratio) == ("fcfs", 1.0)
    assert results.best_rival(point, "astraea", TAIL).ratio == (40 / 20 + 60 / 30) / 2
    assert results.fairness(point, "fcfs") == pytest.approx((1 + 3) ** 2 / (2 * (1 + 9)))


def test_the_page_says_first_where_rivals_are_better(cell):
    choice = Choice(settings=everywhere({"bfcl": cell.point.setting}), loads=(1.1,), seeds=1, sections=("loads",))
    runs = {"astraea": answer(30, 40, bypass=(11, 10)), "fcfs": answer(20, 50), "infercept": answer(60, 30)}
    grid = Grid(choice)
    (point,) = grid.loads
    results = Results({Cell(point=point, policy=name, seed=0): own for name, own in runs.items()}, 1)
    found = findings(results, grid, {})
    lines = losses(results, grid, found)
    assert "At 1 of 1 points some published rival has the lower mean JCT, at 1 of them by more than 1 %" in lines[2]
    text = "\n".join(lines)
    assert "| bfcl at 1.1, 8 jobs | fcfs | 20.0 | 30.0 | 1.500 |" in text
    assert "| bfcl at 1.1, 8 jobs | infercept | 30.0 | 40.0 | 1.333 |" in text
    missed = {finding.target for finding in found if not finding.met}
    assert "worst bypass over the bound" in missed
    assert "load 0.8 and above: no published rival has a lower mean JCT" in missed


def made_up(grid, runs):
    """Return results in which each policy has the same mean at every place where parts are taken out."""
    cells = {
        Cell(point=point, policy=name, seed=0): answer(mean_s, 2 * mean_s)
        for point in [*grid.parts, *grid.targets, *grid.bounds]
        for name, mean_s in runs.items()
    }
    return Results(cells, 1)


@pytest.mark.parametrize(
    ("shuffled_s", "sentence"),
    [
        (10.1, "is nowhere more than 2% higher: **the gain stays, so the class is not its cause.**"),
        (13.0, "rises by more than 2% at 2 of 2 points and falls by as much at 0"),
        (9.0, "The largest change is a ratio of 0.900"),
    ],
)
def test_the_control_says_whether_the_class_is_the_cause(cell, shuffled_s, sentence):
    grid = Grid(Choice(settings=everywhere({"bfcl": cell.point.setting}), seeds=1))
    results = made_up(grid, {"astraea": 10.0, "astraea-shuffled-class": shuffled_s, "astraea-no-guard": 12.5})
    text = "\n".join(parts(results, grid))
    assert sentence in text
    assert "| guard: no bound on bypassing | 1.250 | 1.250 |" in text
    assert "| no guard | 1.250 / 1.250 | 1.250 / 1.250 |" in bounds(results, grid.bounds)


def test_noise_is_set_against_the_undisturbed_policy_and_the_best_rival(cell):
    grid = Grid(Choice(settings=everywhere({"bfcl": cell.point.setting}), seeds=1))
    results = made_up(grid, {"astraea": 10.0, "astraea-noise-4": 15.0, "mars": 20.0, "fcfs": 40.0})
    rows = noise(results, grid.noisy)
    assert any(row.endswith("| 1.500 / 0.750 |") for row in rows)
    assert any(row.endswith("| 1.000 / 0.500 |") for row in rows)


def test_a_sustained_rate_is_judged_against_that_of_fcfs(cell):
    setting = cell.point.setting
    found = {
        (setting, name): Sustained(
            policy=name, rate_jobs_per_s=load, load=load, mean_slowdown=2.0, is_highest_tried=False, probes=()
        )
        for name, load in (("fcfs", 0.5), ("astraea", 0.6))
    }
    assert "| astraea | 0.6 (1.20) |" in sustained_section(found)
    grid = Grid(Choice(settings=everywhere({"bfcl": setting}), seeds=1))
    (finding,) = findings(Results({}, 1), grid, found)
    assert (finding.value, finding.bound, finding.met) == (pytest.approx(1.2), 1.3, False)


@pytest.mark.parametrize(
    ("value", "bound", "is_least", "met"),
    [(1.0004, 1.0, False, True), (1.0006, 1.0, False, False), (1.31, 1.3, True, True), (1.29, 1.3, True, False)],
)
def test_a_target_is_judged_at_three_decimals(value, bound, is_least, met):
    finding = Finding(target="t", where="w", value=value, bound=bound, is_least=is_least)
    assert finding.met is met
    assert (finding.slack <= 1.0005) is met


def test_no_run_is_in_the_grid_twice_and_each_section_adds_its_own():
    settings = settings_of(None, 8)
    whole = Grid(Choice(settings=everywhere(settings), seeds=2)).cells()
    assert len(whole) == len(set(whole))
    parts = [
        set(Grid(Choice(settings=everywhere(settings), seeds=2, sections=(name,))).cells())
        for name in ("loads", "hosts", "bounds", "ablation", "noise", "sensitivity")
    ]
    assert set().union(*parts) == set(whole)
    assert all(parts)
    assert not Grid(Choice(settings=everywhere(settings), sections=("left-out", "sustained"))).cells(), (
        "there is no trace here"
    )


def test_a_section_may_have_more_jobs_than_the_rest_and_its_places_are_told_apart():
    options = evaluate.parsed(
        ["--works", "bfcl,swebench", "--jobs-limit", "60", "--limit-of", "targets=300,bounds=300"]
    )
    grid = Grid(evaluate.chosen(options))
    jobs = {name: {point.setting.scenario.jobs for point in getattr(grid, name)} for name in (
        "targets", "noisy", "loads", "hosts", "bounds", "parts")}  # fmt: skip
    assert jobs == {"targets": {300}, "noisy": {300}, "loads": {60}, "hosts": {60}, "bounds": {300}, "parts": {60}}
    assert [point.setting.work for point in grid.targets] == ["swebench"] * 2 + ["bfcl"] * 2
    assert "for targets and bounds and left-out and noise and sustained: 300 of bfcl, 300 of swebench" in grid.sizes()
    assert len({place(point) for point in grid.judged}) == len(grid.judged)


def test_json_is_rows_of_the_promised_figures(tmp_path, capsys):
    arguments = [*TINY, "--sections", "loads", "--loads", "0.8,1.1", "--policies", "astraea,fcfs,srpt-oracle"]
    assert evaluate.main([*arguments, "--out", str(tmp_path / "out"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 2 * 3
    assert all(set(row) == ROW_KEYS for row in rows)
    fcfs = next(row for row in rows if row["policy"] == "fcfs")
    assert (fcfs["ratio_to_best_rival"], fcfs["bypass_bound"], fcfs["engine"]) == (1.0, None, "llama-8b-h100")
    assert evaluate.main([*arguments, "--out", str(tmp_path / "out"), "--count"]) == 0
    assert capsys.readouterr().out == "12 runs, 12 of them known\n"


def test_quick_is_one_seed_of_three_workloads_at_two_loads(tmp_path, capsys):
    assert evaluate.main(["--quick", "--count", "--out", str(tmp_path)]) == 0
    runs = 3 * 2 * len({*OWN, *RIVALS, *ORACLES})
    assert capsys.readouterr().out == f"{runs} runs, 0 of them known\n"


def test_the_whole_page_is_written_with_its_pictures(tmp_path, capsys):
    page = tmp_path / "docs" / "evaluation.md"
    page.parent.mkdir()
    arguments = ["--works", "bfcl", "--jobs-limit", "6", "--workers", "1", "--seeds", "1", "--hosts", "1"]
    arguments += [
        "--policies",
        "astraea,fcfs,infercept,srpt-oracle",
        "--loads",
        "0.95,1.1",
        "--out",
        str(tmp_path / "out"),
    ]
    sections = "targets,loads,hosts,bounds,ablation,left-out,noise,sensitivity"
    assert evaluate.main([*arguments, "--sections", sections, "--write", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert f"python benchmarks/evaluate.py {arguments[0]} bfcl" in text
    assert text.index("## Where Astraea is behind") < text.index("## The targets") < text.index("## Against load")
    assert "With shuffled classes the mean JCT" in text
    shown = {line.split("(")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")}
    assert len(shown) == 5
    assert all((page.parent / name).stat().st_size > 5_000 for name in shown)
    assert not re.search(r"\| *(None|nan)\b", text)


def test_the_command_on_the_page_names_no_folder_of_this_machine():
    given = [
        "--traces",
        "/some/where",
        "--seeds",
        "2",
        "--out",
        "/else",
        "--known",
        "--workers",
        "3",
        "--write",
        "docs/e.md",
    ]
    assert evaluate.command_of(given) == "python benchmarks/evaluate.py --traces DIR --seeds 2 --write docs/e.md"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--works", "nothing"], "unknown work 'nothing'"),
        (["--policies", "fcsf"], "did you mean 'fcfs'"),
        (["--sections", "lods"], "did you mean 'loads'"),
        (["--traces", "/nowhere"], "no such folder"),
        (["--jobs-limit", "0"], "at least 1"),
    ],
)
def test_mistakes_end_with_a_sentence_and_code_2(tmp_path, capsys, arguments, complaint):
    assert evaluate.main([*arguments, "--out", str(tmp_path), "--count"]) == 2
    assert complaint in capsys.readouterr().err


def test_a_folder_without_traces_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"no \.jsonl file"):
        settings_of(Path(tmp_path), None)
