"""A chat template of the charter reads every record: whoever decides is told that there is one."""

import dataclasses

from fedethics.charter.document import load
from fedethics.enrolment.asking import asks
from fedethics.policy.model import load_policy
from fedethics.policy.template import policy_text
from fedethics.privacy.plan import make_plan
from tests.privacy.charters import HEART


def test_a_template_of_the_charter_is_told_and_the_tokenizers_own_is_not(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(policy_text())
    policy, heart = load_policy(path), load(HEART)
    plan = make_plan(heart)
    model = dataclasses.replace(heart.model, chat_template="{{ messages[0].content }}")

    def told(charter):
        return [one for one in asks(charter, policy=policy, plan=plan) if "template" in one.term]

    assert told(heart) == []
    (found,) = told(dataclasses.replace(heart, model=model))
    assert "25 characters" in found.asked
