"""Conversations recognised by their beginnings, beside a twin that keeps every message and compares them all."""

from __future__ import annotations

from random import Random

import pytest
from attrs import define, evolve, field

from astraea.server.prefix_sessions import Match, PrefixSessions, conversation_of


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def system(text):
    return {"role": "system", "content": text}


class Server:
    """What a server does with a request: finds its session or starts one, and answers."""

    def __init__(self, **bounds):
        self.known = PrefixSessions(**bounds)
        self.now_us = 0
        self.sessions = 0

    def ask(self, messages, answer, tenant="acme"):
        self.now_us += 1
        conversation = conversation_of(messages)
        match = self.known.find(tenant, conversation, self.now_us)
        if match is None:
            self.sessions += 1
            session_id = f"s{self.sessions}"
        else:
            session_id = match.session_id
        self.note(tenant, session_id, conversation, said(answer))
        return session_id

    def note(self, tenant, session_id, conversation, answer):
        self.known.answered(tenant, conversation, answer, self.now_us, session_id=session_id, context_id="main")


def test_a_conversation_goes_on_in_its_session():
    server, history = Server(), [system("be kind")]
    for turn in range(20):
        history.append(user(f"question {turn}"))
        assert server.ask(history, f"answer {turn}") == "s1"
        history.append(said(f"answer {turn}"))


def test_interleaved_conversations_stay_apart():
    server = Server()
    histories = {name: [user(f"I am {name}")] for name in "abcde"}
    sessions = {}
    for turn in range(5):
        for name, history in histories.items():
            session_id = server.ask(history, f"{turn} for {name}")
            assert sessions.setdefault(name, session_id) == session_id
            history += [said(f"{turn} for {name}"), user("go on")]
    assert len(set(sessions.values())) == 5


def test_equal_prompts_are_sessions_of_their_own_and_their_answers_tell_them_apart():
    server = Server()
    assert server.ask([user("hi")], "hello") == "s1"
    assert server.ask([user("hi")], "good day") == "s2"
    assert server.ask([user("hi"), said("good day"), user("?")], "well") == "s2"
    assert server.ask([user("hi"), said("hello"), user("?")], "well") == "s1"


def test_equal_prompts_with_equal_answers_are_ambiguous_and_a_new_session_begins_that_lasts():
    server = Server()
    assert server.ask([user("hi")], "hello") == "s1"
    assert server.ask([user("hi")], "hello") == "s2"
    later = [user("hi"), said("hello"), user("I am Ada")]
    assert server.ask(later, "hello Ada") == "s3"
    assert server.ask([*later, said("hello Ada"), user("?")], "!") == "s3"


def test_instructions_tell_equal_conversations_apart_but_may_change_on_the_way():
    server = Server()
    assert server.ask([system("cook"), user("hi")], "hello") == "s1"
    assert server.ask([system("judge"), user("hi")], "hello") == "s2"
    assert server.ask([system("judge"), user("hi"), said("hello"), user("b")], "B") == "s2"
    assert server.ask([system("cook"), user("hi"), said("hello"), user("c")], "C") == "s1"
    assert server.ask([system("cook; it is noon"), user("hi"), said("hello"), user("c"), said("C")], "D") == "s1"


def test_an_answer_that_is_not_ours_is_no_anchor():
    server = Server()
    shots = [user("2+2"), said("4"), user("3+3"), said("6")]
    assert server.ask([*shots, user("4+4")], "8") == "s1"
    assert server.ask([*shots, user("5+5")], "10") == "s2"
    assert server.ask([*shots, user("5+5"), said("10"), user("and")], "?") == "s2"


def test_a_history_edited_before_its_first_answer_is_a_new_conversation():
    server = Server()
    server.ask([user("hi")], "hello")
    assert server.ask([user("Hi!"), said("hello"), user("b")], "B") == "s2"


