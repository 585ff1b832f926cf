"""Every setting of the learner, with its unit, its limits and its default.

The metadata of each field (`help`, `min`, `max`, `choices`) is what the command line validates and prints.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RSSMConfig:
    """Sizes of the recurrent state-space model, the same for teacher and student."""

    deter: int = field(default=192, metadata={"help": "units of the deterministic state h", "min": 8, "max": 16_384})
    hidden: int = field(default=192, metadata={"help": "units of every hidden layer", "min": 8, "max": 16_384})
    groups: int = field(default=12, metadata={"help": "S, number of categorical variables in z", "min": 1, "max": 256})
    classes: int = field(default=12, metadata={"help": "K, classes of each categorical variable", "min": 2, "max": 256})
    unimix: float = field(
        default=0.01, metadata={"help": "share of the uniform distribution mixed into z", "min": 0.0, "max": 0.5}
    )


@dataclass(frozen=True)
class TeacherConfig:
    """The world model that learns from privileged state."""

    learning_rate: float = field(default=6e-4, metadata={"help": "Adam's step size", "min": 0.0})
    gradient_norm: float = field(default=100.0, metadata={"help": "gradients are clipped to this norm", "min": 0.0})
    state_scale: float = field(default=1.0, metadata={"help": "weight of the state's reconstruction", "min": 0.0})
    reward_scale: float = field(default=1.0, metadata={"help": "weight of the reward's two-hot loss", "min": 0.0})
    continue_scale: float = field(default=1.0, metadata={"help": "weight of the continue flag's loss", "min": 0.0})
    dynamics_scale: float = field(default=0.5, metadata={"help": "weight of KL(sg(post) | prior)", "min": 0.0})
    representation_scale: float = field(default=0.1, metadata={"help": "weight of KL(post | sg(prior))", "min": 0.0})
    free_nats: float = field(default=1.0, metadata={"help": "KL below this many nats is free", "min": 0.0})


@dataclass(frozen=True)
class BehaviourConfig:
    """Actor-critic in the teacher's imagination."""

    actor_learning_rate: float = field(default=1e-4, metadata={"help": "policy's Adam step size", "min": 0.0})
    critic_learning_rate: float = field(default=2e-4, metadata={"help": "critic's Adam step size", "min": 0.0})
    gradient_norm: float = field(default=10.0, metadata={"help": "gradients are clipped to this norm", "min": 0.0})
    horizon: int = field(default=10, metadata={"help": "T_imag, imagined steps", "min": 1})
    starts: int = field(default=96, metadata={"help": "imagined trajectories per update", "min": 1})
    discount: float = field(default=0.98, metadata={"help": "discount per control step", "min": 0.0, "max": 1.0})
    lambda_: float = field(default=0.95, metadata={"help": "lambda of the lambda-return", "min": 0.0, "max": 1.0})
    entropy_scale: float = field(default=1e-3, metadata={"help": "weight of the policy's entropy", "min": 0.0})
    slow_critic_rate: float = field(
        default=0.02, metadata={"help": "share of the critic moved into the slow critic", "min": 0.0, "max": 1.0}
    )
    minimum_deviation: float = field(
        default=0.1, metadata={"help": "smallest standard deviation of an action", "min": 1e-3, "max": 1.0}
    )


