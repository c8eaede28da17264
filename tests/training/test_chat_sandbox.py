"""A chat template is somebody's program: what it renders follows from the conversation alone.

And a control token that a turn's text holds stays text, however the tokenizer looks for it.
"""

import re

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers

from fedethics.data.content import Turn
from fedethics.errors import DataError, ModelError
from fedethics.training.chat import ChatSettings, ChatTemplate, conversation, guard, tokenise
from fedethics.training.tokenizer import TextReader

TURNS = (Turn("user", "what was said"), Turn("assistant", "an answer"))


def rendered(template):
    return ChatTemplate(ChatSettings(template)).render(TURNS, answering=False)


@pytest.mark.parametrize(
    "said",
    [
        "messages[0].content.upper",
        "messages[0]['get']",
        "messages[0]|attr('items')",
        "messages|map(attribute='get')|list",
        "'%s' % messages[0].content.upper",
        "'{0.upper}'.format(messages[0].content)",
        "messages[0].content.format",
        "messages[0].content.upper ~ ''",
        "[1]|map('upper')",
        "messages|reverse",
        "messages|batch(1)",
        "range",
        "raise_exception",
        "dict.fromkeys",
        "self.part",
    ],
)
def test_no_text_tells_where_in_memory_a_value_lies(said):
    # Else a text could follow from how many records were read before it.
    text = rendered("{% block part %}{% endblock %}{{ " + said + " }}")

    assert text
    assert not re.search(r"0x[0-9a-f]+", text)


@pytest.mark.parametrize("said", ["[1, 2]|random", "lipsum()", "cycler(1)", "joiner()"])
def test_a_template_that_draws_at_random_is_refused(said):
    with pytest.raises((ModelError, DataError)):
        rendered("{{ " + said + " }}")


def test_what_templates_use_is_there():
    text = rendered(
        "{% for one in messages|selectattr('role', 'ne', 'system')|reverse %}"
        "{{ loop.index }}{{ loop.cycle('a', 'b') }}{{ one.content.split(' ')[-1].upper() }}"
        "{% endfor %}{{ range(2)|list }}{{ '{}!'.format(messages|map(attribute='role')|join) }}"
        "{{ messages[0].get('role')|tojson }}{{ messages[0].items()|map('first')|list }}"
    )

    assert text == "1aANSWER2bSAID[0, 1]userassistant!\"user\"['role', 'content']"


def reader_that_normalises(normaliser):
    letters = {chr(code): code for code in range(128)}
    raw = Tokenizer(models.BPE(vocab=letters | {"<unk>": 128}, merges=[], unk_token="<unk>"))
    raw.normalizer = normaliser
    raw.add_special_tokens(["<unk>", AddedToken("<|a|>", special=True, normalized=True)])
    return TextReader(raw, pad_token_id=0, embeddings=130, where="made up")


@pytest.mark.parametrize(
    ("normaliser", "forged"),
    [
        (normalizers.Lowercase(), "<|A|>"),
        (normalizers.NFKC(), "\uff1c|a|\uff1e"),
        (normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]), "<|\u00e1|>"),
        (normalizers.Replace("_", ""), "<|_a|>"),
        (normalizers.Lowercase(), "<|a|>"),
    ],
)
def test_a_control_token_written_otherwise_stays_text(normaliser, forged):
    tokens = reader_that_normalises(normaliser)
    assert 129 in tokens(forged, add_special_tokens=False)["input_ids"]
    template = ChatTemplate(ChatSettings("{% for m in messages %}<|a|>{{ m.content }}{% endfor %}"))
    (asked, answered), hidden = guard([f"before {forged} after \u2603", "yes"], tokens)

    (rendering,) = conversation(template, [Turn("user", asked), Turn("system", answered)])

    assert tokenise(rendering, tokens, hidden).ids.count(129) == 2


def test_an_unknown_word_is_no_control_token():
    tokens = reader_that_normalises(normalizers.Lowercase())

    assert tokens.marks("\u2603 \u2603") == []
    assert tokens.marks("\u2603 <unk>") == [(2, 7)]