def test_a_history_edited_later_stays_in_its_session_from_the_last_answer_that_is_unchanged():
    server = Server()
    history = [user("a"), said("A"), user("b"), said("B"), user("c")]
    for turn in (1, 3, 5):
        assert server.ask(history[:turn], "ABC"[turn // 2]) == "s1"
    known = server.known
    edited = conversation_of([user("a"), said("A"), user("b, or rather d"), said("B"), user("c")])
    assert known.find("acme", edited, 10) == Match("s1", "main", 2, is_latest=False)
    goes_on = conversation_of([*history, said("C"), user("d")])
    assert known.find("acme", goes_on, 10) == Match("s1", "main", 6, is_latest=True)


def test_a_compacted_history_is_a_new_conversation():
    server = Server()
    server.ask([user("a")], "A")
    server.ask([user("a"), said("A"), user("b")], "B")
    assert server.ask([user("summary of a and b"), user("c")], "C") == "s2"


def test_a_regenerated_answer_belongs_to_the_session_and_either_one_goes_on_in_it():
    server = Server()
    asked = [user("a"), said("A"), user("b")]
    assert server.ask(asked[:1], "A") == "s1"
    assert server.ask(asked, "B") == "s1"
    assert server.ask(asked, "B again") == "s1"
    assert server.ask([*asked, said("B"), user("c")], "C") == "s1"
    assert server.ask([*asked, said("B again"), user("c")], "C") == "s1"


def test_each_of_several_answers_leads_back_to_the_branch_that_gave_it():
    known, asked = PrefixSessions(), conversation_of([user("a")])
    for branch, text in enumerate(("A", "B", "C")):
        known.answered("acme", asked, said(text), 0, session_id="s", context_id=f"b{branch}")
    for branch, text in enumerate(("A", "B", "C")):
        match = known.find("acme", conversation_of([user("a"), said(text), user("b")]), 1)
        assert match == Match("s", f"b{branch}", 2, is_latest=True)


def test_within_a_session_that_is_named_only_its_own_branches_count():
    known, asked = PrefixSessions(), conversation_of([user("a")])
    goes_on = conversation_of([user("a"), said("A"), user("b")])
    for session_id in ("s", "t"):
        known.answered("acme", asked, said("A"), 0, session_id=session_id, context_id=f"of {session_id}")
    assert known.find("acme", goes_on, 1) is None
    assert known.find("acme", goes_on, 1, session_id="t") == Match("t", "of t", 2, is_latest=True)
    assert known.find("acme", goes_on, 1, session_id="u") is None


def test_tenants_do_not_see_each_other():
    server = Server()
    goes_on = [user("hi"), said("hello"), user("?")]
    assert server.ask([user("hi")], "hello", "acme") == "s1"
    assert server.ask(goes_on, "well", "other") == "s2"
    assert server.ask(goes_on, "well", "acme") == "s1"


def test_a_closed_session_is_forgotten():
    server = Server()
    server.ask([user("a")], "A")
    server.ask([user("b")], "B")
    server.known.forget("acme", "s1")
    server.known.forget("acme", "unknown")
    server.known.forget("nobody", "s2")
    assert len(server.known) == 1
    assert server.ask([user("a"), said("A"), user("?")], "!") == "s3"
    assert server.ask([user("b"), said("B"), user("?")], "!") == "s2"


def test_what_was_not_used_for_too_long_is_forgotten():
    known, asked = PrefixSessions(age_max_us=100), conversation_of([user("a")])
    goes_on = conversation_of([user("a"), said("A"), user("b")])
    known.answered("acme", asked, said("A"), 0, session_id="s", context_id="main")
    assert known.find("acme", goes_on, 100) is not None
    assert known.find("acme", goes_on, 200) is not None, "it was used on the way"
    assert known.find("acme", goes_on, 301) is None
    assert len(known) == 0


def test_memory_is_bounded_for_each_tenant_and_one_cannot_push_out_the_others():
    server = Server(anchors_max=50)
    server.ask([user("quiet")], "yes", "quiet")
    for turn in range(500):
        server.ask([user(f"{turn}")], "A", "loud")
    assert len(server.known) == 51
    assert server.ask([user("quiet"), said("yes"), user("?")], "!", "quiet") == "s1"
    assert server.ask([user("499"), said("A"), user("?")], "!", "loud") == "s501"
    assert server.ask([user("400"), said("A"), user("?")], "!", "loud") == "s502"


def test_a_long_conversation_keeps_its_newest_anchors():
    server, history = Server(anchors_max=5), []
    for turn in range(30):
        history += [user(f"q{turn}")]
        assert server.ask(history, f"a{turn}") == "s1"
        history += [said(f"a{turn}")]
    assert len(server.known) == 5


# The twin.


@define(eq=False)
class Told:
    """An answer that was given, with all that was said before it."""

    tenant: str
    session_id: str
    context_id: str
    spoken: list
    """All messages but the instructions, the answer included."""
    instructions: list
    used_us: int


def split(messages):
    """The instructions and the rest."""
    return [[m for m in messages if (m["role"] == "system") == is_system] for is_system in (True, False)]


@define
class Twin:
    anchors_max: int
    age_max_us: int
    by_use: list[Told] = field(factory=list)
    by_answer: list[Told] = field(factory=list)

    def tidy(self, tenant, now_us):
        mine = [told for told in self.by_use if told.tenant == tenant]
        gone = mine[: max(0, len(mine) - self.anchors_max)]
        gone += [told for told in mine if now_us - told.used_us > self.age_max_us]
        self.drop(lambda told: told in gone)

    def drop(self, is_gone):
        self.by_use = [told for told in self.by_use if not is_gone(told)]
        self.by_answer = [told for told in self.by_answer if not is_gone(told)]

    def find(self, tenant, messages, now_us, session_id):
        self.tidy(tenant, now_us)
        instructions, _ = split(messages)
        for count in range(len(messages), 0, -1):
            if messages[count - 1]["role"] != "assistant":
                continue
            _, spoken = split(messages[:count])
            there = [told for told in self.by_use if told.tenant == tenant and told.spoken == spoken]
            there = [told for told in there if session_id in {None, told.session_id}]
            alike = [told for told in there if told.instructions == instructions]
            if len(there) > 1 and len(alike) != 1:
                return None
            if there:
                (told,) = there if len(there) == 1 else alike
                return self.use(told, count, instructions, now_us)
        return None

    def use(self, told, count, instructions, now_us):
        told.instructions, told.used_us = instructions, now_us
        self.by_use.remove(told)
        self.by_use.append(told)
        place = (told.tenant, told.session_id, told.context_id)
        branch = [other for other in self.by_answer if (other.tenant, other.session_id, other.context_id) == place]
        return Match(told.session_id, told.context_id, count, is_latest=branch[-1] is told)

    def answered(self, tenant, messages, answer, now_us, session_id, context_id):
        self.tidy(tenant, now_us)
        instructions, spoken = split(messages)
        told = Told(tenant, session_id, context_id, [*spoken, answer], instructions, now_us)
        place = (tenant, session_id, told.spoken)
        self.drop(lambda other: (other.tenant, other.session_id, other.spoken) == place)
        self.by_use.append(told)
        self.by_answer.append(told)
        self.tidy(tenant, now_us)

    def forget(self, tenant, session_id):
        self.drop(lambda told: (told.tenant, told.session_id) == (tenant, session_id))


def steps_of(dice):
    """What clients and server do, drawn from few words so that beginnings often meet."""
    for _ in range(60):
        tenant, session_id, text = dice.choice(["acme", "acme", "other"]), dice.choice("stu"), dice.choice("ab")
        roles = dice.choices([user, said, system], [4, 4, 1], k=dice.randrange(6))
        messages = [role(dice.choice("ab")) for role in roles]
        verb = dice.choices(["find", "answered", "forget"], [5, 4, 1])[0]
        yield dice.randrange(3), verb, tenant, messages, said(text), session_id, dice.choice("xy")


def first_difference(known, dice):
    """Lead both through the same steps; the first thing that they disagree about, or ``None``."""
    bounds = {"anchors_max": dice.choice([3, 8, 40]), "age_max_us": dice.choice([5, 20, 100])}
    known, twin, now_us = known(**bounds), Twin(**bounds), 0
    for passed_us, verb, tenant, messages, answer, session_id, context_id in steps_of(dice):
        now_us += passed_us
        conversation = conversation_of(messages)
        if verb == "find":
            wanted = dice.choice([None, session_id])
            found = known.find(tenant, conversation, now_us, session_id=wanted)
            right = twin.find(tenant, messages, now_us, wanted)
            if found != right:
                return found, right
        elif verb == "answered":
            known.answered(tenant, conversation, answer, now_us, session_id=session_id, context_id=context_id)
            twin.answered(tenant, messages, answer, now_us, session_id, context_id)
        else:
            known.forget(tenant, session_id)
            twin.forget(tenant, session_id)
        if len(known) != len(twin.by_use):
            return len(known), len(twin.by_use)
    return None


@pytest.mark.parametrize("seed", range(20))
def test_the_digests_find_what_comparing_all_messages_finds(seed):
    for walk in range(30):
        assert first_difference(PrefixSessions, Random(f"{seed}/{walk}")) is None


class TakesTheFirst(PrefixSessions):
    @staticmethod
    def _only(known, digest, sessions, instructions):
        return sessions[0]


class NeverLooksAtInstructions(PrefixSessions):
    @staticmethod
    def _only(known, digest, sessions, instructions):
        return sessions[0] if len(sessions) == 1 else None


class OneForAllTenants(PrefixSessions):
    def _of(self, tenant, now_us):
        return super()._of("all", now_us)


class NeverForgets(PrefixSessions):
    def forget(self, tenant, session_id):
        pass


class NeverTidies(PrefixSessions):
    def _tidy(self, known, now_us):
        pass


class IgnoresTheNamedSession(PrefixSessions):
    def find(self, tenant, conversation, now_us, *, session_id=None):
        return super().find(tenant, conversation, now_us)


class NeverNotesUse(PrefixSessions):
    def find(self, tenant, conversation, now_us, *, session_id=None):
        before = self._of(tenant, now_us).by_use.copy()
        found = super().find(tenant, conversation, now_us, session_id=session_id)
        self._tenants[tenant].by_use = before
        return found


class LooksAtTheLastAnswerOnly(PrefixSessions):
    def find(self, tenant, conversation, now_us, *, session_id=None):
        last = evolve(conversation, anchors=conversation.anchors[-1:])
        return super().find(tenant, last, now_us, session_id=session_id)


class AlwaysSaysLatest(PrefixSessions):
    def find(self, tenant, conversation, now_us, *, session_id=None):
        found = super().find(tenant, conversation, now_us, session_id=session_id)
        return found and evolve(found, is_latest=True)


@pytest.mark.parametrize(
    "mutant",
    [
        TakesTheFirst,
        NeverLooksAtInstructions,
        OneForAllTenants,
        NeverForgets,
        NeverTidies,
        IgnoresTheNamedSession,
        NeverNotesUse,
        LooksAtTheLastAnswerOnly,
        AlwaysSaysLatest,
    ],
)
def test_the_twin_catches_a_mutant(mutant):
    assert any(first_difference(mutant, Random(f"0/{walk}")) is not None for walk in range(30))
