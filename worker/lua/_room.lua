-- How many more shipments of a merchant than `at_work` may be so, within its window and the limits of its file; and
-- whether it has limits. Put before take.lua.
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
