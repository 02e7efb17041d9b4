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

-- The content of a start message: how many merchants have due shipments, the first of them, how many shipments those are,
-- and which first step is due for this merchant. At most MAX_COUNTED merchants are looked at. A merchant may be queued for
-- expired leases alone.
local MAX_COUNTED = 1000
local function start_message(now)
  local queued = redis.call('ZRANGEBYSCORE', MERCHANT_QUEUE, '-inf', now, 'LIMIT', 0, MAX_COUNTED)
  if #queued == 0 then return {} end
  local merchants, first, shipments = 0, '', 0
  for _, m in ipairs(queued) do
    local due = redis.call('ZCOUNT', schedule(m), '-inf', now)
    if due > 0 and merchants == 0 then first = m end
    if due > 0 then merchants, shipments = merchants + 1, shipments + due end
  end
  local due = redis.call('ZRANGEBYSCORE', schedule(first), '-inf', now, 'LIMIT', 0, 1)[1]
  local strategy = due and redis.call('HGET', record(first, due), 'strategy') or ''
  return { merchants, first, shipments, strategy }
end

-- Something is due now. Returns the start message that the caller must send, or an empty table.
local function notify(now)
  push_wakeup()
  redis.call('ZREMRANGEBYSCORE', LISTENING, '-inf', now)
  if redis.call('ZCARD', LISTENING) > 0 then return {} end
  return redis.call('SET', STARTING, 1, 'NX', 'PX', START_MS) and start_message(now) or {}
end
