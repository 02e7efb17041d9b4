-- Hands out what is due, merchant by merchant in turn. A merchant's score is when to look at it next and, once that
-- has come, its place in the line: whoever is served goes to the end. A second sweep at the same moment finds what the
-- first one left. Leases that ran out come back here; one whose call may have been on its way is read back first, and
-- one that lost its worker twice is handed out alone.
--
-- Put before the scripts that claim, which call `claim` at the end of this file.
local now, place = clock()
local AHEAD_MS = 1000
local lease, most, batches, id, far, out

local function lease_ran_out(m, r)
  local phase = string.sub(redis.call('HGET', tokens(m), r) or 'q', 1, 1)
  if phase == 'c' then redis.call('HSET', record(m, r), 'doubt', 1) end
  if phase ~= 'q' then redis.call('HINCRBY', record(m, r), 'lost', 1) end
  redis.call('ZREM', working(m), r)
  redis.call('HDEL', tokens(m), r)
  redis.call('ZADD', waiting(m), now, r)
end

local function bring_back(m)
  for _, r in ipairs(redis.call('ZRANGEBYSCORE', working(m), '-inf', now, 'LIMIT', 0, most)) do lease_ran_out(m, r) end
  for _, r in ipairs(redis.call('ZRANGEBYSCORE', working(m), now + far, '+inf', 'LIMIT', 0, most)) do lease_ran_out(m, r) end
  for _, r in ipairs(redis.call('ZRANGEBYSCORE', waiting(m), now + far, '+inf', 'LIMIT', 0, most)) do
    redis.call('ZADD', waiting(m), now, r)
  end
end

local function hand_out(m, refs, asks)
  local scores, marks = {}, {}
  for _, r in ipairs(refs) do
    scores[#scores + 1] = now + lease
    scores[#scores + 1] = r
    marks[#marks + 1] = r
    marks[#marks + 1] = 'q:' .. id .. '.' .. #out
  end
  redis.call('ZADD', working(m), unpack(scores))
  redis.call('HSET', tokens(m), unpack(marks))
  redis.call('ZREM', waiting(m), unpack(refs))
  local names = {}
  for name in pairs(asks) do names[#names + 1] = name end
  table.sort(names)
  out[#out + 1] = { m, id .. '.' .. #out, table.concat(names, ', ', 1, math.min(#names, 5)), unpack(refs) }
end

-- How many more shipments of a merchant may be at work: within its window and the limits of its file.
local function room(m)
  local window = tonumber(redis.call('HGET', P .. 'pace:' .. m, 'window') or FIRST_WINDOW)
  local limits = redis.call('HMGET', P .. 'limits:' .. m, 'in_flight', 'per_second')
  local in_flight, rate = tonumber(limits[1] or 0), tonumber(limits[2] or 0)
  if in_flight > 0 then window = math.min(window, in_flight) end
  local free = math.floor(window) - redis.call('ZCARD', working(m))
  if rate > 0 then
    local taken_ms = math.max(0, tonumber(redis.call('GET', P .. 'slot:' .. m) or 0) - now)
    free = math.min(free, math.ceil((AHEAD_MS - taken_ms) * rate / 1000))
  end
  return math.min(most, free)
end

local function serve(m)
  local free = room(m)
  if free <= 0 then return end
  local together, asks, alone = {}, {}, {}
  for _, r in ipairs(redis.call('ZRANGEBYSCORE', waiting(m), '-inf', now, 'LIMIT', 0, free)) do
    local known = redis.call('HMGET', record(m, r), 'asks', 'lost')
    if tonumber(known[2] or 0) >= 2 then
      alone[#alone + 1] = { r, known[1] or '' }
    else
      together[#together + 1] = r
      asks[known[1] or ''] = true
    end
  end
  if #together > 0 then hand_out(m, together, asks) end
  for _, one in ipairs(alone) do
    if #out >= batches then break end
    hand_out(m, { one[1] }, { [one[2]] = true })
  end
end

-- When to look again: at once if something is due and there is room, behind all others who are in the line; else at
-- the next due time or the end of a lease.
local function next_look(m)
  local due, lease_end = head(waiting(m)), head(working(m))
  if due and due <= now then
    place = place + 0.001
    if room(m) > 0 then return place end
    -- No room: whoever reports for this merchant wakes it; a rate frees room by time alone.
    return math.min(lease_end or now + 500, now + 500)
  end
  if due and lease_end then return math.min(due, lease_end) end
  return due or lease_end
end

local function look_at_first(merchants)
  for _, m in ipairs(redis.call('ZRANGEBYSCORE', MERCHANTS, '-inf', now, 'LIMIT', 0, merchants)) do
    if #out >= batches then break end
    bring_back(m)
    serve(m)
    local at = next_look(m)
    if at then redis.call('ZADD', MERCHANTS, at, m) else redis.call('ZREM', MERCHANTS, m) end
  end
end

-- ARGV `i` and on: lease in ms, most shipments of a batch, most batches, id of the batches, and the furthest that a due
-- time can honestly lie ahead in ms (beyond it a clock has jumped, and the entry is due).
-- Returns per batch: merchant, id, what it asks for, reference...
local function claim(i)
  lease, most, batches, id = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3]
  far, out = tonumber(ARGV[i + 4]), {}
  if batches == 0 then return out end
  for _, m in ipairs(redis.call('ZRANGEBYSCORE', MERCHANTS, now + far, '+inf', 'LIMIT', 0, 100)) do wake(m, place) end
  -- Nearly always the first few have something; else a hundred are looked at before it is given up.
  look_at_first(batches + 4)
  if #out < batches then look_at_first(batches + 100) end
  return out
end
