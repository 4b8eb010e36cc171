"""The Gumbel product quantiser: choices, gradient and perplexity against direct formulas."""

import math

import torch

from data2vec.nn.quantiser import GumbelQuantiser, code_shares, perplexity


def quantiser() -> GumbelQuantiser:
    torch.manual_seed(0)
    return GumbelQuantiser(inputs=5, groups=2, entries=4, dim=6)


def test_in_evaluation_the_likeliest_entry_of_each_group_is_taken() -> None:
    q, x = quantiser().eval(), torch.randn(7, 5)
    result = q(x, temperature=2.0)
    for n in range(7):
        expected = [q.codebook[g, result.logits[n, g].argmax()] for g in range(2)]
        assert torch.allclose(result.vectors[n], torch.cat(expected), atol=1e-6)


def test_in_training_noise_decides_the_entry_and_the_gradient_is_that_of_the_softmax() -> None:
    q, x = quantiser().train(), torch.randn(7, 5)
    draws = torch.empty(7, 2, 4).exponential_()
    result = q(x, 0.7, draws)
    noisy = (result.logits - draws.log()) / 0.7
    assert torch.equal(result.codes, noisy.argmax(-1))
    assert not torch.equal(result.codes, result.logits.argmax(-1))  # the noise did something
    weight = torch.randn(7, 6)
    (got,) = torch.autograd.grad((result.vectors * weight).sum(), result.logits, retain_graph=True)
    soft = torch.einsum("ngv,gvd->ngd", noisy.softmax(-1), q.codebook).flatten(1)
    (expected,) = torch.autograd.grad((soft * weight).sum(), result.logits)
    assert torch.allclose(got, expected, atol=1e-6)


def test_choices_follow_the_softmax_of_the_logits() -> None:
    """The Gumbel trick: whatever the temperature, entries are drawn with their probabilities."""
    q, x = quantiser().train(), torch.randn(1, 5).expand(20_000, 5)
    result = q(x, temperature=0.3)
    assert torch.allclose(code_shares(result.codes, 4), result.logits[0].softmax(-1), atol=0.02)


def test_perplexity_counts_the_entries_in_use() -> None:
    even, one = torch.full((2, 4), 0.25), torch.eye(4)[:2]
    assert math.isclose(perplexity(even).item(), 8.0, rel_tol=1e-4)
    assert math.isclose(perplexity(one).item(), 2.0, rel_tol=1e-4)
    half = code_shares(torch.tensor([[0, 1], [1, 1]]), 4)
    assert math.isclose(perplexity(half).item(), 2.0 + 1.0, rel_tol=1e-4)
