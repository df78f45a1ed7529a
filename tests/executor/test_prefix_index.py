"""A prefix is known by hashes of its blocks, each over all before it and over the tenant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astraea.executor import prefix_index
from astraea.executor.prefix_index import PrefixIndex

BLOCK = 4
TOKENS = st.lists(st.integers(0, 2), max_size=30)


def _find(index, prompt, declared=None, tenant="ann"):
    return index.find(tenant, prompt, declared)


@given(first=TOKENS, second=TOKENS)
def test_found_is_the_longest_common_beginning_in_whole_blocks_that_leaves_a_token(first, second):
    index = PrefixIndex(BLOCK)
    assert _find(index, first) is None
    shorter = min(len(first), len(second))
    common = next((i for i in range(shorter) if first[i] != second[i]), shorter)
    expected = min(common, max(0, shorter - 1)) // BLOCK * BLOCK
    found = _find(index, second)
    assert (found.tokens if found else 0) == expected


@given(prompt=TOKENS, declared=st.integers(0, 40))
def test_a_declared_prefix_is_believed_in_whole_blocks_and_leaves_a_token(prompt, declared):
    found = _find(PrefixIndex(BLOCK), prompt, declared)
    assert (found.tokens if found else 0) == min(declared, max(0, len(prompt) - 1)) // BLOCK * BLOCK


@given(prompt=TOKENS, other=TOKENS, declared=st.integers(0, 30))
def test_equal_names_mean_equal_tokens(prompt, other, declared):
    one, two = (_find(PrefixIndex(BLOCK), tokens, declared) for tokens in (prompt, other))
    if one is not None and two is not None:
        assert (one == two) == (prompt[: one.tokens] == other[: two.tokens])


def _tenants_share_nothing():
    index, prompt = PrefixIndex(BLOCK), list(range(40))
    _find(index, prompt, tenant="ann")
    assert _find(index, prompt, tenant="bob") is None
    assert _find(index, prompt, tenant="ann").tokens == 36
    for blocks in range(1, 10):  # at every depth, for the tenant is in every hash
        names = {_find(index, prompt, blocks * BLOCK, tenant).prefix_id for tenant in ("ann", "bob", "", "annbob")}
        assert len(names) == 4


def test_tenants_share_nothing():
    _tenants_share_nothing()


def test_a_hash_without_the_tenant_would_be_noticed(monkeypatch):
    hashes = PrefixIndex._hashes  # noqa: SLF001 - to make the mutant of it
    monkeypatch.setattr(PrefixIndex, "_hashes", lambda self, _tenant, *rest: hashes(self, "", *rest))
    with pytest.raises(AssertionError):
        _tenants_share_nothing()


def _equal_blocks_behind_other_ones_are_not_shared():
    one, two = (_find(PrefixIndex(BLOCK), [first] * BLOCK + [9] * BLOCK + [1], 2 * BLOCK) for first in (3, 4))
    assert one.prefix_id != two.prefix_id


def test_equal_blocks_behind_other_ones_are_not_shared():
    _equal_blocks_behind_other_ones_are_not_shared()


def test_a_hash_of_the_block_alone_would_be_noticed(monkeypatch):
    blake2b = prefix_index.blake2b
    monkeypatch.setattr(
        prefix_index, "blake2b", lambda data, digest_size: blake2b(data[digest_size:], digest_size=digest_size)
    )
    with pytest.raises(AssertionError):
        _equal_blocks_behind_other_ones_are_not_shared()


def test_the_hashes_that_were_unused_for_longest_go_first():
    index = PrefixIndex(BLOCK, hashes_max=4)
    old, kept, new = ([seed] * 9 for seed in range(3))
    _find(index, old)
    _find(index, kept)
    assert _find(index, kept).tokens == 8
    _find(index, new)
    assert len(index) == 4
    assert _find(index, kept).tokens == 8
    assert _find(index, old) is None
