"""Judges in this process: the tiny one on files, Qwen-VL, and answers replayed from a ledger."""

import io
import json

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from pixelsmile.errors import UserError
from pixelsmile.expressions import EXPRESSIONS
from pixelsmile.judges.base import JudgeRequest, Usage, text_hash
from pixelsmile.judges.in_process import TinyJudge
from pixelsmile.judges.ledger import read_answers
from pixelsmile.judges.local import LocalJudge, save_judge
from pixelsmile.judges.network import ExpressionNet
from pixelsmile.judges.noise import repeated
from pixelsmile.judges.prompt import PROMPT_LABELS, SCORING_PROMPT
from pixelsmile.judges.replay import ReplayJudge
from tests.judges.conftest import openai_judge, png


def picture(seed, size, kind="PNG"):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (size, size, 3), generator=generator, dtype=torch.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(stream, kind)
    return stream.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("judge")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_judge(ExpressionNet(widths=(4, 4, 8, 8)), path)
    return path


@pytest.fixture
def faces(tmp_path):
    """Seven images of two sizes and two formats, one of them twice."""
    requests = []
    for number in range(6):
        kind = "JPEG" if number == 4 else "PNG"
        path = tmp_path / f"{number}.{kind.lower()}"
        path.write_bytes(picture(number, 128 if number % 2 else 64, kind))
        requests.append(JudgeRequest(path, path.name))
    return [*requests, JudgeRequest(requests[0].image.read_bytes(), "again")]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_tiny_judge_scores_files_as_the_network_scores_their_pixels(folder, faces, batch_size):
    network = LocalJudge.from_pretrained(folder)
    judgements = list(TinyJudge(folder, batch_size=batch_size).judge_files(iter(faces)))
    assert [item.id for item in judgements] == [request.id for request in faces]
    for request, judgement in zip(faces[:6], judgements, strict=False):
        pixels = pil_to_tensor(Image.open(request.image).convert("RGB")).float() / 127.5 - 1
        expected = network.score(pixels[None])[0]
        torch.testing.assert_close(torch.tensor(judgement.scores), expected)
        assert json.loads(judgement.raw) == dict(zip(EXPRESSIONS, judgement.scores, strict=True))
    assert judgements[6].scores == judgements[0].scores


def test_tiny_judge_goes_on_where_it_stopped_and_writes_nothing_twice(folder, faces, tmp_path):
    ledger = tmp_path / "judge.jsonl"
    judge = TinyJudge(folder, ledger=ledger, batch_size=2)
    judging = judge.judge_files(faces)
    first = next(judging)
    judging.close()
    assert len(read_answers(ledger)) == 2
    looked = []
    judge.look, look = lambda *args: looked.extend(args[1]) or look(*args), judge.look
    judgements = list(judge.judge_files(faces))
    assert judgements[0] == first
    assert len(looked) == 4
    assert len(read_answers(ledger)) == 6
    assert not (tmp_path / "judge.attempts.jsonl").read_bytes()


def test_other_weights_are_another_judge(folder, tmp_path, faces):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        save_judge(ExpressionNet(widths=(4, 4, 8, 8)), tmp_path / "other")
    one, other = TinyJudge(folder), TinyJudge(tmp_path / "other")
    assert one.describe() == TinyJudge(folder).describe() != other.describe()
    (a,), (b,) = one.judge_files(faces[:1]), other.judge_files(faces[:1])
    assert a.key != b.key


def test_a_format_that_services_do_not_take_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"Image face is BMP, .*save it as PNG, JPEG, WEBP"):
        list(TinyJudge(folder).judge_files([JudgeRequest(picture(0, 8, "BMP"), "face")]))


@pytest.fixture
def recorded(server, tmp_path, requests):
    server.plan = lambda image, number: "refuse" if len(server.log) == 1 else "answer"
    ledger = tmp_path / "judge.jsonl"
    return list(openai_judge(server, ledger).judge_files(requests)), ledger


def test_replay_repeats_a_ledger_exactly_and_asks_nobody(recorded, server, requests):
    judgements, ledger = recorded
    asked, before = len(server.log), ledger.read_bytes()
    judge = ReplayJudge(ledger)
    assert list(judge.judge_files(requests)) == judgements
    assert judge.describe() == openai_judge(server, ledger).describe()
    assert len(server.log) == asked
    assert ledger.read_bytes() == before


def test_replay_names_what_the_ledger_does_not_hold(recorded, requests):
    judge = ReplayJudge(recorded[1])
    others = [JudgeRequest(png(90 + number), f"new_{number}") for number in range(7)]
    message = r"no answer for 7 of 12 images \(new_0, .* and 2 more\): judge them"
    with pytest.raises(UserError, match=message):
        list(judge.judge_files([*requests, *others]))
    with pytest.raises(UserError, match="no answer for 5 of 10"):
        list(judge.judge_files(repeated(requests, 2)))


