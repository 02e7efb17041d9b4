-- Lets one shipment of a paused merchant try when the time has come: another one each time, and one that stands at
-- another step if there is one.
--
-- KEYS: prefix
-- ARGV: merchant, lease in ms
-- Returns the reference of the probe, or ''.
local LOOK_AT, MOST_MS = 50, 600000
local now, place = clock()
local m, lease = ARGV[1], tonumber(ARGV[2])
local known = redis.call('HGET', P .. 'paused', m)
local pause = known and cjson.decode(known)
if not pause or (pause.purpose or '') == '' or now < pause.probe_at then return '' end

-- Some that wait, others each time: all at another step than the last probe's are better than the others, and any is
-- better than the last one.
local function rank(r, asks)
  if r == pause.last then return 1 end
  return asks == pause.asks and 2 or 3
end

local size = redis.call('ZCARD', waiting(m))
local first = size > LOOK_AT and (pause.probes * LOOK_AT) % (size - LOOK_AT + 1) or 0
local choice, asks, best = '', '', 0
for _, r in ipairs(redis.call('ZRANGE', waiting(m), first, first + LOOK_AT - 1)) do
  local asked = redis.call('HGET', record(m, r), 'asks') or ''
  if rank(r, asked) > best then choice, asks, best = r, asked, rank(r, asked) end
  if best == 3 then break end
end
if choice == '' then return '' end
pause.probe, pause.last, pause.asks, pause.probes = choice, choice, asks, pause.probes + 1
-- Should the probe be lost, another one follows.
pause.probe_at = now + math.min(MOST_MS, math.max(pause.pause_ms, 2 * lease))
redis.call('HSET', P .. 'paused', m, cjson.encode(pause))
redis.call('ZADD', waiting(m), now, choice)
redis.call('HSET', record(m, choice), 'due', 0)
wake(m, place)
push_wake()
return choice
