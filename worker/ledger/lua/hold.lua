-- Asked before every call: does the task still hold the shipment, may its merchant be called now, is the API up?
-- Also renews the lease and, before an allocation call, marks the token with the time, so that, should the worker be
-- lost, the shipment is only read back first.
--   limits: calls per second are spaced (GCRA) over all workers; who must wait longer than `patience` gets no slot;
--     calls on the wire are counted over all workers
--   breakers: while one is open nobody calls; when its time is over one probe at a time may
--   a change of the server: who took the shipment before it gets no permit; the shipment is due again
-- What cannot be had is known before anything is taken: a probe or a place is never taken in vain.
--
-- KEYS: prefix
-- ARGV: lease in ms, patience in ms, longest call in ms, 'together' for one call of all or '', then per shipment:
--       merchant, reference, id of the task, what for ('renew', 'read', 'allocate', 'look': to read what nobody holds),
--       calls per second or 0, calls in flight or 0, api
-- Returns per shipment, flat: 'held' | 'place' (the same, with something to give back) | 'lost' | 'wait' | 'open' |
-- 'busy', ms to wait. Of one call of all the first asks, and the others go with it; if it may not go, the first alone
-- is answered.
local now, place = clock()
local lease, patience, longest, out = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), {}
local SLOW_READ_MS = 10000
-- A probe lasts as long as a call may, and a little.
local PROBE_MS = math.max(30000, longest + 5000)
local changes
local held_by = read_tokens(5, 7)
local released = {}

local known = {}
local function not_before(m, api)
  local key = m .. '/' .. api
  if not known[key] then
    local names = { 'm:' .. m, 'u:' .. m, 'b:' .. api, 'h:' .. host_of(api) }
    local untils = redis.call('HMGET', NOT_BEFORE, unpack(names))
    known[key] = { names, untils, not (untils[1] or untils[2] or untils[3] or untils[4]) }
  end
  return unpack(known[key])
end
local THROTTLED, AWAY, NO_PROBES = 1, 2, {}

-- An API that says how long it is away is still read now and then: it may tell that a call went through. Returns in how
-- many ms this one may be made; who must wait comes back at some time of its own, so that not all do so at once.
local function slow_read_wait(m, away_ms, mine)
  if redis.call('EXISTS', P .. 'slow:' .. m) == 0 then return 0 end
  local some = now
  for i = 1, #mine do some = (some * 31 + string.byte(mine, i)) % 2147483647 end
  return math.min(away_ms, SLOW_READ_MS + some % away_ms)
end

-- In how many ms this call may be tried, as far as breakers and the API's own words go, the probes it needs, and
-- whether it is one of the few read-backs of an API that is away.
local function breaker_wait(m, api, what, mine)
  local names, untils, is_clear = not_before(m, api)
  if is_clear then return 0, NO_PROBES, false end
  local wait, probes, slow = 0, {}, false
  for i, name in ipairs(names) do
    local till = tonumber(untils[i]) or 0
    if till > now and i == AWAY and what ~= 'allocate' then
      slow = true
      wait = math.max(wait, slow_read_wait(m, till - now, mine))
    elseif till > now then
      wait = math.max(wait, till - now)
    elseif till > 0 and i == THROTTLED then
      -- Its time is over: no probe, as the window has become small.
      redis.call('HDEL', NOT_BEFORE, name)
      untils[i] = false
    elseif till > 0 then
      local holder = redis.call('GET', probe_key(name))
      if holder and holder ~= mine then wait = math.max(wait, 1000) end
      probes[#probes + 1] = name
    end
  end
  return wait, probes, slow
end

-- When this call may go out.
local function slot_wait(m, rate)
  if rate <= 0 then return 0, now end
  local at = math.max(now, tonumber(redis.call('GET', P .. 'slot:' .. m)) or 0)
  return math.ceil(at - now), at
end

local function is_busy(m, in_flight, mine)
  if in_flight <= 0 then return false end
  redis.call('ZREMRANGEBYSCORE', on_wire(m), '-inf', now)
  return not redis.call('ZSCORE', on_wire(m), mine) and redis.call('ZCARD', on_wire(m)) >= in_flight
end

local function take_slot(m, rate, at)
  if rate <= 0 then return end
  local next_at = at + 1000 / rate
  redis.call('SET', P .. 'slot:' .. m, next_at, 'PX', math.ceil(next_at - now + 1000))
end

local function take_place(m, mine, in_flight, probes, slot)
  for _, name in ipairs(probes) do redis.call('SET', probe_key(name), mine, 'PX', PROBE_MS) end
  if in_flight > 0 then
    redis.call('ZADD', on_wire(m), now + slot + longest, mine)
    redis.call('PEXPIRE', on_wire(m), slot + longest + 1000)
  end
  return (in_flight > 0 or #probes > 0) and 'place' or 'held'
end

-- Leave for a call, or what stands against it.
local function admit(m, mine, what, rate, in_flight, api)
  local wait, probes, slow = breaker_wait(m, api, what, mine)
  if wait > 0 then return 'open', wait end
  if is_busy(m, in_flight, mine) then return 'busy', 0 end
  local slot, at = slot_wait(m, rate)
  if slot > patience then return 'wait', slot end
  take_slot(m, rate, at)
  if slow then redis.call('SET', P .. 'slow:' .. m, 1, 'PX', SLOW_READ_MS) end
  return take_place(m, mine, in_flight, probes, slot), slot
end

-- Who asks again has ended its call before, whatever became of the lease.
local function is_lost(m, mine, in_flight)
  if in_flight > 0 then redis.call('ZREM', on_wire(m), mine) end
  return 'lost', 0
end

local function permit(m, r, id, what, rate, in_flight, api)
  rate, in_flight = tonumber(rate), tonumber(in_flight)
  local mine = id .. '/' .. r
  if what == 'look' then return admit(m, mine, what, rate, in_flight, api) end
  local era = lease_of(held_by[m][r], id)
  if not era or (next(released) and released[record(m, r)]) then
    still_alive(m, r, id)
    return is_lost(m, mine, in_flight)
  end
  if what ~= 'renew' then changes = changes or server_changes(now) end
  if what ~= 'renew' and era < changes then
    -- Due again at once, for whoever takes it after the change.
    released[record(m, r)] = { m, r }
    return is_lost(m, mine, in_flight)
  end
  gather('ZADD', working(m), now + lease, r)
  if what == 'renew' then return 'held', 0 end
  local word, wait = 'held', out[2]
  if ARGV[4] == '' or #out == 0 then word, wait = admit(m, mine, what, rate, in_flight, api) end
  if what == 'allocate' and (word == 'held' or word == 'place') then
    gather('HSET', tokens(m), r, 'c:' .. id .. ':' .. era .. ':' .. now + wait)
  end
  return word, wait
end

for i = 5, #ARGV, 7 do
  out[#out + 1], out[#out + 2] = permit(unpack(ARGV, i, i + 6))
  if ARGV[4] == 'together' and out[1] ~= 'held' and out[1] ~= 'place' then break end
end
write_gathered()
for _, one in pairs(released) do
  release(one[1], one[2], now, place)
end
return out