@dataclass(frozen=True)
class StudentConfig:
    """The world model that learns from images to arrive at the teacher's latent state."""

    learning_rate: float = field(default=1e-3, metadata={"help": "Adam's step size", "min": 0.0})
    decay_updates: int = field(
        default=0,
        metadata={"help": "updates over which the step size falls evenly to a tenth, then stays; 0: none", "min": 0},
    )
    gradient_norm: float = field(default=100.0, metadata={"help": "gradients are clipped to this norm", "min": 0.0})
    batch_size: int = field(default=8, metadata={"help": "B, chunks per student update", "min": 1})
    channels: tuple[int, ...] = field(
        default=(16, 32, 64, 128),
        metadata={
            "help": "channels of the image encoder's layers, each halves the image",
            "min": 1,
            "max": 4_096,
        },
    )
    posterior_scale: float = field(
        default=1.0, metadata={"help": "weight of the posterior's KL(teacher | student)", "min": 0.0}
    )
    prior_scale: float = field(
        default=0.5, metadata={"help": "weight of the prior's KL(teacher | student)", "min": 0.0}
    )
    deter_scale: float = field(default=1.0, metadata={"help": "weight of the squared error of h", "min": 0.0})
    imagination_scale: float = field(
        default=0.5, metadata={"help": "weight of imagination alignment (h and prior along imagined steps)", "min": 0.0}
    )
    imagination_horizon: int = field(default=5, metadata={"help": "imagined steps that are aligned", "min": 1})
    imagination_starts: int = field(default=32, metadata={"help": "imagined trajectories per update", "min": 1})
    state_scale: float = field(
        default=1.0,
        metadata={"help": "weight of the true state, as the teacher's decoder reads it off the student", "min": 0.0},
    )
    action_scale: float = field(
        default=1.0,
        metadata={"help": "weight of the policy's action on the student's latent against the teacher's", "min": 0.0},
    )
    average_rate: float = field(
        default=0.01,
        metadata={"help": "the student that acts moves by this share to the trained one", "min": 0.0, "max": 1.0},
    )
    readout_scale: float = field(
        default=1.0,
        metadata={"help": "weight of the true state read straight off single images' embeddings", "min": 0.0},
    )
    frames: int = field(
        default=192,
        metadata={
            "help": "single images per update from which the readout learns, of as many episodes as there can be; 0: "
            "it learns from the sequences' own images",
            "min": 0,
        },
    )
    frame_pool: int = field(
        default=6_144,
        metadata={"help": "newest images of the student's batches, out of which these are drawn", "min": 1},
    )
    shift_pixels: int = field(
        default=2,
        metadata={"help": "training images are moved by up to so many pixels; a sequence's all alike", "min": 0},
    )
    encoder_share: float = field(
        default=0.0,
        metadata={
            "help": "share of all other terms' gradient that goes on into the image encoder; at 0 it learns from the "
            "readout alone",
            "min": 0.0,
            "max": 1.0,
        },
    )
    feed: str = field(
        default="student",
        metadata={
            "help": "whose z goes into the student's recurrence in training: its own, or the teacher's",
            "choices": ("student", "teacher"),
        },
    )
    dynamics: str = field(
        default="tied",
        metadata={
            "help": "the student's recurrence and prior: own weights from scratch, own weights that start as the "
            "teacher's, or tied to the moving teacher's",
            "choices": ("scratch", "teacher_init", "tied"),
        },
    )
    device: str = field(
        default="auto",
        metadata={
            "help": "where the student computes: auto is where the teacher does, cuda:1 a second GPU",
            "choices": ("auto", "cuda:1"),
        },
    )
    refresh_updates: int = field(
        default=10, metadata={"help": "student updates between two looks at the moving teacher", "min": 1}
    )
    warm_up_updates: int = field(
        default=200, metadata={"help": "student updates before the student may drive a robot in simulation", "min": 0}
    )

    def __post_init__(self) -> None:
        """Refuses what no single field's limits can.

        Raises:
            ValueError: an image encoder that nothing would train.
        """
        if self.encoder_share == 0.0 and self.readout_scale == 0.0:
            raise ValueError("encoder_share and readout_scale are both 0: one must be above, or no image is understood")


@dataclass(frozen=True)
class LearnerConfig:
    """The learner process: both world models and the policy."""

    batch_size: int = field(default=16, metadata={"help": "B, sequences per teacher update", "min": 1})
    sequence_length: int = field(
        default=0,
        metadata={
            "help": "rows of the teacher's sequences, each a random piece of a chunk, filtered from the zero latent; "
            "the student filters whole chunks; 0: the teacher, too",
            "min": 0,
        },
    )
    teacher_samples_per_insert: float = field(
        default=40.0, metadata={"help": "steps the teacher replays per step inserted; 0 sets no bound", "min": 0.0}
    )
    student_samples_per_insert: float = field(
        default=0.0, metadata={"help": "steps the student replays per step inserted; 0 sets no bound", "min": 0.0}
    )
    student_may_lag: bool = field(
        default=False,
        metadata={
            "help": "the student may fall behind that bound: actors do not wait for it, and it goes on when all steps "
            "are in"
        },
    )
    device: str = field(default="auto", metadata={"help": "where to compute", "choices": ("auto", "cpu", "cuda")})
    precision: str = field(
        default="auto",
        metadata={
            "help": "arithmetic of the networks; auto takes bfloat16 where the processor has it",
            "choices": ("auto", "float32", "bfloat16"),
        },
    )
    graphs: str = field(
        default="auto",
        metadata={
            "help": "auto: on a GPU, whole updates are captured as CUDA graphs and launched in one call each; off: "
            "kernel by kernel",
            "choices": ("auto", "off"),
        },
    )
    threads: int = field(default=1, metadata={"help": "torch threads of each of the two loops on a CPU", "min": 1})
    resource: str = field(
        default="", metadata={"help": "custom Ray resource of which the learner takes one unit; empty for none"}
    )
    rssm: RSSMConfig = field(default_factory=RSSMConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
