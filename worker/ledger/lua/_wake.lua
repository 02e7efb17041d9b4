-- Who takes what is due. Put before the scripts after which something may be due.
--
-- Worker children that serve listen on one list: a push wakes one of them, and as long as the push is still there
-- nobody need be told more. Who listens is noted with the time by which it will have taken again, in ms. Where nobody
-- listens, a message for Celery must start somebody; not more than one is on its way at a time.
local WAKE, SERVING, STARTING = P .. 'wake', P .. 'serving', P .. 'starting'
local STARTS_WITHIN_MS = 2000

local function push_wake()
  if redis.call('LLEN', WAKE) == 0 then redis.call('LPUSH', WAKE, 1) end
end

-- Somebody must take a shipment again, at once: its holder may not go on with it.
local function release(m, r, now, place)
  redis.call('ZREM', working(m), r)
  redis.call('HDEL', tokens(m), r)
  redis.call('ZADD', waiting(m), now, r)
  wake(m, place)
  push_wake()
end

-- What a message is to say: how many merchants have something due, one of them, and how many shipments and which first
-- steps of it are due.
local function due_now(now)
  local m = redis.call('ZRANGEBYSCORE', MERCHANTS, '-inf', now, 'LIMIT', 0, 1)[1]
  if not m then return {} end
  local due = redis.call('ZRANGEBYSCORE', waiting(m), '-inf', now, 'LIMIT', 0, 1)[1]
  local asks = due and redis.call('HGET', record(m, due), 'asks') or ''
  return { redis.call('ZCOUNT', MERCHANTS, '-inf', now), m, redis.call('ZCOUNT', waiting(m), '-inf', now), asks }
end

-- Something is due now. Returns what a caller must send as a message (see `due_now`), or nothing.
local function ring(now)
  push_wake()
  redis.call('ZREMRANGEBYSCORE', SERVING, '-inf', now)
  if redis.call('ZCARD', SERVING) > 0 then return {} end
  return redis.call('SET', STARTING, 1, 'NX', 'PX', STARTS_WITHIN_MS) and due_now(now) or {}
end
