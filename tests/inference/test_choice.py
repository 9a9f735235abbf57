"""Which engine is used, and what is said where one is lacking."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

import demo
from modules.animation.animator import explained_animation
from modules.inference import choice, winograd
from modules.inference.choice import build_engine
from modules.inference.engine import CompiledEngine
from modules.ops import predictors
from modules.ops.predictors import Program
from modules.parity.record import seeded_models
from modules.runtime.errors import UserError
from tests.support.engines import CONFIGS, RELATIVE, clip, entries, frames_of
from tests.support.places import ROOT


def choose(engine='auto', precision='fp32', models=None):
    config, size = CONFIGS['tiny']
    models = models or seeded_models(config, 1, 'float32')
    return build_engine(models, config['model_params'], size, engine, precision)


def test_auto_is_the_compiled_one(capsys):
    assert choose().name == 'onednn' and choose('eager').name == 'eager'
    assert capsys.readouterr().err == ''


def test_what_is_lacking_is_told_in_a_line(monkeypatch, capsys):
    monkeypatch.setattr(choice, 'has_bf16', lambda: False)
    assert choose(precision='bf16').name == 'onednn'
    note = 'note: --precision bf16: this CPU has no instructions for it, so fp32 is used\n'
    assert capsys.readouterr().err == note
    monkeypatch.setattr(choice, '_lack_of_onednn', lambda: 'nothing there')
    assert choose().name == 'eager'
    assert capsys.readouterr().err == 'note: the slow eager engine is used: nothing there\n'
    with pytest.raises(UserError, match='--engine onednn: nothing there; use --engine eager'):
        choose('onednn')
    assert choose('eager', 'bf16').name == 'eager'
    assert 'only fp32 on the CPU' in capsys.readouterr().err
    with pytest.raises(UserError, match='fp16: is for GPUs; on the CPU choose bf16'):
        choose(precision='fp16')


def test_a_program_that_computes_something_else_is_not_used(cache, monkeypatch, capsys):
    run = Program.run
    monkeypatch.setattr(Program, 'run', lambda self: [array + 0.1 for array in run(self)])
    assert choose().name == 'eager'
    assert 'a compiled program is wrong by' in capsys.readouterr().err
    assert entries(cache) == []


def test_gpus_run_eagerly(gpu):
    models = SimpleNamespace(eval=lambda: None)
    assert choose(precision='fp16', models=models).dtype == 'float16'
    with pytest.raises(UserError, match='runs on the CPU; add --cpu'):
        choose('onednn', models=models)


@pytest.mark.parametrize('name', CONFIGS)
def test_programs_for_gpus(name, gpu, cache, monkeypatch):
    config, size = CONFIGS[name]
    models = seeded_models(config, 1, 'float32')
    CompiledEngine(models, config['model_params'], size, explain=True)  # may share no program
    monkeypatch.setattr(winograd.WinogradConv, '__init__', None)  # is for CPUs
    frames = clip(size)
    for made in (3, 6):  # and from the cache
        compiled = build_engine(models, config['model_params'], size, 'cudnn', explain=True)
        assert compiled.name == 'cudnn' and gpu == [1] * made
        np.testing.assert_allclose(
            frames_of(compiled, frames), frames_of(models, frames), atol=2e-5, rtol=0
        )
    step = next(explained_animation(compiled, frames[0], frames, RELATIVE))
    assert step.generated.mask is not None and step.generated.deformed is not None


@pytest.mark.parametrize('factor, name', [(1.003, 'cudnn'), (1.01, 'eager')])
def test_programs_for_gpus_may_round_factors_but_not_be_wrong(
    factor, name, gpu, cache, monkeypatch
):
    run = Program.run
    monkeypatch.setattr(Program, 'run', lambda self: [array * factor for array in run(self)])
    assert choose('cudnn').name == name
    with pytest.raises(RuntimeError, match='a compiled program is wrong by'):
        config, size = CONFIGS['tiny']
        CompiledEngine(seeded_models(config, 2, 'float32'), config['model_params'], size)


@pytest.mark.parametrize('kind', [RuntimeError, OSError, MemoryError])  # OSError: of CUDA
def test_where_gpus_do_not_run_programs(kind, gpu, cache, monkeypatch, capsys):
    with pytest.raises(UserError, match='cudnn: has only fp32; for bf16 use --engine eager'):
        choose('cudnn', 'bf16')

    def fail(config, number):
        raise kind('no such\nGPU')

    monkeypatch.setattr(predictors, '_use_gpu', fail)
    assert choose('cudnn').name == 'eager'
    note = 'note: the eager engine is used: its compiler failed (no such GPU)\n'
    assert capsys.readouterr().err == note and entries(cache) == []
    monkeypatch.setattr(paddle.device, 'get_device', lambda: 'cpu')
    with pytest.raises(UserError, match='cudnn: runs on GPUs'):
        choose('cudnn')


@pytest.mark.parametrize('engine', ['eager', 'onednn'])
def test_demo(engine, tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / 'demo.py'), '--cpu', '--engine', engine],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, '')
    assert (tmp_path / 'result.mp4').stat().st_size > 1000


def test_demo_refuses_unknown_engines(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['demo.py', '--engine', 'steam'])
    with pytest.raises(UserError, match="invalid choice: 'steam'"):
        demo.parse_arguments()
