-- How due work finds a child. Put before the scripts that may make something due.
--
-- Children that run a claim loop block on one list; a push wakes one of them. They are listed with the time of their next
-- claim at the latest. If none listens, a Celery message must start one; at most one such message is on its way.
local WAKEUPS, LISTENING, STARTING = P .. 'wakeups', P .. 'listening', P .. 'starting'
local START_MS = 2000

local function push_wakeup()
  if redis.call('LLEN', WAKEUPS) == 0 then redis.call('LPUSH', WAKEUPS, 1) end
end

-- Ends a lease: the shipment is due at once, for another child.
local function release(m, r, now, turn)
  redis.call('ZREM', working(m), r)
  redis.call('HDEL', lease_tokens(m), r)
  redis.call('ZADD', schedule(m), now, r)
  queue_merchant(m, turn)
  push_wakeup()
end

-- The content of a start message: how many merchants have due work, one of them, and how many shipments and which first
-- step are due for it.
local function start_message(now)
  local m = redis.call('ZRANGEBYSCORE', MERCHANT_QUEUE, '-inf', now, 'LIMIT', 0, 1)[1]
  if not m then return {} end
  local due = redis.call('ZRANGEBYSCORE', schedule(m), '-inf', now, 'LIMIT', 0, 1)[1]
  local strategy = due and redis.call('HGET', record(m, due), 'strategy') or ''
  return { redis.call('ZCOUNT', MERCHANT_QUEUE, '-inf', now), m, redis.call('ZCOUNT', schedule(m), '-inf', now), strategy }
end

-- Something is due now. Returns the start message that the caller must send, or an empty table.
local function notify(now)
  push_wakeup()
  redis.call('ZREMRANGEBYSCORE', LISTENING, '-inf', now)
  if redis.call('ZCARD', LISTENING) > 0 then return {} end
  return redis.call('SET', STARTING, 1, 'NX', 'PX', START_MS) and start_message(now) or {}
end
