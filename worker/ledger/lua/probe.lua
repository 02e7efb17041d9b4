-- Lets one shipment of a paused merchant probe whether its key works, when it is time: another one than the last, and one
-- at another step if there is one.
--
-- KEYS: prefix
-- ARGV: ProbeArgs
-- Returns the reference of the probe, or ''.
local LOOK_AT, MAX_MS = 50, 600000
local now, turn = clock()
local merchant, lease_ms = unpack(ARGV, 1, 2)
local known = redis.call('HGET', P .. 'paused', merchant)
local pause = known and cjson.decode(known)
if not pause or (pause.purpose or '') == '' or now < pause.probe_at then return '' end

local function rank(r, strategy)
  if r == pause.last then return 1 end
  return strategy == pause.strategy and 2 or 3
end

-- Some of the schedule, others each time.
local size = redis.call('ZCARD', schedule(merchant))
local first = size > LOOK_AT and (pause.probes * LOOK_AT) % (size - LOOK_AT + 1) or 0
local choice, chosen_strategy, best = '', '', 0
for _, r in ipairs(redis.call('ZRANGE', schedule(merchant), first, first + LOOK_AT - 1)) do
  local strategy = redis.call('HGET', record(merchant, r), 'strategy') or ''
  if rank(r, strategy) > best then choice, chosen_strategy, best = r, strategy, rank(r, strategy) end
  if best == 3 then break end
end
if choice == '' then return '' end
pause.probe, pause.last, pause.strategy, pause.probes = choice, choice, chosen_strategy, pause.probes + 1
-- If the probe is lost, another one follows.
pause.probe_at = now + math.min(MAX_MS, math.max(pause.pause_ms, 2 * lease_ms))
redis.call('HSET', P .. 'paused', merchant, cjson.encode(pause))
redis.call('ZADD', schedule(merchant), now, choice)
redis.call('HSET', record(merchant, choice), 'due', 0)
queue_merchant(merchant, turn)
push_wakeup()
return choice
