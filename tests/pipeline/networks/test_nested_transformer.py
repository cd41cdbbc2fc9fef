from __future__ import annotations

import pytest
import torch

from pipeline.networks.nested_transformer import NestedTransformer, Nesting

SMALL = Nesting(roi_size=16, patch_size=2, widths=(4, 8, 16), heads=(1, 2, 4), depths=(1, 1, 1))


@pytest.fixture(scope="module")
def encoder() -> NestedTransformer:
    torch.manual_seed(0)
    return NestedTransformer(2, SMALL).eval()


def test_every_level_halves_the_side_and_widens(encoder: NestedTransformer) -> None:
    maps = encoder(torch.randn(3, 2, 16, 16, 16))
    assert [tuple(features.shape) for features in maps] == [
        (3, 4, 8, 8, 8),
        (3, 4, 8, 8, 8),
        (3, 8, 4, 4, 4),
        (3, 16, 2, 2, 2),
        (3, 16, 2, 2, 2),
    ]


def test_tokens_attend_within_their_block_only_until_blocks_are_merged(
    encoder: NestedTransformer,
) -> None:
    image = torch.randn(1, 2, 16, 16, 16)
    touched = image.clone()
    # in the block of patches [2:4, 0:2, 4:6], and far from the blocks that a pooling joins to it
    touched[0, 0, 4, 0, 8] += 5
    with torch.no_grad():
        before, after = encoder(image), encoder(touched)
    differs = (before[1] != after[1]).any(1)[0]
    expected = torch.zeros(8, 8, 8, dtype=torch.bool)
    expected[2:4, 0:2, 4:6] = True
    assert torch.equal(differs, expected)
    assert (before[3] != after[3]).any(1).all()


def test_the_last_map_is_normalised_over_channels(encoder: NestedTransformer) -> None:
    with torch.no_grad():
        last = encoder(torch.randn(1, 2, 16, 16, 16))[-1]
    torch.testing.assert_close(last.mean(1), torch.zeros(1, 2, 2, 2), atol=1e-5, rtol=0)
    # the variance is divided by itself and 1e-6, so it is a little below one
    torch.testing.assert_close(
        last.var(1, unbiased=False), torch.ones(1, 2, 2, 2), atol=0.01, rtol=0
    )


def test_attention_is_the_softmax_of_scaled_products_with_heads_fastest() -> None:
    torch.manual_seed(0)
    nesting = Nesting(roi_size=2, patch_size=1, widths=(4,), heads=(2,), depths=(1,))
    attention = NestedTransformer(1, nesting).levels[0].transformer_encoder[0].attn
    tokens = torch.randn(1, 1, 8, 4)
    query, key, value = (attention.qkv(tokens)[0, 0, :, part : part + 4] for part in (0, 4, 8))
    merged = torch.empty(8, 4)
    for head in range(2):
        own = slice(2 * head, 2 * head + 2)
        scores = (query[:, own] @ key[:, own].T / 2**0.5).softmax(1)
        merged[:, head::2] = scores @ value[:, own]
    torch.testing.assert_close(attention(tokens)[0, 0], attention.proj(merged))


def test_drop_rates_rise_evenly_from_nothing_to_a_half() -> None:
    encoder = NestedTransformer(1, Nesting(widths=(4, 8, 16), depths=(2, 2, 1)))
    rates = [
        layer.drop_path.drop_prob for level in encoder.levels for layer in level.transformer_encoder
    ]
    assert rates == pytest.approx([0, 0.125, 0.25, 0.375, 0.5])


def test_a_window_of_another_size_is_refused(encoder: NestedTransformer) -> None:
    with pytest.raises(ValueError, match="2 x 16 x 16 x 16"):
        encoder(torch.zeros(1, 2, 16, 16, 20))
    with pytest.raises(ValueError, match="2 x 16 x 16 x 16"):
        encoder(torch.zeros(1, 1, 16, 16, 16))


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"widths": (4, 8)}, "every level"),
        ({"widths": (), "heads": (), "depths": ()}, "every level"),
        ({"roi_size": 100}, "whole patches"),
        ({"roi_size": 0}, "whole patches"),
        ({"heads": (3, 8, 16)}, "multiple of its heads"),
    ],
)
def test_sizes_that_do_not_fit_each_other_are_refused(
    sizes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        Nesting(**sizes)  # type: ignore[arg-type]