def test_replay_of_two_judges_wants_to_know_which(recorded, folder, requests):
    judgements, ledger = recorded
    list(TinyJudge(folder, ledger=ledger).judge_files(requests))
    with pytest.raises(UserError, match=r"answers of 2 judges .*say judge\.judge=<id>"):
        ReplayJudge(ledger)
    chosen = ReplayJudge(ledger, judge="openai/face-7b")
    assert list(chosen.judge_files(requests)) == judgements
    tiny = ReplayJudge(ledger, judge="tiny")
    assert all(item.status == "ok" for item in tiny.judge_files(requests))
    with pytest.raises(
        UserError, match=r"No answers of gpt .*it has those of openai/face-7b, tiny"
    ):
        ReplayJudge(ledger, judge="gpt")


TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def qwen(tiny_stack, tmp_path_factory):
    """The text encoder of the random stack as a folder of an Instruct model."""
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    path = tmp_path_factory.mktemp("qwen") / "Tiny-VL"
    processor = AutoProcessor.from_pretrained(tiny_stack / "pipeline" / "processor")
    processor.chat_template = TEMPLATE
    processor.save_pretrained(path)
    Qwen2_5_VLForConditionalGeneration.from_pretrained(
        tiny_stack / "pipeline" / "text_encoder"
    ).save_pretrained(path)
    return path


def qwen_judge(folder, **settings):
    from pixelsmile.judges.qwen_vl import QwenVLJudge

    return QwenVLJudge(folder, **{"dtype": "float32", "max_new_tokens": 6, **settings})


def test_qwen_sees_prompt_and_image_and_its_babble_is_invalid_not_a_score(qwen, tmp_path):
    judge = qwen_judge(qwen, ledger=tmp_path / "judge.jsonl")
    request = JudgeRequest(picture(0, 56), "face")
    (judgement,) = judge.judge_files([request])
    assert (judgement.status, judgement.scores) == ("invalid", None)
    tokens = judge.processor.tokenizer(SCORING_PROMPT)["input_ids"]
    image_tokens = (56 // 28) ** 2
    assert judgement.usage.input > len(tokens) + image_tokens
    assert 1 <= judgement.usage.output <= 6
    described = judge.describe()
    assert described["id"] == "qwen_vl/Tiny-VL"
    assert described["prompt_hash"] == text_hash(SCORING_PROMPT)
    assert list(judge.judge_files([request])) == [judgement]


def test_qwen_answers_are_read_and_its_tokens_counted_over_attempts(qwen):
    judge = qwen_judge(qwen, temperature=1.0, attempts=3)
    said = iter(["no", "{", json.dumps(dict.fromkeys(PROMPT_LABELS, 0.5))])
    judge.processor.decode = lambda tokens, **_: next(said)
    (judgement,) = judge.judge_files([JudgeRequest(picture(0, 56), "face")])
    assert judgement.scores == (0.5,) * 12
    assert judgement.usage.input % 3 == 0
    assert judgement.usage.input > 3 * 300


def test_drawn_answers_depend_on_key_and_repeat_alone(qwen):
    judge = qwen_judge(qwen, temperature=50.0, attempts=1)  # it is very sure of itself
    faces = [JudgeRequest(picture(number, 56), f"{number}") for number in range(2)]
    asked = list(repeated(faces, 2))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    raws = {(item.id, item.repeat): item.raw for item in judge.judge_files(asked)}
    assert torch.equal(torch.get_rng_state(), state)
    turned = {(item.id, item.repeat): item.raw for item in judge.judge_files(asked[::-1])}
    assert raws == turned
    assert len(set(raws.values())) == 4


def test_a_folder_without_a_usable_model_is_refused(tmp_path, qwen, tiny_stack):
    with pytest.raises(UserError, match=r"No model in .*config\.json is missing"):
        qwen_judge(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    with pytest.raises(UserError, match=r"cannot be loaded .*download it again"):
        qwen_judge(tmp_path)


def test_qwen_is_loaded_for_the_first_image_and_not_before(qwen):
    judge = qwen_judge(qwen)
    assert judge.describe()["settings"]["weights"]
    assert "model" not in vars(judge)
    list(judge.judge_files([JudgeRequest(picture(0, 56), "face")]))
    assert "model" in vars(judge)


def test_other_settings_of_qwen_are_other_answers(qwen):
    settings = [qwen_judge(qwen).describe(), qwen_judge(qwen, temperature=0.5).describe()]
    assert settings[0] != settings[1]
    assert Usage() + Usage(1, 2, 3) == Usage(1, 2, 3)
