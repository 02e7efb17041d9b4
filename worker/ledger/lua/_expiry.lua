-- Leases that ran out. Put before take.lua. A script makes its functions anew each time it runs, so these, which are
-- rarely needed, are made by one that is called only then.
local function expiry(now, lease, longest)
  -- For so long a host's losses are remembered.
  local LOSSES_KEPT_MS = 3600000
  local made = {}

  local function losses_of(holder) return P .. 'lost:' .. host_part(holder) end

  -- A worker was lost. In the company of other shipments that says little: after two such losses a shipment is taken
  -- alone. Alone it may be what kills; whether others of the same host were lost too shows only when their leases end,
  -- so that is decided a lease later. `still_alive` takes it back.
  local function lose(m, r, holder)
    local key, losses = record(m, r), losses_of(holder)
    redis.call('ZADD', losses, now, m .. ':' .. r)
    redis.call('ZREMRANGEBYSCORE', losses, '-inf', now - LOSSES_KEPT_MS)
    redis.call('PEXPIRE', losses, LOSSES_KEPT_MS)
    redis.call('HSET', key, 'lost_token', holder, 'lost_at', now)
    if is_alone(holder) then return now + lease end
    redis.call('HINCRBY', key, 'company_lost', 1)
    return now
  end

  -- A lease ran out: the shipment is due again.
  function made.ran_out(m, r)
    local phase, holder, _, called = parse(redis.call('HGET', tokens(m), r) or 'q:?')
    -- A call known only by its permit may have been under way for as long as the longest one lasts. It began before
    -- now, also if the clock was put back since.
    if phase == 'c' then
      redis.call('HSET', record(m, r), 'lost_call', math.min(tonumber(called), now) + longest)
    end
    local due = phase == 'q' and now or lose(m, r, holder)
    redis.call('ZREM', working(m), r)
    redis.call('ZREM', ALONE, m .. ':' .. r)
    redis.call('HDEL', tokens(m), r)
    redis.call('ZADD', waiting(m), due, r)
  end

  -- Decides, if it is time, what the last loss of a shipment that was alone was worth: it is to blame when no other one
  -- of the host was lost about then. Returns how often it was lost so.
  function made.judge_loss(m, r, known)
    local at, holder = tonumber(known[LOST_AT]), known[LOST_TOKEN]
    if not is_alone(holder) or now < at + lease then return known[LOST] end
    redis.call('HDEL', record(m, r), 'lost_token', 'lost_at')
    local lost = redis.call('ZRANGEBYSCORE', losses_of(holder), at - lease, at + lease, 'LIMIT', 0, 2)
    local is_own = #lost == 1 and lost[1] == m .. ':' .. r
    return is_own and redis.call('HINCRBY', record(m, r), 'lost', 1) or known[LOST]
  end

  return made
end
