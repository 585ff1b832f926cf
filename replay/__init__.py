"""The replay: paired state and image chunks in Redis, written by the actors and sampled by the learner."""

from replay.config import ReplayConfig
from replay.connection import connect
from replay.episodes import Episode, Episodes, decode_episodes, encode_episodes, read_episodes
from replay.limiter import SamplesPerInsert
from replay.sampler import Batch, StudentSampler, TeacherSampler
from replay.schema import SCHEMA_VERSION, Chunk, ChunkMeta, EpisodeMeta, Step, StreamSpec
from replay.server import EmbeddedServer
from replay.store import ReplayStore
from replay.writer import StreamWriter

__all__ = [
    "SCHEMA_VERSION",
    "Batch",
    "Chunk",
    "ChunkMeta",
    "EmbeddedServer",
    "Episode",
    "EpisodeMeta",
    "Episodes",
    "ReplayConfig",
    "ReplayStore",
    "SamplesPerInsert",
    "Step",
    "StreamSpec",
    "StreamWriter",
    "StudentSampler",
    "TeacherSampler",
    "connect",
    "decode_episodes",
    "encode_episodes",
    "read_episodes",
]
