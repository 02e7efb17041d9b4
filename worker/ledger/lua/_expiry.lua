-- Expired leases. Put before claim.lua. Lua defines all functions of a script on every call, so these, which are rarely
-- needed, are defined by one that is called only then.
local function expiry(now, lease_ms, max_call_ms)
  local KEEP_LOSSES_MS = 3600000
  local made = {}

  local function losses_of(id) return P .. 'host_losses:' .. host_part(id) end

  -- Records that the worker was lost; returns when the shipment is due. Lost among others, it is due now. Lost in
  -- isolation, it may be the cause; that is decided a lease later, when the leases of other shipments of the same host
  -- have expired too.
  local function record_loss(m, r, id)
    local key, losses = record(m, r), losses_of(id)
    redis.call('ZADD', losses, now, m .. ':' .. r)
    redis.call('ZREMRANGEBYSCORE', losses, '-inf', now - KEEP_LOSSES_MS)
    redis.call('PEXPIRE', losses, KEEP_LOSSES_MS)
    redis.call('HSET', key, 'lost_token', id, 'lost_at', now)
    if is_isolated(id) then return now + lease_ms end
    redis.call('HINCRBY', key, 'group_losses', 1)
    return now
  end

  function made.expire_lease(m, r)
    local phase, id, _, called_at = parse_token(redis.call('HGET', lease_tokens(m), r) or 'q:?')
    -- A call known only by its permit may have lasted as long as any. It started before now, also if the clock was put
    -- back since.
    if phase == 'c' then
      redis.call('HSET', record(m, r), 'lost_call_at', math.min(tonumber(called_at), now) + max_call_ms)
    end
    local due = phase == 'q' and now or record_loss(m, r, id)
    redis.call('ZREM', working(m), r)
    redis.call('ZREM', ISOLATED, m .. ':' .. r)
    redis.call('HDEL', lease_tokens(m), r)
    redis.call('ZADD', schedule(m), due, r)
  end

  -- Decides on the last loss in isolation, if it is time: the shipment is the cause if no other one of that host was lost
  -- about then. Returns the losses it has caused.
  function made.attribute_loss(m, r, known)
    local at, id = tonumber(known[LOST_AT]), known[LOST_TOKEN]
    if not is_isolated(id) or now < at + lease_ms then return known[LOSSES] end
    redis.call('HDEL', record(m, r), 'lost_token', 'lost_at')
    local lost = redis.call('ZRANGEBYSCORE', losses_of(id), at - lease_ms, at + lease_ms, 'LIMIT', 0, 2)
    local is_cause = #lost == 1 and lost[1] == m .. ':' .. r
    return is_cause and redis.call('HINCRBY', record(m, r), 'losses', 1) or known[LOSSES]
  end

  return made
end
