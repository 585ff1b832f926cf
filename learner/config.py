"""Every setting of the learner, with its unit, its limits and its default.

The type of each field says what it may be and the text below it what it means: no object can be made with anything
else, and the command line reads and prints both.
"""

from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Le, Len
from pydantic import ConfigDict, NonNegativeFloat
from pydantic.dataclasses import dataclass

from learner.methods import METHODS

if TYPE_CHECKING:
    MethodName = str
else:
    MethodName = Literal[tuple(METHODS)]

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)

Share = Annotated[float, Ge(0), Le(1)]
Stem = Literal["halving", "patches"]


@dataclass(frozen=True, config=_STRICT)
class RSSMConfig:
    """Sizes of the recurrent state-space model, the same for teacher and student."""

    deter: Annotated[int, Ge(8), Le(16_384)] = 192
    """Units of the deterministic state h."""
    hidden: Annotated[int, Ge(8), Le(16_384)] = 192
    """Units of every hidden layer."""
    groups: Annotated[int, Ge(1), Le(256)] = 12
    """S, number of categorical variables in z."""
    classes: Annotated[int, Ge(2), Le(256)] = 12
    """K, classes of each categorical variable."""
    unimix: Annotated[float, Ge(0), Le(0.5)] = 0.01
    """Share of the uniform distribution mixed into z."""


@dataclass(frozen=True, config=_STRICT)
class TeacherConfig:
    """The world model that learns from privileged state."""

    learning_rate: NonNegativeFloat = 6e-4
    """Adam's step size."""
    gradient_norm: NonNegativeFloat = 100.0
    """Gradients are clipped to this norm."""
    state_scale: NonNegativeFloat = 1.0
    """Weight of the reconstruction: of the state, or of the image where a method's world model rebuilds that."""
    reward_scale: NonNegativeFloat = 1.0
    """Weight of the reward's two-hot loss."""
    continue_scale: NonNegativeFloat = 1.0
    """Weight of the continue flag's loss."""
    dynamics_scale: NonNegativeFloat = 0.5
    """Weight of KL(sg(post) | prior)."""
    representation_scale: NonNegativeFloat = 0.1
    """Weight of KL(post | sg(prior))."""
    free_nats: NonNegativeFloat = 1.0
    """KL below this many nats is free."""


@dataclass(frozen=True, config=_STRICT)
class BehaviourConfig:
    """Actor-critic in the teacher's imagination."""

    actor_learning_rate: NonNegativeFloat = 1e-4
    """Policy's Adam step size."""
    critic_learning_rate: NonNegativeFloat = 2e-4
    """Critic's Adam step size."""
    gradient_norm: NonNegativeFloat = 10.0
    """Gradients are clipped to this norm."""
    horizon: Annotated[int, Ge(1), Le(1_000)] = 10
    """T_imag, imagined steps."""
    starts: Annotated[int, Ge(1), Le(10**6)] = 96
    """Imagined trajectories per update."""
    discount: Share = 0.98
    """Discount per control step."""
    lambda_: Share = 0.95
    """Lambda of the lambda-return."""
    entropy_scale: NonNegativeFloat = 1e-3
    """Weight of the policy's entropy."""
    steadiness_scale: NonNegativeFloat = 5.0
    """What a change of the policy's mean by 1 from one imagined step to the next costs, in the reward's unit, where the
    reward is 1; it goes with the reward's fourth power (after CAPS, Mysore et al., arXiv 2012.06644)."""
    slow_critic_rate: Share = 0.02
    """Share of the critic moved into the slow critic."""
    minimum_deviation: Annotated[float, Ge(1e-3), Le(1)] = 0.1
    """Smallest standard deviation of an action."""


