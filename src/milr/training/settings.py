"""How a prototypical network is trained. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from milr.fields import setting

AS_EPISODE = {1: "an episode needs at least 2 classes, and 0 means as many as in episode.way"}


@dataclass
class TrainSettings:
    """The section `train` as far as the training itself takes it."""

    episodes: int = setting(
        2000, "of all processes together; 0: keep the weights as they are, and save the network", low=0
    )
    way: int = setting(
        0, "classes in a training episode, more than in a tested one helps; 0: episode.way", low=0, never=AS_EPISODE
    )
    query: int = setting(0, "queries of each class in a training episode; 0: episode.query", low=0)
    rotate: bool = setting(False, "let every picture of an episode be a support once")
    episodes_per_step: int = setting(1, "episodes of each process whose gradients make one optimiser step", low=1)
    validate_every: int = setting(100, "steps between validations", low=1)
    optimizer: str = setting("adam", "adam | adamw | sgd (momentum 0.9)", choices=("adam", "adamw", "sgd"))
    learning_rate: float = setting(
        1e-3, "at its highest", low=0, never={0: "nothing would be learned; train.episodes=0 keeps the weights"}
    )
    weight_decay: float = setting(0.0, "of the optimizer", low=0)
    schedule: str = setting(
        "cosine",
        "cosine: down to zero | step: halved at each fifth of the steps | constant",
        choices=("cosine", "step", "constant"),
    )
    warmup: int = setting(0, "steps over which the learning rate rises from zero", low=0)
    interpolate: bool = setting(
        False, "at the end try weights between the first and the trained ones too, and keep what validates best"
    )
    precision: str = setting("float32", "float32 | bfloat16: of the forward pass", choices=("float32", "bfloat16"))
    freeze: list[str] = setting([], "beginnings of the names of modules that stay as they are: [conv1,layer1]")
    batch_norm: str = setting(
        "train",
        "train: statistics of the process's batch | eval: those that the weights came with, unchanged",
        choices=("train", "eval"),
    )
    winograd: bool = setting(
        True,
        "on a CPU, in float32: 3x3 convolutions with fewer products, rounded otherwise: 1.3 to 1.4 times as fast",
    )
    compile: bool = setting(
        False, "let torch.compile make the training's passes: minutes at the start, for a long one on a GPU"
    )


@dataclass
class Training(TrainSettings):
    """How a network is trained."""

    shot: int = setting(1, "supports of each class", low=1)
    seed: int = setting(0, "of the episodes and of the changes of their pictures", low=0)
