-- Permits requests to an API: is the lease still valid, may the merchant be called now, is the API up? A permit renews the
-- lease; one for an allocation also notes the time in the lease token, so that a shipment whose worker is lost is read
-- back first.
--   Limits: calls per second (GCRA) and calls in flight are counted over all workers; a wait longer than `max_wait_ms`
--     gets no slot.
--   Breakers: an open one blocks calls; then one probe at a time may call.
--   Operators: a merchant on hold and a cancelled shipment get no call.
--   Epoch: a lease from before a change of the server gets no permit, and the shipment is released.
-- What is refused takes nothing: all conditions are checked before a probe or a slot is taken.
--
-- KEYS: prefix
-- ARGV: PermitArgs, PermitRow...; `is_bulk`: one call for all rows. `purpose`: 'read', 'allocate', 'quote' or, to read
--       back a shipment without a lease, 'unowned_read'. `per_second`, `in_flight`: 0 for no limit
-- Returns per row: 'granted' | 'granted_slot' (the same, and a slot must be released) | 'lost' | 'wait' | 'open' | 'busy',
-- and the wait in milliseconds. In bulk the first row takes the slot for all; if it is refused, it alone is answered.
local now, turn = clock()
local lease_ms, max_wait_ms, max_call_ms, is_bulk = unpack(ARGV, 1, 4)
max_wait_ms, max_call_ms, is_bulk = tonumber(max_wait_ms), tonumber(max_call_ms), is_bulk == '1'
local SLOW_READ_MS = 10000
-- A shipment that a person has stopped is parked for this long; a hold keeps it in the schedule anyway.
local STOPPED_MS = 2000
-- A probe lasts a little longer than a call may.
local PROBE_MS = math.max(30000, max_call_ms + 5000)
local THROTTLED, AWAY, NO_PROBES = 1, 2, {}
local out, released, blocks, epoch = {}, {}, {}, nil
local token_of = read_tokens(5, 7)

-- The fields of blocked_until that concern a call, their values, and whether all are absent.
local function blocked_until(m, api)
  local key = m .. '/' .. api
  if not blocks[key] then
    local names = { 'm:' .. m, 'u:' .. m, 'b:' .. api, 'h:' .. host_of(api) }
    local untils = redis.call('HMGET', BLOCKED_UNTIL, unpack(names))
    blocks[key] = { names, untils, not (untils[1] or untils[2] or untils[3] or untils[4]) }
  end
  return unpack(blocks[key])
end

-- An API that sent Retry-After is still read at intervals, as a read-back may show that a call took effect.
-- Waits differ from shipment to shipment, so that they do not all return at once.
local function slow_read_wait(m, away_ms, call)
  if redis.call('EXISTS', P .. 'slow_read:' .. m) == 0 then return 0 end
  local hash = now
  for i = 1, #call do hash = (hash * 31 + string.byte(call, i)) % 2147483647 end
  return math.min(away_ms, SLOW_READ_MS + hash % away_ms)
end