@dataclass(frozen=True, config=_STRICT)
class StudentConfig:
    """The world model that learns from images to arrive at the teacher's latent state."""

    learning_rate: NonNegativeFloat = 1e-3
    """Adam's step size."""
    decay_updates: Annotated[int, Ge(0), Le(10**9)] = 0
    """Updates over which the step size falls evenly to a tenth, then stays; 0: none."""
    gradient_norm: NonNegativeFloat = 100.0
    """Gradients are clipped to this norm."""
    batch_size: Annotated[int, Ge(1), Le(4_096)] = 8
    """B, chunks per student update."""
    channels: Annotated[tuple[Annotated[int, Ge(1), Le(4_096)], ...], Len(1, 8)] = (16, 32, 64, 128)
    """Channels of the image encoder's layers, each halves the image."""
    stem: Stem = "halving"
    """How that encoder begins. halving: a layer for each of its channels, with ReLU; patches: the first two layers in
    one, 4 x 4 pixels at a time, and group norm and SiLU in all."""
    posterior_scale: NonNegativeFloat = 1.0
    """Weight of the posterior's KL(teacher | student)."""
    prior_scale: NonNegativeFloat = 0.5
    """Weight of the prior's KL(teacher | student)."""
    deter_scale: NonNegativeFloat = 1.0
    """Weight of the squared error of h."""
    imagination_scale: NonNegativeFloat = 0.5
    """Weight of imagination alignment (h and prior along imagined steps)."""
    imagination_horizon: Annotated[int, Ge(1), Le(1_000)] = 5
    """Imagined steps that are aligned."""
    imagination_starts: Annotated[int, Ge(1), Le(10**6)] = 32
    """Imagined trajectories per update."""
    state_scale: NonNegativeFloat = 1.0
    """Weight of the true state, as the teacher's decoder reads it off the student."""
    action_scale: NonNegativeFloat = 1.0
    """Weight of the policy's action on the student's latent against the teacher's."""
    average_rate: Share = 0.01
    """The student that acts moves by this share to the trained one."""
    readout_scale: NonNegativeFloat = 1.0
    """Weight of the true state read straight off single images' embeddings."""
    frames: Annotated[int, Ge(0), Le(65_536)] = 192
    """Single images per update from which the readout learns, of as many episodes as there can be; 0: it learns from
    the sequences' own images."""
    frame_pool: Annotated[int, Ge(1), Le(10**7)] = 6_144
    """Newest images of the student's batches, out of which these are drawn."""
    shift_pixels: Annotated[int, Ge(0), Le(64)] = 2
    """Training images are moved by up to so many pixels; a sequence's all alike."""
    encoder_share: Share = 0.0
    """Share of all other terms' gradient that goes on into the image encoder; at 0 it learns from the readout alone."""
    feed: Literal["student", "teacher"] = "student"
    """Whose z goes into the student's recurrence in training: its own, or the teacher's."""
    dynamics: Literal["scratch", "teacher_init", "tied"] = "tied"
    """The student's recurrence and prior: own weights from scratch, own weights that start as the teacher's are when
    the student makes its first update, or tied to the moving teacher's."""
    posterior: Literal["image", "read"] = "image"
    """What tells z: the image alone; or the teacher's posterior of the state that is read off the image, and what the
    image and h add to that, which begins at nothing."""
    device: Literal["auto", "cuda:1"] = "auto"
    """Where the student computes: auto is where the teacher does, cuda:1 a second GPU."""
    refresh_updates: Annotated[int, Ge(1), Le(10**9)] = 10
    """Student updates between two looks at the moving teacher."""
    warm_up_updates: Annotated[int, Ge(0), Le(10**9)] = 200
    """Student updates before the student may drive a robot in simulation."""

    def __post_init__(self) -> None:
        """Refuses what no single field's limits can.

        Raises:
            ValueError: an image encoder that nothing would train, or a teacher's posterior without its h.
        """
        if self.posterior == "read" and self.dynamics != "tied":
            raise ValueError(f"posterior is read and dynamics {self.dynamics}: the teacher's posterior needs tied ones")
        if self.encoder_share == 0.0 and self.readout_scale == 0.0:
            raise ValueError("encoder_share and readout_scale are both 0: one must be above, or no image is understood")


@dataclass(frozen=True, config=_STRICT)
class SACConfig:
    """Soft actor-critic, of method asymmetric_sac alone."""

    learning_rate: NonNegativeFloat = 3e-4
    """Adam's step size, of actor and critics."""
    temperature_learning_rate: NonNegativeFloat = 3e-3
    """Adam's step size, of the temperature's logarithm: by about this it can move in an update."""
    gradient_norm: NonNegativeFloat = 10.0
    """Gradients are clipped to this norm."""
    frames: Annotated[int, Ge(1), Le(16)] = 3
    """Last images that the actor sees."""
    target_rate: Share = 0.02
    """Share of the critics moved into the slow ones, which so follow within some 50 updates."""
    initial_temperature: Annotated[float, Ge(1e-6), Le(1e3)] = 0.1
    """What a nat of entropy is worth at first; it is then moved to where there is a nat less than none for each
    dimension of an action."""


@dataclass(frozen=True, config=_STRICT)
class LearnerConfig:
    """The learner process: the parts of a method, such as both world models and the policy."""

    method: MethodName = "twist"
    """What is trained, and how it acts: see docs/method.md, which says which groups of settings each method reads."""
    batch_size: Annotated[int, Ge(1), Le(65_536)] = 16
    """B, sequences per update of the teacher, or of the part that a method has in its place."""
    sequence_length: Annotated[int, Ge(0), Le(1_000)] = 0
    """Rows of that part's sequences, each a random piece of a chunk, filtered from the zero latent; the student
    filters whole chunks; 0: that part, too."""
    teacher_samples_per_insert: Annotated[float, Ge(0), Le(1e6)] = 40.0
    """Steps that part replays per step inserted; 0 sets no bound."""
    student_samples_per_insert: Annotated[float, Ge(0), Le(1e6)] = 0.0
    """Steps the student replays per step inserted; 0 sets no bound."""
    student_may_lag: bool = False
    """The student may fall behind that bound: actors do not wait for it, and it goes on when all steps are in."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the networks; auto takes bfloat16 where the processor has it."""
    graphs: Literal["auto", "off"] = "auto"
    """auto: on a GPU, whole updates are captured as CUDA graphs and launched in one call each; off: kernel by kernel.
    """
    proprioception: tuple[str, ...] = ()
    """Numbers of the state that a robot measures of itself, which are given to whatever sees images beside the image:
    their names, or patterns such as gripper_*; empty: the image is all that there is."""
    threads: Annotated[int, Ge(1), Le(1_024)] = 1
    """Torch threads of each of the two loops on a CPU."""
    resource: str = ""
    """Custom Ray resource of which the learner takes one unit; empty for none."""
    rssm: RSSMConfig = field(default_factory=RSSMConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    sac: SACConfig = field(default_factory=SACConfig)

    def __post_init__(self) -> None:
        """Refuses settings with which the method would be another one.

        Raises:
            ValueError: naming the setting, its value and what the method allows.
        """
        for refusal in METHODS[self.method].refusals(self, "learner."):
            raise ValueError(refusal)
