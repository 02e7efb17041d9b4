-- A merchant's schedule and window, as claims see them. Put before claim.lua.

local function some(key, from, to, limit) return redis.call('ZRANGEBYSCORE', key, from, to, 'LIMIT', 0, limit) end

-- A due time further ahead than any real one means that a clock jumped: the shipment is due now.
local function correct_far_times(m, now, farthest_ms, limit)
  for _, r in ipairs(some(schedule(m), now + farthest_ms, '+inf', limit)) do redis.call('ZADD', schedule(m), now, r) end
end

-- How many more shipments of a merchant may be working, within its window and limits; and whether it has limits.
local CLAIM_AHEAD_MS = 500
local function free_in_window(m, working_count, now)
  local known = redis.call('HMGET', P .. 'window:' .. m, 'window', 'in_flight', 'per_second')
  local window, in_flight, rate = tonumber(known[1]) or FIRST_WINDOW, tonumber(known[2]) or 0, tonumber(known[3]) or 0
  if in_flight > 0 then window = math.min(window, in_flight) end
  local free = math.floor(window) - working_count
  if rate > 0 then
    local booked_ms = math.max(0, tonumber(redis.call('GET', P .. 'rate:' .. m) or 0) - now)
    free = math.min(free, math.ceil((CLAIM_AHEAD_MS - booked_ms) * rate / 1000))
  end
  return free, in_flight > 0 or rate > 0
end

-- Whether the first request is a call that needs no permit of its own: nothing has to be read back first and the strategy
-- needs no quote. Breakers are for the child to check, which knows the API.
local function starts_with_call(known, doubt_since, first_call_strategies)
  local strategy = string.match(known[STRATEGY] or '', '^%S+') or '?'
  return not known[PROGRESS] and doubt_since == 0
    and tonumber(known[LOST_CALL_AT] or 0) == 0 and tonumber(known[LOSSES] or 0) == 0
    and string.find(first_call_strategies, ',' .. strategy .. ',', 1, true)
end
