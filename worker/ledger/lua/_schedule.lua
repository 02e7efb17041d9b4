-- What is looked at in a merchant's schedule when its shipments are taken. Put before take.lua.

-- Some entries whose time lies so.
local function some(key, from, to, count) return redis.call('ZRANGEBYSCORE', key, from, to, 'LIMIT', 0, count) end

-- Due times that no clock can have meant become now.
local function bring_near(m, now, far, most)
  for _, r in ipairs(some(waiting(m), now + far, '+inf', most)) do redis.call('ZADD', waiting(m), now, r) end
end

-- How many more shipments of a merchant than `at_work` may be so, within its window and the limits of its file; and
-- whether it has limits.
local AHEAD_MS = 500
local function room(m, at_work, now)
  local pace = redis.call('HMGET', P .. 'pace:' .. m, 'window', 'in_flight', 'per_second')
  local window, in_flight, rate = tonumber(pace[1]) or FIRST_WINDOW, tonumber(pace[2]) or 0, tonumber(pace[3]) or 0
  if in_flight > 0 then window = math.min(window, in_flight) end
  local free = math.floor(window) - at_work
  if rate > 0 then
    local taken_ms = math.max(0, tonumber(redis.call('GET', P .. 'slot:' .. m) or 0) - now)
    free = math.min(free, math.ceil((AHEAD_MS - taken_ms) * rate / 1000))
  end
  return free, in_flight > 0 or rate > 0
end

-- A first call needs no leave of its own: nothing is known of the shipment that would have to be read back first, and
-- nothing holds the merchant up. Whether its API is up is for the caller to see, who knows it.
local function calls_first(known, doubt, calls_at_once)
  return not known[PROGRESS] and doubt == 0 and tonumber(known[LOST_CALL] or 0) == 0 and tonumber(known[LOST] or 0) == 0
    and string.find(calls_at_once, ',' .. (string.match(known[ASKS] or '', '^%S+') or '?') .. ',', 1, true)
end
