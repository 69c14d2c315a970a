"""`Synapse`: product, bias and shapes."""

import torch

from nwavesdk.layers import LIFSynapse


def test_product_bias_and_shapes():
    synapse = LIFSynapse(3, 5, bias=True)
    synapse.bias.data.fill_(0.25)
    x = torch.rand(2, 7, 3)
    torch.testing.assert_close(synapse(x), x @ synapse.weight + 0.25)
    assert synapse(x[0, 0]).shape == (1, 5)
    assert LIFSynapse(3, 5).bias is None