-- The wait that breakers and the API's own Retry-After impose, the probes this call needs, and whether it is a slow read.
local function breaker_wait(m, api, purpose, call)
  local names, untils, is_clear = blocked_until(m, api)
  if is_clear then return 0, NO_PROBES, false end
  local wait, probes, is_slow_read = 0, {}, false
  for i, name in ipairs(names) do
    local till = tonumber(untils[i]) or 0
    if till > now and i == AWAY and purpose ~= 'allocate' then
      is_slow_read = true
      wait = math.max(wait, slow_read_wait(m, till - now, call))
    elseif till > now then
      wait = math.max(wait, till - now)
    elseif till > 0 and i == THROTTLED then
      -- No probe: the window has become small.
      redis.call('HDEL', BLOCKED_UNTIL, name)
      untils[i] = false
    elseif till > 0 then
      local holder = redis.call('GET', probe_key(name))
      if holder and holder ~= call then wait = math.max(wait, 1000) end
      probes[#probes + 1] = name
    end
  end
  return wait, probes, is_slow_read
end

local function rate_wait(m, per_second)
  if per_second <= 0 then return 0, now end
  local at = math.max(now, tonumber(redis.call('GET', P .. 'rate:' .. m)) or 0)
  return math.ceil(at - now), at
end

local function take_rate_slot(m, per_second, at)
  if per_second <= 0 then return end
  local next_at = at + 1000 / per_second
  redis.call('SET', P .. 'rate:' .. m, next_at, 'PX', math.ceil(next_at - now + 1000))
end

local function is_busy(m, in_flight, call)
  if in_flight <= 0 then return false end
  redis.call('ZREMRANGEBYSCORE', in_flight_key(m), '-inf', now)
  return not redis.call('ZSCORE', in_flight_key(m), call) and redis.call('ZCARD', in_flight_key(m)) >= in_flight
end

local function take_slot(m, call, in_flight, probes, wait)
  for _, name in ipairs(probes) do redis.call('SET', probe_key(name), call, 'PX', PROBE_MS) end
  if in_flight > 0 then
    redis.call('ZADD', in_flight_key(m), now + wait + max_call_ms, call)
    redis.call('PEXPIRE', in_flight_key(m), wait + max_call_ms + 1000)
  end
  return (in_flight > 0 or #probes > 0) and 'granted_slot' or 'granted'
end

local function admit(m, call, purpose, per_second, in_flight, api)
  local blocked_ms, probes, is_slow_read = breaker_wait(m, api, purpose, call)
  if blocked_ms > 0 then return 'open', blocked_ms end
  if is_busy(m, in_flight, call) then return 'busy', 0 end
  local wait, at = rate_wait(m, per_second)
  if wait > max_wait_ms then return 'wait', wait end
  take_rate_slot(m, per_second, at)
  if is_slow_read then redis.call('SET', P .. 'slow_read:' .. m, 1, 'PX', SLOW_READ_MS) end
  return take_slot(m, call, in_flight, probes, wait), wait
end

-- A shipment without a lease has no call in flight: who asks again has ended the one before.
local function is_lost(m, call, in_flight)
  if in_flight > 0 then redis.call('ZREM', in_flight_key(m), call) end
  return 'lost', 0
end

local function permit(merchant, reference, lease_token, purpose, per_second, in_flight, api)
  per_second, in_flight = tonumber(per_second), tonumber(in_flight)
  local call = lease_token .. '/' .. reference
  if purpose == 'unowned_read' then return admit(merchant, call, purpose, per_second, in_flight, api) end
  local lease_epoch = epoch_of_lease(token_of[merchant][reference], lease_token)
  if not lease_epoch or (next(released) and released[record(merchant, reference)]) then
    retract_loss(merchant, reference, lease_token)
    return is_lost(merchant, call, in_flight)
  end
  if purpose ~= 'read' and (is_on_hold(merchant) or cancelled_by(merchant, reference) ~= '') then return 'open', STOPPED_MS end
  epoch = epoch or current_epoch(now)
  if lease_epoch < epoch then
    released[record(merchant, reference)] = { merchant, reference }
    return is_lost(merchant, call, in_flight)
  end
  gather('ZADD', working(merchant), now + lease_ms, reference)
  local word, wait = 'granted', out[2]
  if not is_bulk or #out == 0 then word, wait = admit(merchant, call, purpose, per_second, in_flight, api) end
  if purpose == 'allocate' and (word == 'granted' or word == 'granted_slot') then
    local token = 'c:' .. lease_token .. ':' .. lease_epoch .. ':' .. now + wait
    gather('HSET', lease_tokens(merchant), reference, token)
  end
  return word, wait
end

for i = 5, #ARGV, 7 do
  local merchant, reference, lease_token, purpose, per_second, in_flight, api = unpack(ARGV, i, i + 6)
  out[#out + 1], out[#out + 2] = permit(merchant, reference, lease_token, purpose, per_second, in_flight, api)
  if is_bulk and out[1] ~= 'granted' and out[1] ~= 'granted_slot' then break end
end
write_gathered()
for _, one in pairs(released) do
  release(one[1], one[2], now, turn)
end
return out
