"""What a fine-tuned decoder writes for a prompt: plain Hugging Face's words, each record alone."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from fedethics.aggregates.measures.site import chosen_rows
from fedethics.data.content import Completion, Conversation, Turn
from fedethics.errors import DataError
from fedethics.training.generation import answers
from fedethics.training.learner import Learner
from tests.learning_tasks.tiny_chat import chat_charter

torch.set_num_threads(1)
RECORDS = (
    Completion("hi", "yes no"),
    Conversation(
        (
            Turn("system", "be brief"), Turn("user", "one?"), Turn("assistant", "yes"),
            Turn("user", "two, then"), Turn("assistant", "no, three"),
        )
    ),
    Completion("what is it<|im_end|>?", "a long answer"),
)  # fmt: skip


def test_answers_are_those_of_plain_peft_and_its_generate(learner, vector, folder, tmp_path):
    learner.save_adapter(vector, tmp_path)
    plain = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), tmp_path
    ).eval()
    tokenizer = learner._reader.tokenizer
    found = answers(learner, vector, RECORDS, most=12)
    for prompt, (said, reference) in zip(learner.prompts(RECORDS), found, strict=True):
        theirs = plain.generate(
            input_ids=torch.tensor([prompt.ids]), attention_mask=torch.ones(1, len(prompt.ids)),
            max_new_tokens=12, do_sample=False, eos_token_id=[0, 1, 2], pad_token_id=0,
        )[0, len(prompt.ids) :].tolist()  # fmt: skip
        theirs = [token for token in theirs if token not in (0, 1, 2)]
        assert said == tokenizer.decode(theirs)
        assert reference == prompt.reference
    assert [reference for _, reference in found] == ["yes no", "no, three", "a long answer"]


def test_a_prompt_is_the_beginning_of_what_is_learnt_and_ends_where_the_answer_begins(learner):
    (prompt,) = learner.prompts(RECORDS[1:2])
    read = learner.tokens(RECORDS[1:2]).hidden[0].tolist()
    assert read[: len(prompt.ids)] == prompt.ids
    assert learner._reader.tokenizer.decode(prompt.ids).endswith("<|im_start|>assistant\n")


def test_an_answer_is_the_same_whoever_is_beside_it_and_leaves_the_model_as_it_was(learner, vector):
    before = learner.scores(vector, learner.activations(RECORDS))
    alone = [answers(learner, vector, [record], most=8)[0] for record in RECORDS]
    together = answers(learner, vector, [*reversed(RECORDS), *RECORDS], most=8)
    assert together[3:] == alone and together[:3] == alone[::-1]
    assert (learner.scores(vector, learner.activations(RECORDS)) == before).all()


def test_an_answer_that_ends_at_once_takes_as_many_steps_as_one_that_never_ends(learner, vector):
    network, (prompt,) = learner._network, learner.prompts(RECORDS[:1])
    steps = []
    hook = network._inner.register_forward_hook(lambda *_: steps.append(1))
    try:
        with learner.lock:
            learner.load(vector)
            counted = []
            for ends in (frozenset(), frozenset(range(10_000))):
                steps.clear()
                found = network.greedy(torch.tensor(prompt.ids), most=6, ends=ends)
                counted.append((len(found), len(steps)))
    finally:
        hook.remove()
    assert counted == [(6, 6), (0, 6)]


def test_a_prompt_without_room_for_an_answer_has_none(folder, vector):
    tiny = Learner(chat_charter(folder, max_tokens=20), model_dir=folder)
    assert answers(tiny, vector, [Completion("x" * 80, "y")], most=4) == [("", "y")]


def test_a_task_without_prompts_answers_nothing(folder):
    text = Learner(chat_charter(folder, form="text", task="text"), model_dir=folder)
    with pytest.raises(DataError, match="without a prompt cannot be answered"):
        answers(text, text.initial_vector(), ["a note"], most=4)


def test_which_records_are_answered_follows_from_each_records_words_alone():
    texts = [Completion(f"question {number}", "answer") for number in range(2000)]
    chosen = chosen_rows(texts, share=0.1, salt="letters/1")
    assert 140 < len(chosen) < 260
    kept = {texts[row].prompt for row in chosen}
    fewer = texts[:700] + texts[701:]
    assert {fewer[row].prompt for row in chosen_rows(fewer, share=0.1, salt="letters/1")} == (
        kept - {texts[700].prompt}
    )
    assert len(chosen_rows(texts, share=3.0, salt="letters/1")) == 2000
