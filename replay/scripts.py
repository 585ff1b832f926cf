"""The Lua scripts that change the replay. Redis runs each as one atomic step, so index and data never disagree.

Keys of one shard, all with the hash tag of `replay.shards` and all named to the script, as Redis Cluster demands::

    index         sorted set  chunk id -> sequence number of its insertion: the chunks held, oldest first
    image_index   sorted set  the same, of those chunks that have images
    states        hash        chunk id -> state value
    images        hash        chunk id -> image value
    sizes         hash        chunk id -> "rows bytes"
    counters      hash        what `ReplayStore.stats` returns
    streams       hash        stream id -> "first next", the rows that its newest chunk spans
    quarantine    list        reason, state value, image value of refused chunks, newest first
"""

from __future__ import annotations

from typing import Final

SHARD_KEYS: Final = (
    "index",
    "image_index",
    "states",
    "images",
    "sizes",
    "counters",
    "streams",
    "quarantine",
)

_PRELUDE: Final = """
local index, image_index, states, images, sizes, counters, streams, quarantine = unpack(KEYS)

local function number(name)
  return tonumber(redis.call('HGET', counters, name) or '0')
end
local function add(name, amount)
  redis.call('HINCRBY', counters, name, string.format('%.0f', amount))
end

-- Takes a chunk out of all but `counters`' totals; returns its rows and bytes.
local function remove(chunk_id)
  local rows, bytes = string.match(redis.call('HGET', sizes, chunk_id), '^(%d+) (%d+)$')
  redis.call('ZREM', index, chunk_id)
  redis.call('HDEL', states, chunk_id)
  redis.call('HDEL', sizes, chunk_id)
  if redis.call('ZREM', image_index, chunk_id) == 1 then
    redis.call('HDEL', images, chunk_id)
    add('image_chunks', -1)
  end
  add('chunks', -1)
  add('rows', -rows)
  add('bytes', -bytes)
  return tonumber(rows), tonumber(bytes)
end
"""

# A stream's chunks come in order, so the newest rows of each stream tell a repeated put from a new one even after
# the chunk itself was evicted: a put whose reply was lost can be sent again without counting anything twice.
# Returns 1 if stored, 0 if it was there already, -1 if it overlaps the stream's newest chunk.
PUT: Final = (
    _PRELUDE
    + """
local chunk_id, stream_id, state, image = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local first, rows, env_steps, episodes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local capacity_rows, capacity_bytes = tonumber(ARGV[9]), tonumber(ARGV[10])

local newest = redis.call('HGET', streams, stream_id)
if newest then
  local newest_first, newest_next = string.match(newest, '^(%d+) (%d+)$')
  if first <= tonumber(newest_first) then return 0 end
  if first < tonumber(newest_next) then return -1 end
end

local bytes = string.len(state) + string.len(image)
local held_rows, held_bytes = number('rows'), number('bytes')
while held_rows + rows > capacity_rows or held_bytes + bytes > capacity_bytes do
  local oldest = redis.call('ZRANGE', index, 0, 0)[1]
  local gone_rows, gone_bytes = remove(oldest)
  held_rows, held_bytes = held_rows - gone_rows, held_bytes - gone_bytes
  add('evicted_rows', gone_rows)
  add('evicted_chunks', 1)
end

local sequence = redis.call('HINCRBY', counters, 'sequence', 1)
redis.call('ZADD', index, sequence, chunk_id)
redis.call('HSET', states, chunk_id, state)
redis.call('HSET', sizes, chunk_id, string.format('%.0f %.0f', rows, bytes))
if image ~= '' then
  redis.call('ZADD', image_index, sequence, chunk_id)
  redis.call('HSET', images, chunk_id, image)
  add('image_chunks', 1)
end
redis.call('HSET', streams, stream_id, string.format('%.0f %.0f', first, first + rows))
add('chunks', 1)
add('rows', rows)
add('bytes', bytes)
add('inserted_chunks', 1)
add('inserted_rows', rows)
add('inserted_episodes', episodes)
add('env_steps', env_steps)
return 1
"""
)

# Two readers may find the same damage: only the first moves and counts it. A chunk that is in the index named by the
# reader cannot have been evicted, so what the reader missed of it is lost.
QUARANTINE: Final = (
    _PRELUDE
    + """
local chunk_id, reason, kept, named = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
if not redis.call('ZSCORE', named == 'image_index' and image_index or index, chunk_id) then return 0 end
local state = redis.call('HGET', states, chunk_id) or ''
local image = redis.call('HGET', images, chunk_id) or ''
redis.call('LPUSH', quarantine, image, state, chunk_id .. ' ' .. reason)
redis.call('LTRIM', quarantine, 0, 3 * kept - 1)
local rows = remove(chunk_id)
add('quarantined_chunks', 1)
add('quarantined_rows', rows)
return 1
"""
)

# Who comes first decides: sets those fields of a hash that are not there yet, all in one step; answers what is there.
# KEYS: hash. ARGV: field, value, field, value ...
SET_ONCE: Final = """
local there = {}
for place = 1, #ARGV, 2 do
  local value = redis.call('HGET', KEYS[1], ARGV[place])
  if not value then
    value = ARGV[place + 1]
    redis.call('HSET', KEYS[1], ARGV[place], value)
  end
  there[#there + 1] = value
end
return there
"""

# The next number of an actor, which is none of those that were given before, nor below the floor in the field "".
# KEYS: incarnations. ARGV: actor id.
CLAIM: Final = """
local function held(field)
  return tonumber(redis.call('HGET', KEYS[1], field) or '0')
end
local claimed = math.max(held(ARGV[1]), held(''))
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', claimed + 1))
return claimed
"""
