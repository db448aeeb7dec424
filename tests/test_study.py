"""Studies: read strictly, resolved before the first call, and every trial with an id that means the same for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from safemlrm.errors import DataError, StudyError, UnknownName
from safemlrm.records import Decoding, Image, Prompt, Sample, Turn
from safemlrm.resolve import judge_named, resolve
from safemlrm.study import Data, Study, Target, convert, read_study
from safemlrm.trials import Arm, Plan, trial_id

STUDIES = Path(__file__).parent.parent / "studies"


def study(**fields: object) -> Study:
    document: dict[str, object] = {
        "targets": ["specimen:r1-onevision-7b", "specimen:qwen2.5-vl-7b-instruct"],
        "data": [{"dataset": "specimen", "attacks": ["none", 'released(name="SD_TYPO")']}],
        "judges": ["specimen"],
    }
    return convert(document | fields, "test")


def first_arm(plan: Plan) -> Arm:
    return plan.arms(plan.sources[0])[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sedes": 2}, "unknown key 'sedes' in test.*Did you mean 'seeds'"),
        ({"data": [{"datset": "specimen"}]}, r"unknown key 'datset' in test, \[\[data\]\] number 1"),
        ({"targets": [{"modle": "x"}]}, r"unknown key 'modle' in test, \[\[targets\]\] number 1"),
        ({"decoding": {"max_token": 5}}, r"\[decoding\].*Did you mean 'max_tokens'"),
        ({"seeds": "two"}, "Expected `int`"),
        ({"seeds": 0}, "at least 1"),
        ({"limit": 0}, "at least 1"),
        ({"promptings": ["loud"]}, "Invalid enum value 'loud'"),
        ({"promptings": []}, "name at least one"),
        ({"missing": "ignore"}, "Invalid enum value 'ignore'"),
    ],
)
def test_a_mistake_in_a_study_is_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        study(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"targets": []}, "names no target"),
        ({"data": []}, "names no benchmark"),
        ({"targets": ["r1-onevison-7b"]}, "Did you mean 'r1-onevision-7b'"),
        ({"targets": ["specimen:a", "specimen:a"]}, "named twice"),
        ({"targets": ["openai_compatible:a"]}, "needs an address"),
        ({"targets": ["carrier_pigeon:a"]}, "unknown target 'carrier_pigeon'"),
        ({"data": [{"dataset": "figstep_safebench"}]}, "--data DIR or SAFEMLRM_DATA"),
        ({"judges": ["harm_rubic"]}, "Did you mean 'harm_rubric'"),
        ({"splitters": ["corected"]}, "Did you mean 'corrected'"),
        ({"defenses": ["safety_promt"]}, "Did you mean 'safety_prompt'"),
        ({"promptings": ["native"], "targets": ["specimen:qwen2.5-vl-7b-instruct"]}, "no native prompt"),
    ],
)
def test_a_name_that_nothing_answers_to_is_refused_before_the_first_call(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        resolve(study(**fields))


def test_an_unknown_rendering_is_refused_with_those_that_are_there() -> None:
    plan = resolve(study(data=[{"dataset": "specimen", "attacks": ['released(name="TYPO")']}]))
    with pytest.raises(StudyError, match=r"no released rendering 'TYPO'.*it has: SD_TYPO"):
        plan.tally()


def test_an_attack_that_needs_an_instruction_is_refused_where_there_is_none() -> None:
    plan = resolve(study(data=[{"dataset": "specimen", "attacks": ["figstep"]}]))
    with pytest.raises(StudyError, match="needs the sample's 'instruction', and specimen has none"):
        plan.tally()


def test_the_papers_own_study_plans_without_data_by_the_published_counts() -> None:
    plan = resolve(read_study(STUDIES / "safemlrm-2025.toml"), needs_data=False)
    tally = plan.tally()
    assert [sum(counts.values()) for counts in tally.samples.values()] == [1256, 500]
    assert tally.trials == 9 * 2 * (1256 + 500)
    assert sum(warning.startswith("data set") for warning in plan.warnings) == 2
    # its scripts gave the think prompt to four reasoning models and to no base
    assert sum("promptings: bare against think" in warning for warning in plan.warnings) == 4


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_ready_study_is_readable(path: Path) -> None:
    assert resolve(read_study(path), needs_data=False).models


def test_a_study_that_is_no_toml_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("targets = [")
    with pytest.raises(StudyError, match=r"s\.toml is not readable TOML"):
        read_study(tmp_path / "s.toml")
    with pytest.raises(StudyError, match="no study at"):
        read_study(tmp_path / "absent.toml")


def test_a_limit_covers_every_scenario_and_a_larger_one_contains_it() -> None:
    small = [s.id for s in resolve(study(limit=20)).sources[0].samples()]
    large = [s.id for s in resolve(study(limit=45)).sources[0].samples()]
    scenarios = {s.scenario for s in resolve(study(limit=20)).sources[0].samples()}
    assert (len(small), len(large), len(scenarios)) == (20, 45, 10)
    assert set(small) < set(large)


def test_judges_are_named_like_models() -> None:
    bound, model = judge_named("opensafemlrm:judge-a@http://127.0.0.1:1/v1")
    assert (bound.plugin.name, model) == ("opensafemlrm", "judge-a@http://127.0.0.1:1/v1")
    assert judge_named("harm_rubric")[1] == "gpt-4o-mini@https://api.openai.com/v1"
    assert judge_named("harm_rubric:gpt-4o")[1] == "gpt-4o"
    with pytest.raises(StudyError, match="asks no model"):
        judge_named("specimen:gpt-4o")


# --- ids: a change here means that everything paid for before is asked again ---


def sample(**fields: object) -> Sample:
    rendering = Prompt((Turn("user", (Image(data=PIXEL), "[placeholder rephrased]")),))
    plain: dict[str, object] = {"id": "1", "dataset": "d", "scenario": "s", "goal": "[placeholder goal]"}
    plain |= {"text": "[placeholder text]", "released": {"SD_TYPO": rendering}}
    return Sample(**(plain | fields))  # type: ignore[arg-type]


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)


def test_golden_ids_of_arms_and_trials() -> None:
    plan = resolve(study(limit=1))
    trials = list(plan.ids())
    assert [trial.id[:16] for trial in trials] == GOLDEN


#: r1-onevision-7b as text and SD_TYPO, then its base: first sample of the placeholder set.
GOLDEN = ["5370ee6edabb264a", "a009310074696df5", "2171d0aaad9dbee9", "b0c8c45882b80a41"]


def test_ids_depend_on_what_is_asked_and_on_nothing_else() -> None:
    base = first_arm(resolve(study()))
    other_judge = first_arm(resolve(study(judges=["harm_rubric"], splitters=["opensafemlrm"])))
    other_decoding = first_arm(resolve(study(decoding={"temperature": 0.5})))
    other_prompting = first_arm(resolve(study(promptings=["think"])))
    other_defense = first_arm(resolve(study(defenses=["safety_prompt"])))
    assert base.id == other_judge.id
    assert len({base.id, other_decoding.id, other_prompting.id, other_defense.id}) == 4


def test_the_address_of_an_endpoint_is_not_part_of_an_id() -> None:
    one = first_arm(resolve(study(targets=["openai_compatible:m@http://127.0.0.1:1/v1"])))
    two = first_arm(resolve(study(targets=["openai_compatible:m@https://elsewhere/v1"])))
    assert one.id == two.id


def test_a_simulated_model_never_shares_an_id_with_the_real_one() -> None:
    real = first_arm(resolve(study(targets=["r1-onevision-7b@http://127.0.0.1:1/v1"])))
    simulated = first_arm(resolve(study(targets=["specimen:r1-onevision-7b"])))
    assert real.id != simulated.id


def test_a_picture_that_a_trial_does_not_send_does_not_change_its_id() -> None:
    assert sample().content() == sample(released={}).content()
    other = Prompt((Turn("user", (Image(data=PIXEL), "[placeholder other words]")),))
    assert sample().content("SD_TYPO") != sample(released={"SD_TYPO": other}).content("SD_TYPO")


def test_seed_and_attempt_are_part_of_an_id() -> None:
    assert len({trial_id("c", "a", seed, attempt) for seed in range(3) for attempt in range(3)}) == 9


def test_decoding_that_is_not_set_is_not_part_of_an_id() -> None:
    plain = first_arm(resolve(study()))
    said = first_arm(resolve(study(decoding={"max_tokens": Decoding().max_tokens})))
    assert plain.id == said.id


def test_a_missing_picture_is_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "tiny.py").write_text(DATASET)
    wanted = study(data=[{"dataset": "tiny", "attacks": ['released(name="R")']}])
    tally = resolve(wanted, beside=tmp_path).tally()
    assert (tally.trials, len(tally.missing)) == (4, 1)
    assert tally.missing[0].endswith("gone.png")
    trials = list(resolve(wanted, beside=tmp_path).ids())
    assert [trial.missing is None for trial in trials] == [True, True, False, False]


DATASET = f'''"""A data set of two samples, one of them without its picture."""

from pathlib import Path
from safemlrm.plugin import dataset
from safemlrm.records import Image, Sample, user


@dataset(version="1", title="T", paper="", licence="", source="", folders=())
def tiny(folder):
    """Yield two samples."""
    for number, image in (("1", Image(data={PIXEL!r})), ("2", Image(path="gone.png"))):
        yield Sample(id=number, dataset="tiny", scenario="s", goal="g", text="t", released={{"R": user(image, "t")}})
'''


def test_a_picture_that_is_no_picture_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("<html>not found</html>")
    (tmp_path / "datasets").mkdir()
    code = DATASET.replace('Image(path="gone.png")', f"Image(path={str(tmp_path / 'broken.png')!r})")
    (tmp_path / "datasets" / "tiny.py").write_text(code)
    wanted = study(data=[{"dataset": "tiny", "attacks": ['released(name="R")']}])
    with pytest.raises(DataError, match=r"broken\.png \(sample '2' of tiny\): not a picture: an HTML page"):
        list(resolve(wanted, beside=tmp_path).ids())


def test_study_identity_ignores_judges_and_addresses_but_not_the_question() -> None:
    plain = Study(targets=(Target(model="m"),), data=(Data(dataset="d"),))
    assert plain.identity() == Study(targets=plain.targets, data=plain.data, judges=("x",)).identity()
    assert plain.identity() != Study(targets=plain.targets, data=plain.data, seeds=2).identity()
    here, there = (Target(model=f"m@http://127.0.0.1:{port}/v1") for port in (1, 2))
    assert plain.identity() == Study(targets=(here,), data=plain.data).identity()
    assert Study(targets=(here,), data=plain.data).identity() == Study(targets=(there,), data=plain.data).identity()


def test_an_unknown_benchmark_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown dataset 'specimens'"):
        resolve(study(data=[{"dataset": "specimens"}]))
