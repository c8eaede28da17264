"""A chat template is somebody's program: it can neither stop a site nor tell what it read by time.

It runs in a process of its own, with limits on time, memory, files and what it may write.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedethics.cli.main import app
from fedethics.data.content import Completion, Preference
from fedethics.errors import DataError, ModelError
from fedethics.training.learner import Learner
from fedethics.training.template_process import (
    Part,
    Renderer,
    TemplateOverrun,
    most_characters,
    rounded_up,
)
from tests.learning_tasks.tiny_chat import CHATML, chat_charter, save_chat_model

ROOT = Path(__file__).parents[2]
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
TALK = (("user", "hi"), ("assistant", "yes"))
WHOLE = (Part(2, answering=False),)


@pytest.fixture(scope="module")
def renderer():
    one = Renderer(cpu_s=0.2)
    yield one
    one.end()


def text(renderer, template):
    renderer.compile(template)
    (found,) = renderer.render(template, {}, messages=TALK, parts=WHOLE)
    return found


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (ENDLESS, "processor time"),
        ("{{ messages[0].content * 9999999999 }}", "MiB of memory"),
        ("{{ messages[0].content * 50000 }}", "the length that it may add"),
        ("{% set n = namespace(x='aa') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}"
         "{% endfor %}", "its limit of"),
    ],
)  # fmt: skip
def test_a_template_that_runs_over_a_limit_is_refused_and_the_next_one_runs(
    renderer, template, why
):
    with pytest.raises(TemplateOverrun, match=why) as refused:
        text(renderer, template)
    assert "hi" not in str(refused.value).split() and "yes" not in str(refused.value).split()
    assert text(renderer, "{{ messages[1].content }}") == "yes"


def test_a_template_that_takes_long_to_compile_is_refused(renderer):
    with pytest.raises(ModelError, match="runs over its limit"):
        renderer.compile("{{ '%999999999d'|format(3) }}")


def test_the_process_opens_no_file_and_starts_none_with_the_environment():
    said = (
        "from fedethics.training.template_process import _limit; _limit(); import resource\n"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0] >> 20)\n"
        "try: open('/dev/null')\nexcept OSError as error: print(type(error).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.split() in (["1024", "OSError"], ["-1", "OSError"])


def test_a_rendering_may_add_a_system_prompt_and_no_book():
    assert 20_000 < most_characters(TALK) < 21_000
    assert most_characters([("user", "x" * 1000)]) - most_characters([("user", "")]) == 4000


def test_the_time_that_is_told_is_the_same_for_fast_and_slow_words():
    # 1,000 records take a second, or two: nothing between.
    assert {rounded_up(spent, records=1000) for spent in (0.0, 0.1, 0.7, 0.99)} == {1.0}
    assert {rounded_up(spent, records=1000) for spent in (1.01, 1.5, 1.99)} == {2.0}
    assert rounded_up(0.0, records=0) == 0.001


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_chat_model(tmp_path_factory.mktemp("chat"))


# Slow where a text holds one word, and quick otherwise: no probe finds it.
SPY = "{% if 'diabetes' in messages[0].content %}" + ENDLESS + "{% endif %}" + CHATML


def test_a_template_that_is_slow_where_a_text_holds_a_word_stops_the_site_at_once(folder):
    learner = Learner(chat_charter(folder, chat_template=SPY), model_dir=folder)
    harmless, told = Completion("a cold", "rest"), Completion("diabetes", "insulin")
    assert learner.tokens([harmless]).left_out == 0
    with pytest.raises(DataError, match="runs over its limit") as refused:
        learner.tokens([harmless, told, told])
    assert "diabetes" not in str(refused.value) and "2" not in str(refused.value)


def test_charter_check_refuses_an_endless_template_by_name(tmp_path):
    letters = (ROOT / "examples" / "sft" / "letters.charter.toml").read_text()
    path = tmp_path / "charter.toml"
    path.write_text(letters.replace("\n[adapter]", f'\nchat-template = "{ENDLESS}"\n[adapter]'))
    done = CliRunner().invoke(app, ["charter", "check", str(path)])
    assert isinstance(done.exception, ModelError)
    assert "the chat template runs over its limit of processor time" in str(done.exception)
    assert "Nothing was read, trained or charged" in str(done.exception)


def test_a_template_that_refuses_an_empty_answer_does_not_stop_the_self_test(folder):
    strict = "{% if not messages[-1].content %}{{ raise_exception('empty') }}{% endif %}" + CHATML
    charter = chat_charter(
        folder, form="preference", task="preference", beta=0.1, chat_template=strict
    )
    learner = Learner(charter, model_dir=folder)
    assert learner.shortest == 2
    entries = learner.tokens([Preference("which?", "this", "that")])
    assert learner.prove(entries)


class Interrupted:
    """A pipe at which Ctrl-C is pressed once, while somebody waits for a line."""

    def __init__(self, pipe):
        self._pipe, self._pressed = pipe, False

    def readline(self):
        if not self._pressed:
            self._pressed = True
            raise KeyboardInterrupt
        return self._pipe.readline()

    def __getattr__(self, name):
        return getattr(self._pipe, name)


def test_an_answer_that_nobody_took_is_not_the_next_records(renderer):
    template = "{{ messages[0].content }}"
    assert text(renderer, template) == "hi"
    renderer._process.stdout = Interrupted(renderer._process.stdout)
    with pytest.raises(KeyboardInterrupt):
        renderer.render(template, {}, messages=(("user", "first"),), parts=(Part(1, False),))
    renderer.compile(template)
    found = renderer.render(template, {}, messages=(("user", "second"),), parts=(Part(1, False),))
    assert found == ("second",)


def test_a_template_is_compiled_again_after_many_others(renderer):
    for number in range(70):
        renderer.compile(f"{number} {{{{ messages[0].content }}}}")
    for number in (69, 0, 1):
        assert text(renderer, f"{number} {{{{ messages[0].content }}}}") == f"{number} hi"
