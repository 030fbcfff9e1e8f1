import torch
import torch.multiprocessing as mp
from normalisation import inputs, normalise, run_process
from torch import nn

from forgescope.trainers.synchronized_norm import SynchronizedBatchNorm2d, synchronize_batch_norm


def test_two_processes_normalise_as_one(tmp_path):
    mp.spawn(run_process, args=(tmp_path / "store", tmp_path / "result"), nprocs=2)
    parts = [torch.load(tmp_path / f"result{rank}") for rank in range(2)]
    whole = normalise(nn.BatchNorm2d(4), *inputs())
    for name in ("output", "input gradient", "evaluated"):
        both = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(both, whole[name], atol=1e-4, rtol=1e-4)
    for name in ("mean", "variance"):
        for part in parts:
            torch.testing.assert_close(part[name], whole[name], atol=1e-5, rtol=1e-5)
    for name in ("weight gradient", "bias gradient"):
        torch.testing.assert_close(parts[0][name] + parts[1][name], whole[name], atol=1e-3, rtol=1e-4)


def test_weights_keep_their_names_and_places():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    before = dict(model.state_dict())
    synchronize_batch_norm(model, torch.device("cpu"))
    assert isinstance(model[1], SynchronizedBatchNorm2d)
    assert before.keys() == model.state_dict().keys()
    assert model[1].weight is dict(model.named_parameters())["1.weight"]


def test_cuda_gets_torchs_own():
    model = synchronize_batch_norm(nn.Sequential(nn.BatchNorm2d(4)), torch.device("cuda"))
    assert isinstance(model[0], nn.SyncBatchNorm)
