-- Hands out what is due, merchant by merchant in turn. A merchant's score is when to look at it next and, once that
-- has come, its place in the line: whoever is served goes to the end. A second sweep at the same moment finds what the
-- first one left. Leases that ran out come back here.
--
-- Put before the scripts that claim, which call `claim` at the end of this file.
local now, place = clock()
local AHEAD_MS = 500
-- For so long a host's losses are remembered.
local LOSSES_KEPT_MS = 3600000
local lease, most, batches, id, far, longest, most_alone, out

local function losses_of(holder) return P .. 'lost:' .. host_part(holder) end

-- A worker was lost. In the company of other shipments that says little: after two such losses a shipment is handed out
-- alone. Alone it may be what kills; whether others of the same host were lost too shows only when their leases end, so
-- that is decided a lease later. `still_alive` takes it back.
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

local function lease_ran_out(m, r)
  local phase, holder, _, called = parse(redis.call('HGET', tokens(m), r) or 'q:?')
  -- A call known only by its permit may have been under way for as long as the longest one lasts. It began before now,
  -- also if the clock was put back since.
  if phase == 'c' then
    redis.call('HSET', record(m, r), 'lost_call', math.min(tonumber(called), now) + longest)
  end
  local due = phase == 'q' and now or lose(m, r, holder)
  redis.call('ZREM', working(m), r)
  redis.call('ZREM', ALONE, m .. ':' .. r)
  redis.call('HDEL', tokens(m), r)
  redis.call('ZADD', waiting(m), due, r)
end

local function bring_back(m)
  local function first(key, from, to) return redis.call('ZRANGEBYSCORE', key, from, to, 'LIMIT', 0, most) end
  for _, r in ipairs(first(working(m), '-inf', now)) do lease_ran_out(m, r) end
  for _, r in ipairs(first(working(m), now + far, '+inf')) do lease_ran_out(m, r) end
  for _, r in ipairs(first(waiting(m), now + far, '+inf')) do redis.call('ZADD', waiting(m), now, r) end
end

-- Whether a shipment that was alone when it lost its worker is to blame: it is known as lost, and no other one of the
-- host about then.
local function is_own_loss(m, r, holder, at)
  local lost = redis.call('ZRANGEBYSCORE', losses_of(holder), at - lease, at + lease, 'LIMIT', 0, 2)
  return #lost == 1 and lost[1] == m .. ':' .. r
end

-- Whether the shipment needs a child of its own; decides what its last loss was worth, if it is time.
local function needs_to_be_alone(m, r, company_lost, lost, lost_token, lost_at)
  local at = tonumber(lost_at)
  if at and is_alone(lost_token) and now >= at + lease then
    redis.call('HDEL', record(m, r), 'lost_token', 'lost_at')
    if is_own_loss(m, r, lost_token, at) then lost = redis.call('HINCRBY', record(m, r), 'lost', 1) end
  end
  return must_be_alone(company_lost, lost)
end

local function hand_out(m, refs, asks, alone)
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
  out[#out + 1] =
    { m, id .. '.' .. #out, alone and 1 or 0, table.concat(names, ', ', 1, math.min(#names, 5)), unpack(refs) }
end

-- Whether one more child may be kept for a shipment alone.
local function may_go_alone()
  redis.call('ZREMRANGEBYSCORE', ALONE, '-inf', now)
  return redis.call('ZCARD', ALONE) < most_alone
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

-- One batch at a look, so that other merchants have their turn. Who has waited longest is served first, alone or not.
local function serve(m)
  local free = room(m)
  if free <= 0 then return end
  local together, asks = {}, {}
  for i, r in ipairs(redis.call('ZRANGEBYSCORE', waiting(m), '-inf', now, 'LIMIT', 0, free)) do
    local known = redis.call('HMGET', record(m, r), 'asks', 'company_lost', 'lost', 'lost_token', 'lost_at')
    local asked = known[1] or ''
    if not needs_to_be_alone(m, r, unpack(known, 2, 5)) then
      together[#together + 1] = r
      asks[asked] = true
    elseif i == 1 and may_go_alone() then
      redis.call('ZADD', ALONE, now + lease, m .. ':' .. r)
      return hand_out(m, { r }, { [asked] = true }, true)
    end
  end
  if #together > 0 then hand_out(m, together, asks, false) end
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

-- ARGV `i` and on: lease in ms, most shipments of a batch, most batches, id of the batches, the furthest that a due
-- time can honestly lie ahead in ms (beyond it a clock has jumped, and the entry is due), the longest call in ms, most
-- shipments that have a child of their own at a time.
-- Returns per batch: merchant, id, 1 for one that needs a child of its own or 0, what it asks for, reference...
local function claim(i)
  lease, most, batches, id = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3]
  far, longest, most_alone, out = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5]), tonumber(ARGV[i + 6]), {}
  if batches == 0 then return out end
  for _, m in ipairs(redis.call('ZRANGEBYSCORE', MERCHANTS, now + far, '+inf', 'LIMIT', 0, 100)) do wake(m, place) end
  -- Nearly always the first few have something; else a hundred are looked at before it is given up.
  look_at_first(batches + 4)
  if #out < batches then look_at_first(batches + 100) end
  return out
end
