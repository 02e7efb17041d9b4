-- Writes what became of shipments: the entry in each one's story, and with it, in the same transaction, the verdict.
-- Only who holds a shipment may write; a late task is told so and changes nothing.
--   keep       the task goes on with it
--   hand       the next step's message takes it over
--   park       back into the schedule until `due`
--   allocated, failed   out of the schedule, the event into its stream, the record to expire
--
-- KEYS: prefix, allocated stream, failed stream
-- ARGV: lease in ms, seconds to keep settled records, then per shipment: merchant, reference, id, verdict, due in ms,
--       step, progress, asks, slot of the entry, entry ('' for none), event, reason
-- Returns 1 (written) or 0 (not the holder any more) per shipment.
local now, lease, keep = clock(), tonumber(ARGV[1]), tonumber(ARGV[2])
local out, touched = {}, {}

local function leave(m, r)
  redis.call('ZREM', working(m), r)
  redis.call('HDEL', tokens(m), r)
  touched[m] = true
end

local function settle(m, r, state, stream, event, reason)
  leave(m, r)
  redis.call('HSET', record(m, r), 'state', state, 'settled', now, 'reason', reason)
  redis.call('XADD', stream, '*', 'event', event)
  redis.call('HINCRBY', P .. 'counts:' .. m, state, 1)
  redis.call('EXPIRE', record(m, r), keep)
end

local verdicts = {
  keep = function(m, r, id)
    redis.call('HSET', tokens(m), r, 'r:' .. id)
    redis.call('ZADD', working(m), now + lease, r)
  end,
  hand = function(m, r, id)
    redis.call('HSET', tokens(m), r, 'q:' .. id)
    redis.call('ZADD', working(m), now + lease, r)
  end,
  park = function(m, r, _, due)
    leave(m, r)
    redis.call('HSET', record(m, r), 'lost', 0)
    redis.call('ZADD', waiting(m), math.max(due, now), r)
  end,
  allocated = function(m, r, _, _, event)
    settle(m, r, 'allocated', KEYS[2], event, '')
  end,
  failed = function(m, r, _, _, event, reason)
    settle(m, r, 'failed', KEYS[3], event, reason)
    redis.call('ZADD', P .. 'failed:' .. m, now, r)
    redis.call('ZREMRANGEBYSCORE', P .. 'failed:' .. m, '-inf', now - keep * 1000)
  end,
}

for i = 3, #ARGV, 12 do
  local m, r, id, verdict, due, step, progress, asks, slot, entry, event, reason = unpack(ARGV, i, i + 11)
  local held = holds(m, r, id)
  if held then
    redis.call('HSET', record(m, r), 'progress', progress, 'step', step, 'asks', asks, 'doubt', 0)
    if entry ~= '' then redis.call('HSET', record(m, r), slot, entry) end
    verdicts[verdict](m, r, id, tonumber(due), event, reason)
  end
  out[#out + 1] = held and 1 or 0
end
for m in pairs(touched) do
  local due = head(waiting(m))
  if due then wake(m, math.max(due, now)) end
end
return out
