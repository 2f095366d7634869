"""The stem stands where open_clip's patch embedding stands, and gives as many patches."""

import pytest
import torch

from vision.encoder import build_trunk
from vision.stem import ConvolutionalStem

TRUNK = dict(tile_px=64, patch_px=16, width=32, layers=2, heads=4, mlp_ratio=2.0)


def test_a_cell_is_a_patch():
    stem = ConvolutionalStem((8, 12, 16, 32)).eval()
    assert stem(torch.randn(2, 3, 64, 64)).shape == (2, 32, 4, 4)


@torch.no_grad()
def test_a_cell_sees_its_patch_and_the_two_beside_it():
    stem = ConvolutionalStem((8, 12, 16, 32)).eval()
    picture = torch.randn(1, 3, 128, 128)
    changed = picture.clone()
    changed[..., :16, :16] = 0  # the first patch
    moved = (stem(picture) - stem(changed)).abs().amax(1)[0] > 0
    assert moved[:2, :2].all() and not moved[4:].any() and not moved[:, 4:].any()


@torch.no_grad()
def test_a_trunk_with_a_stem_is_open_clip_s_trunk_in_all_else():
    plain, stemmed = build_trunk(**TRUNK), build_trunk(**TRUNK, stem_widths=(8, 12, 16)).eval()
    rest = {name for name in stemmed.state_dict() if not name.startswith("conv1.")}
    assert rest == {name for name in plain.state_dict() if not name.startswith("conv1.")}
    assert stemmed(torch.randn(2, 3, 64, 64)).shape == plain(torch.randn(2, 3, 64, 64)).shape


@torch.no_grad()
def test_a_picture_does_not_depend_on_its_batch():
    trunk = build_trunk(**TRUNK, stem_widths=(8, 12, 16)).eval()
    pictures = torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(trunk(pictures)[1:2], trunk(pictures[1:2]), atol=1e-5, rtol=0)


def test_stem_and_patch_must_agree():
    with pytest.raises(ValueError, match="4 halvings make patches of 16 px, not 8"):
        build_trunk(**TRUNK | {"patch_px": 8}, stem_widths=(8, 12, 16))
